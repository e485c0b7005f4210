//! Pages that are kept for a while: what everybody gets who asks meanwhile.

use std::rc::Rc;
use std::time::{Duration, Instant};

use broker::Now;

/// A page is good for so long, and for so many times as long as it took to make.
const PAGE_LASTS: Duration = Duration::from_millis(100);
const PAGE_SHARE: u32 = 20;

/// What is made of a snapshot of the broker.
#[derive(Clone, Copy)]
pub(super) enum Page {
    Status,
    Metrics,
}

/// The last page of each kind.
#[derive(Default)]
pub(super) struct PageCache {
    pages: [Option<CachedPage>; 2],
}

struct CachedPage {
    bytes: Rc<[u8]>,
    good_until: Duration,
}

impl PageCache {
    /// If there is one that is still good.
    pub(super) fn get(&self, page: Page, now: Now) -> Option<Rc<[u8]>> {
        let cached = self.pages[page as usize]
            .as_ref()
            .filter(|cached| cached.good_until > now.monotonic)?;
        Some(Rc::clone(&cached.bytes))
    }

    /// Keeps a page that was begun at this time.
    pub(super) fn keep(
        &mut self,
        page: Page,
        bytes: Vec<u8>,
        begun: Instant,
        now: Now,
    ) -> Rc<[u8]> {
        let lasts = PAGE_LASTS.max(begun.elapsed().saturating_mul(PAGE_SHARE));
        let cached = self.pages[page as usize].insert(CachedPage {
            bytes: bytes.into(),
            good_until: now.monotonic.saturating_add(lasts),
        });
        Rc::clone(&cached.bytes)
    }

    /// What was told is true no more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

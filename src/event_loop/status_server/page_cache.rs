//! Pages that are cached for a short time, for all clients that ask during that time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use broker::Now;

/// A page stays valid for the first value, or for the second value times the duration of making it,
/// whichever is longer.
const PAGE_LASTS: Duration = Duration::from_millis(100);
const PAGE_SHARE: u32 = 20;

/// A page that is made of a snapshot of the broker.
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
    /// Returns the cached page, if it is still valid.
    pub(super) fn get(&self, page: Page, now: Now) -> Option<Rc<[u8]>> {
        let cached = self.pages[page as usize]
            .as_ref()
            .filter(|cached| cached.good_until > now.monotonic)?;
        Some(Rc::clone(&cached.bytes))
    }

    /// Caches a page. `begun` is when making it began.
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

    /// Drops all pages, since their content is outdated.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

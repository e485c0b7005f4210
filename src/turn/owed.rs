//! Pending bytes per manager: the batches that managers have not taken yet, and their limits.
//!
//! libzmq's own limit counts messages, and a manager's capacity counts tasks; neither limits the
//! memory that a manager costs if it does not read. So before a batch is made, this module says how
//! many bytes may go to which manager. A manager that reads nothing gets no more, and its share of
//! the work goes to others.
//!
//! A manager with no pending bytes gets a task of any size, as long as the total of all managers is
//! below its limit. Once the total has reached the limit, this holds only for managers that have
//! read something since. The others are tried one by one, each after the previous one has proved to
//! read, or after a delay. The delay grows with the number of failed tries, but is bounded, so that
//! every manager that reads gets tasks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use account::{Account, Receipt};

use super::RETRY_EVERY;
use broker::Now;
use interchange::Interchange;
use protocol::ManagerId;

/// Maximum number of pending bytes of one manager. A single task may be larger.
const EACH_BYTES_MAX: usize = 16 << 20;
/// The limit of one manager is also at most this fraction (1/8) of the limit of all managers.
const SHARE_OF_EACH: usize = 8;
/// A task smaller than this is always allowed for a manager with no pending bytes, whatever the
/// total.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// The small-task limit is also at most this fraction (1/8) of the limit of one manager.
const SMALL_PART: usize = 8;
/// Minimum number of entries of unregistered managers at which the finished entries are removed.
const APART_MIN: usize = 64;
/// How long a manager may read nothing before the log names it; a network is slow at times.
const NAMED_AFTER: Duration = Duration::from_secs(1);
/// How long the next try waits if a try fails. The delay doubles after each failed try, up to the
/// maximum.
const TRY_TAKES_MIN: Duration = Duration::from_millis(200);
const TRY_TAKES_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Owed {
    all_bytes_max: usize,
    each_bytes_max: usize,
    small_bytes_max: usize,
    all: Account,
    /// Pending bytes by manager. Looked up for every batch, with ids of admitted peers, so a fast
    /// hash is good enough.
    debts: HashMap<ManagerId, Debt, foldhash::fast::RandomState>,
    /// Managers with an entry that are no longer registered, and the number of them that triggers a
    /// clean-up.
    apart: Vec<ManagerId>,
    apart_max: usize,
    /// Managers that get nothing until they have taken some of their pending bytes.
    clogged: BTreeMap<ManagerId, Clogged>,
    look_at: Duration,
    /// How often the total of all managers has reached its limit.
    crowd: u64,
    last_try: Option<Try>,
}

#[derive(Debug)]
struct Debt {
    account: Account,
    /// The value of [`Owed::crowd`] at the last batch for this manager.
    crowd: u64,
}

/// The last task for a manager that was not known to read.
#[derive(Debug)]
struct Try {
    manager: ManagerId,
    takes: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Clogged {
    /// When the manager got clogged, on the monotonic clock.
    since: Duration,
    owed: usize,
    is_named: bool,
}

impl Owed {
    /// Creates the limits, from the maximum of pending bytes of all managers together.
    pub(super) fn new(all_bytes_max: usize) -> Self {
        let each_bytes_max = EACH_BYTES_MAX.min(all_bytes_max / SHARE_OF_EACH);
        Self {
            all_bytes_max,
            each_bytes_max,
            small_bytes_max: SMALL_BYTES_MAX.min(each_bytes_max / SMALL_PART),
            all: Account::default(),
            debts: HashMap::default(),
            apart: Vec::new(),
            apart_max: APART_MIN,
            clogged: BTreeMap::new(),
            look_at: Duration::ZERO,
            crowd: 0,
            last_try: None,
        }
    }

    /// Returns the pending bytes of all managers.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// Returns how many bytes the next batch for this manager may have; a single task may have
    /// more. None: the manager gets nothing now, because `next_bytes` more would be too much.
    pub(super) fn room(&self, manager: &ManagerId, next_bytes: usize, now: Now) -> Option<usize> {
        let (owed, has_read) = self.standing(manager);
        let here = self.each_bytes_max.saturating_sub(owed);
        let everywhere = self.all_bytes_max.saturating_sub(self.bytes());
        let room = here.min(everywhere);
        let may_have =
            next_bytes <= room || owed == 0 && self.may_exceed(has_read, next_bytes, now);
        may_have.then_some(room)
    }

    /// Adds a batch to the manager's pending bytes. The batch counts until the returned receipt is
    /// dropped.
    pub(super) fn hand_over(&mut self, manager: &ManagerId, bytes: usize, now: Now) -> Receipt {
        let all = &mut self.all;
        let debt = self.debts.entry(manager.clone());
        let debt = debt.or_insert_with(|| Debt::of(all));
        let before = self.all.bytes();
        let receipt = debt.account.hand_over_of(&mut self.all, bytes);
        let is_stranger = debt.crowd != self.crowd;
        if before < self.all_bytes_max && self.all.bytes() >= self.all_bytes_max {
            self.crowd += 1;
        }
        debt.crowd = self.crowd;
        if before >= self.all_bytes_max && is_stranger {
            self.begin_try(manager, now);
        }
        receipt
    }

    /// When the clogged managers are checked again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        (!self.clogged.is_empty()).then_some(self.look_at)
    }

    /// Marks a manager as clogged: it gets nothing for now.
    pub(super) fn clog<F: AsRef<[u8]>>(
        &mut self,
        interchange: &mut Interchange<F>,
        manager: &ManagerId,
        now: Now,
    ) {
        let (owed, _) = self.standing(manager);
        if self.clogged.is_empty() {
            self.look_at = now.monotonic + RETRY_EVERY;
        }
        let clogged = self.clogged.entry(manager.clone()).or_insert(Clogged {
            since: now.monotonic,
            owed,
            is_named: false,
        });
        clogged.owed = owed;
        interchange.broker_mut().handle_clogged(manager, true, now);
    }

    /// Checks the clogged managers. Those that have taken something may get more again. Logs those
    /// that take nothing.
    pub(super) fn look<F: AsRef<[u8]>>(
        &mut self,
        interchange: &mut Interchange<F>,
        released: bool,
        now: Now,
    ) {
        if self.clogged.is_empty() || !released && now.monotonic < self.look_at {
            return;
        }
        self.look_at = now.monotonic + RETRY_EVERY;
        let half = self.each_bytes_max / 2;
        let next_bytes = interchange.broker().first_weight();
        let mut all_clogged = std::mem::take(&mut self.clogged);
        all_clogged.retain(|manager, clogged| {
            let (owed, has_read) = self.standing(manager);
            let is_free = match owed {
                0 => self.may_exceed(has_read, next_bytes, now),
                _ => owed <= half && owed < clogged.owed,
            };
            if is_free {
                clogged.tell_the_end(manager);
                interchange.broker_mut().handle_clogged(manager, false, now);
            } else if owed > 0 {
                clogged.name_when_due(manager, owed, now);
            }
            !is_free
        });
        self.clogged = all_clogged;
    }

    /// Notes that the manager is no longer registered. If it registers again before it has taken
    /// its pending bytes, those still count.
    pub(super) fn forget(&mut self, manager: &ManagerId) {
        self.clogged.remove(manager);
        if let Some(debt) = self.debts.get_mut(manager) {
            debt.account.set_apart(&mut self.all);
            self.apart.push(manager.clone());
        }
        if self.apart.len() >= self.apart_max {
            let (debts, all) = (&mut self.debts, &mut self.all);
            self.apart.retain(|manager| {
                let is_over = debts.get(manager).is_some_and(Debt::is_over);
                if is_over && let Some(debt) = debts.remove(manager) {
                    debt.account.close(all);
                }
                let is_apart = |debt: &Debt| debt.account.is_set_apart();
                debts.get(manager).is_some_and(is_apart)
            });
            self.apart_max = 2 * self.apart.len().max(APART_MIN);
        }
    }

    /// Returns the manager's pending bytes. Also returns whether it got a batch since the total
    /// last reached its limit; with no pending bytes this means that it has read since.
    fn standing(&self, manager: &ManagerId) -> (usize, bool) {
        let debt = self.debts.get(manager);
        debt.map_or((0, false), |debt| {
            (debt.account.bytes(), debt.crowd == self.crowd)
        })
    }

    /// Whether a manager with no pending bytes may get a task that exceeds the limits.
    fn may_exceed(&self, has_read: bool, next_bytes: usize, now: Now) -> bool {
        let may_try = |last: &Try| now.monotonic >= last.until || self.is_taken(last);
        self.bytes() < self.all_bytes_max
            || next_bytes < self.small_bytes_max
            || has_read
            || self.last_try.as_ref().is_none_or(may_try)
    }

    fn begin_try(&mut self, manager: &ManagerId, now: Now) {
        let in_vain = self.last_try.take().filter(|last| !self.is_taken(last));
        let takes = in_vain.map_or(TRY_TAKES_MIN, |last| (last.takes * 2).min(TRY_TAKES_MAX));
        self.last_try = Some(Try {
            manager: manager.clone(),
            takes,
            until: now.monotonic + takes,
        });
    }

    fn is_taken(&self, last: &Try) -> bool {
        self.standing(&last.manager).0 == 0
    }
}

impl Debt {
    fn of(all: &mut Account) -> Self {
        Self {
            account: Account::part_of(all),
            crowd: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.account.is_set_apart() && self.account.bytes() == 0
    }
}

impl Clogged {
    fn name_when_due(&mut self, manager: &ManagerId, owed: usize, now: Now) {
        if self.is_named || now.monotonic.saturating_sub(self.since) < NAMED_AFTER {
            return;
        }
        self.is_named = true;
        codes::log!(
            MANAGER_CLOGGED,
            "Manager {manager} does not read its messages: {:.1} MB wait for it, and it gets no \
             more tasks until it reads. It may be suspended, or the network to its node may be \
             slow",
            owed as f64 / 1e6
        );
    }

    fn tell_the_end(&self, manager: &ManagerId) {
        if self.is_named {
            codes::log!(
                MANAGER_UNCLOGGED,
                "Manager {manager} reads its messages again"
            );
        }
    }
}

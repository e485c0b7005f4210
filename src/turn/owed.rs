//! What managers are owed, in bytes of batches that they have not taken, and what they may be.
//!
//! libzmq's own limit counts messages, and a manager's capacity counts tasks; neither says what a
//! manager that does not read costs. So it is known before a batch is made how much may go to whom.
//! A manager that takes nothing gets no more, and its share of the work goes to others. One that is
//! owed nothing gets a task of any size as long as not too much is owed to all. From then on it has
//! to be one that has taken something since; the others are tried one by one, each after it is
//! known that the one before reads, or after a while: the longer, the more tries were in vain, but
//! never so long that somebody who reads is left out.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use account::{Account, Receipt};

use super::RETRY_EVERY;
use broker::Now;
use interchange::Interchange;
use protocol::ManagerId;

/// What one manager may be owed at the most. A single task may be larger.
const EACH_BYTES_MAX: usize = 16 << 20;
/// And which part of what may be owed to all of them.
const SHARE_OF_EACH: usize = 8;
/// A task of fewer bytes is no matter for one that is owed nothing, whatever is owed to all.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// And which part of what one manager may be owed.
const SMALL_PART: usize = 8;
/// So many debts of managers that are not registered are kept, whether they are over or not.
const APART_MIN: usize = 64;
/// A network is slow at times; who takes nothing for so long is named.
const NAMED_AFTER: Duration = Duration::from_secs(1);
/// So long the next try waits for one that is not taken; twice as long after another.
const TRY_TAKES_MIN: Duration = Duration::from_millis(200);
const TRY_TAKES_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Owed {
    all_bytes_max: usize,
    each_bytes_max: usize,
    small_bytes_max: usize,
    all: Account,
    /// Asked for every batch, by peers that were let in: a fast hash is good enough.
    debts: HashMap<ManagerId, Debt, foldhash::fast::RandomState>,
    /// Whose debts are of managers that are not registered, and how many are looked through.
    apart: Vec<ManagerId>,
    apart_max: usize,
    /// Those that get nothing until they have taken some of what they are owed.
    clogged: BTreeMap<ManagerId, Clogged>,
    look_at: Duration,
    /// How often too much was owed to all.
    crowd: u64,
    last_try: Option<Try>,
}

#[derive(Debug)]
struct Debt {
    account: Account,
    /// When something was handed over last.
    crowd: u64,
}

/// The last task for somebody of whom it was not known that it reads.
#[derive(Debug)]
struct Try {
    manager: ManagerId,
    takes: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Clogged {
    /// On the monotonic clock.
    since: Duration,
    owed: usize,
    is_named: bool,
}

impl Owed {
    /// With the most that may be owed to all managers together.
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

    /// What all of them are owed.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// How many bytes the next batch for this manager may have; of a single task, any number. None:
    /// it gets nothing now, because `next_bytes` more would be too much.
    pub(super) fn room(&self, manager: &ManagerId, next_bytes: usize, now: Now) -> Option<usize> {
        let (owed, has_read) = self.standing(manager);
        let here = self.each_bytes_max.saturating_sub(owed);
        let everywhere = self.all_bytes_max.saturating_sub(self.bytes());
        let room = here.min(everywhere);
        let may_have =
            next_bytes <= room || owed == 0 && self.may_exceed(has_read, next_bytes, now);
        may_have.then_some(room)
    }

    /// The batch counts until this is dropped.
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

    /// When those who get nothing are looked at again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        (!self.clogged.is_empty()).then_some(self.look_at)
    }

    /// The manager gets nothing for now.
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

    /// Those who have taken something may have more again. The log is told who takes nothing.
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

    /// The manager is not registered any more. Should it be again before it has taken what it was
    /// owed, it begins with that.
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

    /// What this manager is owed, and whether it has read since too much was owed to all, if it is
    /// owed nothing.
    fn standing(&self, manager: &ManagerId) -> (usize, bool) {
        let debt = self.debts.get(manager);
        debt.map_or((0, false), |debt| {
            (debt.account.bytes(), debt.crowd == self.crowd)
        })
    }

    /// Whether somebody who is owed nothing may have a task for which too little is left.
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
            "Manager {manager} does not read: {:.1} MB wait for it, and it gets no more tasks \
             until it does. It is stopped, or the network to its node is slow",
            owed as f64 / 1e6
        );
    }

    fn tell_the_end(&self, manager: &ManagerId) {
        if self.is_named {
            codes::log!(MANAGER_UNCLOGGED, "Manager {manager} reads again");
        }
    }
}

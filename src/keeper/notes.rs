//! What outlives the broker: the port that managers know, who they are, how far it has come, and
//! which message it has in hand.
//!
//! The broker alone writes, and the keeper and its children read when it has ended, at whatever
//! instruction: a record counts once the length behind it is stored, and a message once its kind
//! is.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::deposit::Deposit;
use super::message::{Message, MessageKind, digest};

/// Pages are there once they are written to: this is room for a million managers. Those beyond it
/// are told nothing, and leave when they have heard nothing for their heartbeat threshold.
const BYTES: usize = 16 << 20;
/// Of an identity in a ROUTER, so that its length is one byte.
const IDENTITY_BYTES_MAX: usize = 255;

/// What stands before the records.
#[repr(C)]
struct Head {
    /// Of the records, in bytes.
    length: AtomicUsize,
    /// 0 until it is bound.
    worker_port: AtomicU16,
    /// The same of metrics.
    metrics_port: AtomicU16,
    survives: AtomicBool,
    progress: AtomicU64,
    /// What is in hand; 0 if nothing is.
    message_kind: AtomicU8,
    message_bytes: AtomicU64,
    message_digest: AtomicU64,
}

/// Shared by the broker and its keeper.
#[derive(Debug)]
pub struct Notes {
    memory: NonNull<u8>,
    /// None where the system has no sockets for it.
    deposit: Option<Deposit>,
}

// SAFETY: what others read is behind atomics, and one thread alone writes.
unsafe impl Send for Notes {}
// SAFETY: as above.
unsafe impl Sync for Notes {}

impl Notes {
    pub(super) fn open() -> io::Result<Self> {
        let length = NonZeroUsize::new(BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let may = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let how = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a mapping at a place of the kernel's choice touches nothing that is there.
        let memory = unsafe { mmap_anonymous(None, length, may, how) }?;
        Ok(Self {
            memory: memory.cast(),
            deposit: Deposit::open().ok(),
        })
    }

    /// Whether another broker can go on from where this one ends.
    pub fn set_survives(&self, survives: bool) {
        self.head().survives.store(survives, Ordering::Release);
    }

    /// False until a broker has said so. What one has said holds for those behind it.
    pub fn survives(&self) -> bool {
        self.head().survives.load(Ordering::Acquire)
    }

    /// So many things more have come to their end (a task that was dispatched, a result that was
    /// passed on): a broker that brings something about is worth starting again.
    pub fn add_progress(&self, steps: u64) {
        self.head().progress.fetch_add(steps, Ordering::Relaxed);
    }

    /// All of it, since the first broker.
    pub fn progress(&self) -> u64 {
        self.head().progress.load(Ordering::Relaxed)
    }

    /// This message is in hand from now on. It costs a few stores, and its length nothing.
    #[inline]
    pub fn begin_message(&self, kind: MessageKind, bytes: &[u8]) {
        let head = self.head();
        head.message_bytes
            .store(bytes.len() as u64, Ordering::Relaxed);
        head.message_digest.store(digest(bytes), Ordering::Relaxed);
        head.message_kind.store(kind as u8, Ordering::Release);
    }

    /// It is dealt with.
    #[inline]
    pub fn end_message(&self) {
        self.head().message_kind.store(0, Ordering::Release);
    }

    /// What is in hand, if anything is.
    pub fn message(&self) -> Option<Message> {
        let head = self.head();
        let kind = MessageKind::of_number(head.message_kind.load(Ordering::Acquire))?;
        Some(Message {
            kind,
            bytes: head.message_bytes.load(Ordering::Relaxed),
            digest: head.message_digest.load(Ordering::Relaxed),
        })
    }

    /// This descriptor is open as long as the keeper lives, for whoever comes behind this broker.
    /// One is enough: the first that was left is the one that is found.
    ///
    /// # Errors
    /// The system's.
    pub fn leave_socket(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let deposit = self.deposit.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        deposit.leave(socket)
    }

    /// Another descriptor of what was left, if anything was.
    pub fn left_socket(&self) -> Option<OwnedFd> {
        self.deposit.as_ref()?.find()
    }

    /// Where managers connect to.
    pub fn set_worker_port(&self, port: u16) {
        self.head().worker_port.store(port, Ordering::Release);
    }

    /// None until it was bound.
    pub fn worker_port(&self) -> Option<u16> {
        let port = self.head().worker_port.load(Ordering::Acquire);
        (port != 0).then_some(port)
    }

    /// Where metrics are told.
    pub fn set_metrics_port(&self, port: u16) {
        self.head().metrics_port.store(port, Ordering::Release);
    }

    /// None until they were told.
    pub fn metrics_port(&self) -> Option<u16> {
        let port = self.head().metrics_port.load(Ordering::Acquire);
        (port != 0).then_some(port)
    }

    /// A manager has registered under this identity. Only one thread may call it.
    pub fn add_manager(&self, identity: &[u8]) {
        let length = self.head().length.load(Ordering::Relaxed);
        let end = length + 1 + identity.len();
        if identity.len() > IDENTITY_BYTES_MAX || end > Self::ROOM {
            return;
        }
        // SAFETY: the record ends within the mapping, and nobody reads beyond the stored length.
        unsafe {
            let record = self.records().add(length);
            record.write(identity.len() as u8);
            record
                .add(1)
                .copy_from_nonoverlapping(identity.as_ptr(), identity.len());
        }
        self.head().length.store(end, Ordering::Release);
    }

    /// Who has registered since the start, in their order, once for each time.
    pub fn managers(&self) -> Vec<&[u8]> {
        let length = self.head().length.load(Ordering::Acquire).min(Self::ROOM);
        // SAFETY: this much has been written, and is not written again.
        let mut left = unsafe { std::slice::from_raw_parts(self.records(), length) };
        let mut managers = Vec::new();
        while let Some((&length, behind)) = left.split_first()
            && let Some((identity, behind)) = behind.split_at_checked(length.into())
        {
            managers.push(identity);
            left = behind;
        }
        managers
    }

    const ROOM: usize = BYTES - size_of::<Head>();

    fn head(&self) -> &Head {
        // SAFETY: it stands at the beginning of a page, and zeroes are a head.
        unsafe { self.memory.cast::<Head>().as_ref() }
    }

    fn records(&self) -> *mut u8 {
        // SAFETY: the mapping is longer than its head.
        unsafe { self.memory.as_ptr().add(size_of::<Head>()) }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        // SAFETY: whoever borrowed from it is gone.
        let _ = unsafe { munmap(self.memory.cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let notes = Notes::open().unwrap();
        assert_eq!((notes.worker_port(), notes.managers().len()), (None, 0));
        notes.set_worker_port(54_321);
        for identity in [b"first".as_slice(), b"", &[7; 255], &[8; 256], b"last"] {
            notes.add_manager(identity);
        }
        assert_eq!(notes.worker_port(), Some(54_321));
        assert_eq!(
            notes.managers(),
            [b"first".as_slice(), b"", &[7; 255], b"last"]
        );
    }

    #[test]
    fn a_message_is_in_hand_until_it_is_dealt_with() {
        let notes = Notes::open().unwrap();
        assert!(notes.message().is_none() && !notes.survives());
        notes.begin_message(MessageKind::Task, b"one");
        let first = notes.message().unwrap();
        assert_eq!((first.kind, first.bytes), (MessageKind::Task, 3));
        notes.end_message();
        assert_eq!(notes.message(), None);
        notes.begin_message(MessageKind::Task, b"two");
        assert_ne!(notes.message(), Some(first));
        notes.begin_message(MessageKind::Task, b"one");
        assert_eq!(notes.message(), Some(first));
        notes.begin_message(MessageKind::Manager, b"one");
        assert_ne!(notes.message(), Some(first));
        notes.add_progress(2);
        notes.add_progress(3);
        assert_eq!(notes.progress(), 5);
    }

    #[test]
    fn managers_beyond_the_room_are_left_out() {
        let notes = Notes::open().unwrap();
        let identity = [b'm'; 255];
        let fit = Notes::ROOM / 256;
        (0..fit + 9).for_each(|_| notes.add_manager(&identity));
        assert_eq!(notes.managers().len(), fit);
    }

    /// The length is stored last: what stands behind it does not count.
    #[test]
    fn a_record_that_was_not_ended_is_none() {
        let notes = Notes::open().unwrap();
        notes.add_manager(b"whole");
        let length = notes.head().length.load(Ordering::Relaxed);
        notes.add_manager(b"half");
        notes.head().length.store(length, Ordering::Relaxed);
        assert_eq!(notes.managers(), [b"whole"]);
        notes.head().length.store(length + 3, Ordering::Relaxed);
        assert_eq!(notes.managers(), [b"whole"]);
    }
}

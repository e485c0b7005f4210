//! Notes in shared memory that outlive the broker: the port that managers know, the registered
//! managers, the progress, and the message that the broker is processing.
//!
//! Only the broker writes. The keeper and its children read when the broker has ended, at whatever
//! instruction. So a record of a manager is valid once the total length is stored, and a message
//! once its kind is stored.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::deposit::Deposit;
use super::message::{Message, MessageKind, digest};

/// Size of the notes, enough for a million managers. Pages use memory only once they are written
/// to. Managers beyond this size are not notified; they leave after their heartbeat threshold
/// without a message.
const BYTES: usize = 16 << 20;
/// Longest identity of a ROUTER's peer, so that one byte holds its length.
const IDENTITY_BYTES_MAX: usize = 255;

/// The part of the notes before the records of managers.
#[repr(C)]
struct Head {
    /// Length of all records in bytes.
    length: AtomicUsize,
    /// The managers' port; 0 until it is bound.
    worker_port: AtomicU16,
    /// The metrics' port; 0 until it is bound.
    metrics_port: AtomicU16,
    survives: AtomicBool,
    progress: AtomicU64,
    /// The kind of the message that is being processed; 0 if there is none.
    message_kind: AtomicU8,
    message_bytes: AtomicU64,
    message_digest: AtomicU64,
}

/// The notes, which the broker and its keeper share.
#[derive(Debug)]
pub struct Notes {
    memory: NonNull<u8>,
    /// None if the system could not make the pair of sockets.
    deposit: Option<Deposit>,
}

// SAFETY: all shared data is atomic or written once before a length is stored, and only one thread
// writes.
unsafe impl Send for Notes {}
// SAFETY: the same as for `Send`.
unsafe impl Sync for Notes {}

impl Notes {
    pub(super) fn open() -> io::Result<Self> {
        let length = NonZeroUsize::new(BYTES).ok_or(io::ErrorKind::InvalidInput)?;
        let may = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let how = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address, so the mapping touches no existing one.
        let memory = unsafe { mmap_anonymous(None, length, may, how) }?;
        Ok(Self {
            memory: memory.cast(),
            deposit: Deposit::open().ok(),
        })
    }

    /// Sets whether another broker can continue this run.
    pub fn set_survives(&self, survives: bool) {
        self.head().survives.store(survives, Ordering::Release);
    }

    /// Whether another broker can continue this run. False until a broker sets it; the value also
    /// holds for later brokers.
    pub fn survives(&self) -> bool {
        self.head().survives.load(Ordering::Acquire)
    }

    /// Counts completed steps, such as a dispatched task or a forwarded result. A broker that makes
    /// progress is worth restarting.
    pub fn add_progress(&self, steps: u64) {
        self.head().progress.fetch_add(steps, Ordering::Relaxed);
    }

    /// Returns the number of steps since the first broker began.
    pub fn progress(&self) -> u64 {
        self.head().progress.load(Ordering::Relaxed)
    }

    /// Notes the message that is being processed from now on. The cost is a few stores, whatever
    /// the message's length.
    #[inline]
    pub fn begin_message(&self, kind: MessageKind, bytes: &[u8]) {
        let head = self.head();
        head.message_bytes
            .store(bytes.len() as u64, Ordering::Relaxed);
        head.message_digest.store(digest(bytes), Ordering::Relaxed);
        head.message_kind.store(kind as u8, Ordering::Release);
    }

    /// Notes that the message has been processed.
    #[inline]
    pub fn end_message(&self) {
        self.head().message_kind.store(0, Ordering::Release);
    }

    /// Returns the message that is being processed, if there is one.
    pub fn message(&self) -> Option<Message> {
        let head = self.head();
        let kind = MessageKind::of_number(head.message_kind.load(Ordering::Acquire))?;
        Some(Message {
            kind,
            bytes: head.message_bytes.load(Ordering::Relaxed),
            digest: head.message_digest.load(Ordering::Relaxed),
        })
    }

    /// Keeps a descriptor open for later brokers, as long as the keeper lives. Only the first
    /// descriptor that was left can be found again.
    ///
    /// # Errors
    /// The system cannot send the descriptor, or has no sockets for it.
    pub fn leave_socket(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let deposit = self.deposit.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        deposit.leave(socket)
    }

    /// Returns a duplicate of the descriptor that was left, if there is one.
    pub fn left_socket(&self) -> Option<OwnedFd> {
        self.deposit.as_ref()?.find()
    }

    /// Notes the port that managers connect to.
    pub fn set_worker_port(&self, port: u16) {
        self.head().worker_port.store(port, Ordering::Release);
    }

    /// Returns the port that managers connect to; None until it is noted.
    pub fn worker_port(&self) -> Option<u16> {
        let port = self.head().worker_port.load(Ordering::Acquire);
        (port != 0).then_some(port)
    }

    /// Notes the port of metrics.
    pub fn set_metrics_port(&self, port: u16) {
        self.head().metrics_port.store(port, Ordering::Release);
    }

    /// Returns the port of metrics; None until it is noted.
    pub fn metrics_port(&self) -> Option<u16> {
        let port = self.head().metrics_port.load(Ordering::Acquire);
        (port != 0).then_some(port)
    }

    /// Notes that a manager has registered with this identity. Returns false if there is no room
    /// for it. Only one thread may call this.
    pub fn add_manager(&self, identity: &[u8]) -> bool {
        let length = self.head().length.load(Ordering::Relaxed);
        let end = length + 1 + identity.len();
        if identity.len() > IDENTITY_BYTES_MAX || end > Self::ROOM {
            return false;
        }
        // SAFETY: the record ends within the mapping, and no reader goes beyond the stored length.
        unsafe {
            let record = self.records().add(length);
            record.write(identity.len() as u8);
            record
                .add(1)
                .copy_from_nonoverlapping(identity.as_ptr(), identity.len());
        }
        self.head().length.store(end, Ordering::Release);
        true
    }

    /// Returns the identities of all registrations since the start, in their order; an identity may
    /// appear more than once.
    pub fn managers(&self) -> Vec<&[u8]> {
        let length = self.head().length.load(Ordering::Acquire).min(Self::ROOM);
        // SAFETY: this many bytes were written and are never written again.
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
        // SAFETY: the head is at the beginning of a page, and zeroed memory is a valid head.
        unsafe { self.memory.cast::<Head>().as_ref() }
    }

    fn records(&self) -> *mut u8 {
        // SAFETY: the mapping is longer than its head.
        unsafe { self.memory.as_ptr().add(size_of::<Head>()) }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        // SAFETY: no borrow of the notes exists any more.
        let _ = unsafe { munmap(self.memory.cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_written() {
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
    fn a_message_is_noted_until_it_is_processed() {
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
    fn managers_beyond_the_capacity_are_left_out() {
        let notes = Notes::open().unwrap();
        let identity = [b'm'; 255];
        let fit = Notes::ROOM / 256;
        let taken = (0..fit + 9).filter(|_| notes.add_manager(&identity));
        assert_eq!(taken.count(), fit);
        assert_eq!(notes.managers().len(), fit);
    }

    /// The length is stored last: bytes beyond it are ignored.
    #[test]
    fn an_incomplete_record_is_ignored() {
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

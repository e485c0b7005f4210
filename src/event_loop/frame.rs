//! One frame, in libzmq's own form: what came is carried on without a copy, and what a socket does
//! not take is still here afterwards. The `zmq` crate's message is gone after a failed send.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::{ptr, slice};

use account::Receipt;
use zmq_sys::zmq_msg_t;

use super::release::Release;

/// The property under which libzmq names the descriptor that a message came by: kept for an old
/// interface of its own, and the only way to tell two connections of one identity apart.
const DESCRIPTOR_PROPERTY: &CStr = c"__fd";

/// A received message, or one to be sent.
pub(super) struct Frame {
    message: zmq_msg_t,
    /// What libzmq gives back when it has done with it, of one that was ever counted; else null.
    counted: *mut Counted,
}

impl Frame {
    /// Nothing yet; filled by a socket's `receive`.
    pub(super) fn new() -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: the message is ours and has not been initialised before. It cannot fail.
        unsafe { zmq_sys::zmq_msg_init(&raw mut message) };
        Self::of(message)
    }

    /// Takes bytes over without a copy.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        let mut message = zmq_msg_t::default();
        let len = bytes.len();
        // SAFETY: the message is not initialised yet. The bytes are handed over, with their length
        // as the hint, to a function that makes the same box of them again.
        let status = unsafe {
            zmq_sys::zmq_msg_init_data(
                &raw mut message,
                bytes.cast::<c_void>(),
                len,
                Some(free_bytes),
                ptr::without_provenance_mut(len),
            )
        };
        assert_eq!(status, 0, "out of memory for a message of {len} bytes");
        Self::of(message)
    }

    /// A copy: for a few bytes, which libzmq keeps inside the message itself.
    pub(super) fn copy_of(bytes: &[u8]) -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: the message is not initialised yet.
        let status = unsafe { zmq_sys::zmq_msg_init_size(&raw mut message, bytes.len()) };
        assert_eq!(
            status,
            0,
            "out of memory for a message of {} bytes",
            bytes.len()
        );
        // SAFETY: it has just been given room for as many bytes, which nobody else sees.
        unsafe {
            let room = zmq_sys::zmq_msg_data(&raw mut message).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
        }
        Self::of(message)
    }

    fn of(message: zmq_msg_t) -> Self {
        Self {
            message,
            counted: ptr::null_mut(),
        }
    }

    /// The same frame: when libzmq has done with it, the receipt is dropped and the release noted.
    pub(super) fn counted(mut self, receipt: Receipt, release: &'static Release) -> Self {
        let counting = Some((receipt, release));
        if !self.counted.is_null() {
            self.set_counting(counting);
            return self;
        }
        let counted = Box::new(Counted {
            frame: self,
            counting,
        });
        // From where it stays: a few bytes lie in the frame itself.
        let (data, len) = (counted.frame.as_ref().as_ptr(), counted.frame.len());
        let counted = Box::into_raw(counted);
        let mut message = zmq_msg_t::default();
        // SAFETY: the message is not initialised yet. The bytes belong to the frame that the hint
        // keeps until libzmq gives it to `free_counted`.
        let status = unsafe {
            zmq_sys::zmq_msg_init_data(
                &raw mut message,
                data.cast_mut().cast::<c_void>(),
                len,
                Some(free_counted),
                counted.cast::<c_void>(),
            )
        };
        assert_eq!(status, 0, "out of memory for a message");
        Self { message, counted }
    }

    /// What was counted and did not leave. Nobody who awaits a release is woken for it.
    pub(super) fn uncounted(mut self) -> Self {
        if !self.counted.is_null() {
            self.set_counting(None);
        }
        self
    }

    fn set_counting(&mut self, counting: Option<(Receipt, &'static Release)>) {
        // SAFETY: it is alive until its message is closed, and libzmq, which has not taken that,
        // does not look at it.
        unsafe { (*self.counted).counting = counting };
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: the message is initialised, and is only looked at.
        unsafe { zmq_sys::zmq_msg_size(&raw const self.message) }
    }

    /// Whether more frames of the same message follow.
    pub(super) fn has_more(&self) -> bool {
        // SAFETY: as for `len`.
        unsafe { zmq_sys::zmq_msg_more(&raw const self.message) != 0 }
    }

    /// Which descriptor it came by; None for a frame of our own.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        // SAFETY: the message is initialised. The text belongs to it, and is read at once.
        unsafe {
            let text: *const c_char =
                zmq_sys::zmq_msg_gets(&raw const self.message, DESCRIPTOR_PROPERTY.as_ptr());
            if text.is_null() {
                return None;
            }
            CStr::from_ptr(text).to_str().ok()?.parse().ok()
        }
    }

    /// For libzmq's functions.
    pub(super) fn as_mut_ptr(&mut self) -> *mut zmq_msg_t {
        &raw mut self.message
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: libzmq only looks; it asks for a mutable pointer because it gives one back.
        let data = unsafe { zmq_sys::zmq_msg_data((&raw const self.message).cast_mut()) };
        if data.is_null() {
            return &[];
        }
        // SAFETY: the message holds as many bytes there for as long as it lives.
        unsafe { slice::from_raw_parts(data.cast::<u8>().cast_const(), self.len()) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the message is initialised; a message that was sent is an empty one.
        let status: c_int = unsafe { zmq_sys::zmq_msg_close(&raw mut self.message) };
        debug_assert_eq!(status, 0);
    }
}

/// Called by libzmq, in a thread of its own, when the bytes have left.
unsafe extern "C" fn free_bytes(data: *mut c_void, len: *mut c_void) {
    let bytes = ptr::slice_from_raw_parts_mut(data.cast::<u8>(), len.addr());
    // SAFETY: these are the pointer and the length that `of_bytes` made of a box.
    drop(unsafe { Box::from_raw(bytes) });
}

struct Counted {
    /// Whose the bytes are. Closed in libzmq's thread; what it refers to is counted atomically.
    frame: Frame,
    counting: Option<(Receipt, &'static Release)>,
}

/// Called by libzmq, in a thread of its own, when the bytes have left.
unsafe extern "C" fn free_counted(_data: *mut c_void, counted: *mut c_void) {
    // SAFETY: this is the pointer that `counted` made of a box.
    let counted = unsafe { Box::from_raw(counted.cast::<Counted>()) };
    let Counted { frame, counting } = *counted;
    drop(frame);
    if let Some((receipt, release)) = counting {
        drop(receipt);
        release.note();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use account::Account;

    use super::*;
    use crate::system_calls::lent;

    #[test]
    fn counted_bytes_count_as_long_as_they_are_there() {
        let release = Release::leaked().unwrap();
        let mut account = Account::default();
        let frame = Frame::of_bytes(vec![7; 100_000]).counted(account.hand_over(100_000), release);
        let small = Frame::copy_of(b"x").counted(account.hand_over(1), release);
        assert_eq!(account.bytes(), 100_001);
        assert_eq!(frame.as_ref(), [7; 100_000]);
        let frame = frame.uncounted();
        assert_eq!(frame.as_ref(), [7; 100_000]);
        assert_eq!(account.bytes(), 1);
        let frame = frame.counted(account.hand_over(100_000), release);
        assert_eq!(frame.as_ref(), [7; 100_000]);
        assert_eq!(account.bytes(), 100_001);
        assert_eq!(small.as_ref(), b"x");
        drop(small);
        drop(frame);
        assert_eq!(account.bytes(), 0);
    }

    #[test]
    fn what_did_not_leave_wakes_nobody() {
        let release = Release::leaked().unwrap();
        let mut account = Account::default();
        let mut counted = || Frame::copy_of(b"x").counted(account.hand_over(1), release);
        let is_awake = || crate::is_readable_within(lent(release.descriptor()), Duration::ZERO);
        release.begin_waiting();
        drop(counted().uncounted());
        assert!(!is_awake());
        drop(counted());
        assert!(is_awake());
    }

    #[test]
    fn frames_hold_what_they_were_given() {
        assert_eq!(Frame::new().as_ref(), b"");
        for bytes in [&b""[..], b"x", &[7; 33], &[8; 34], &[9; 100_000]] {
            assert_eq!(Frame::copy_of(bytes).as_ref(), bytes);
            assert_eq!(Frame::of_bytes(bytes.to_vec()).as_ref(), bytes);
            assert_eq!(Frame::of_bytes(bytes.to_vec()).len(), bytes.len());
        }
        assert!(!Frame::new().has_more());
        assert_eq!(Frame::new().descriptor(), None);
    }
}

//! One frame in libzmq's own form. A received frame is forwarded without a copy, and a frame that a
//! socket did not take is still available afterwards. The `zmq` crate's message is lost after a
//! failed send.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::{ptr, slice};

use account::Receipt;
use zmq_sys::zmq_msg_t;

use super::release::Release;

/// The property in which libzmq reports the descriptor that a message arrived on. libzmq keeps it
/// for an old interface of its own; it is the only way to distinguish two connections with the same
/// identity.
const DESCRIPTOR_PROPERTY: &CStr = c"__fd";

/// A received message, or one to be sent.
pub(super) struct Frame {
    message: zmq_msg_t,
    /// The data that libzmq returns when it releases the message; null if the frame was never
    /// counted.
    counted: *mut Counted,
}

impl Frame {
    /// Creates an empty frame, to be filled by a socket's `receive`.
    pub(super) fn new() -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: the message belongs to this function and has not been initialised before. The
        // call cannot fail.
        unsafe { zmq_sys::zmq_msg_init(&raw mut message) };
        Self::of(message)
    }

    /// Creates a frame of these bytes without a copy.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let bytes = Box::into_raw(bytes.into_boxed_slice());
        let mut message = zmq_msg_t::default();
        let len = bytes.len();
        // SAFETY: the message is not initialised yet. The bytes are handed over, with their length
        // as the hint, to a function that restores the same box from both.
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

    /// Creates a frame with a copy of the bytes. Meant for a few bytes, which libzmq stores inside
    /// the message itself.
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
        // SAFETY: the message was just created with room for this many bytes, and nothing else
        // refers to it.
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

    /// Returns the same frame, counted: when libzmq releases it, the receipt is dropped and the
    /// release is noted.
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
        // Read from the boxed frame, which does not move any more: a few bytes are stored in the
        // frame itself.
        let (data, len) = (counted.frame.as_ref().as_ptr(), counted.frame.len());
        let counted = Box::into_raw(counted);
        let mut message = zmq_msg_t::default();
        // SAFETY: the message is not initialised yet. The bytes belong to the frame inside the
        // hint, which exists until libzmq passes the hint to `free_counted`.
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

    /// Returns the frame uncounted, since it was not sent. Dropping it does not wake the loop.
    pub(super) fn uncounted(mut self) -> Self {
        if !self.counted.is_null() {
            self.set_counting(None);
        }
        self
    }

    fn set_counting(&mut self, counting: Option<(Receipt, &'static Release)>) {
        // SAFETY: the data lives until its message is closed. libzmq did not take that message, so
        // it does not access the data.
        unsafe { (*self.counted).counting = counting };
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: the message is initialised, and the call only reads it.
        unsafe { zmq_sys::zmq_msg_size(&raw const self.message) }
    }

    /// Whether more frames of the same message follow.
    pub(super) fn has_more(&self) -> bool {
        // SAFETY: the message is initialised, and the call only reads it.
        unsafe { zmq_sys::zmq_msg_more(&raw const self.message) != 0 }
    }

    /// Returns the descriptor that the frame arrived on; None for a frame created here.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        // SAFETY: the message is initialised. The text belongs to the message and is read at once.
        unsafe {
            let text: *const c_char =
                zmq_sys::zmq_msg_gets(&raw const self.message, DESCRIPTOR_PROPERTY.as_ptr());
            if text.is_null() {
                return None;
            }
            CStr::from_ptr(text).to_str().ok()?.parse().ok()
        }
    }

    /// Returns the message as a pointer for libzmq's functions.
    pub(super) fn as_mut_ptr(&mut self) -> *mut zmq_msg_t {
        &raw mut self.message
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: libzmq only reads the message; it takes a mutable pointer because it returns one.
        let data = unsafe { zmq_sys::zmq_msg_data((&raw const self.message).cast_mut()) };
        if data.is_null() {
            return &[];
        }
        // SAFETY: the message holds this many bytes at this address for as long as it lives.
        unsafe { slice::from_raw_parts(data.cast::<u8>().cast_const(), self.len()) }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the message is initialised; after a successful send it is an empty message.
        let status: c_int = unsafe { zmq_sys::zmq_msg_close(&raw mut self.message) };
        debug_assert_eq!(status, 0);
    }
}

/// Called by libzmq, in one of its own threads, when the bytes have been sent.
unsafe extern "C" fn free_bytes(data: *mut c_void, len: *mut c_void) {
    let bytes = ptr::slice_from_raw_parts_mut(data.cast::<u8>(), len.addr());
    // SAFETY: these are the pointer and the length of the box that `of_bytes` took apart.
    drop(unsafe { Box::from_raw(bytes) });
}

struct Counted {
    /// The frame that owns the bytes. libzmq's thread closes it; its reference count is atomic.
    frame: Frame,
    counting: Option<(Receipt, &'static Release)>,
}

/// Called by libzmq, in one of its own threads, when the bytes have been sent.
unsafe extern "C" fn free_counted(_data: *mut c_void, counted: *mut c_void) {
    // SAFETY: this is the pointer of the box that `counted` took apart.
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
    fn counted_bytes_count_until_their_frame_is_dropped() {
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
    fn dropping_an_unsent_frame_wakes_nobody() {
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
    fn frames_hold_their_bytes() {
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

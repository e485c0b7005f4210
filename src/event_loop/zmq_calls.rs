//! The few calls that go to libzmq without the `zmq` crate's error type, which panics on an errno
//! that it does not list (EAFNOSUPPORT, EPERM …), options that it does not know, and what is asked
//! of any socket.

use std::ffi::{CString, c_int, c_void};
use std::io;

use zmq::Socket;

/// `ZMQ_ZAP_ENFORCE_DOMAIN` of zmq.h.
const ZMQ_ZAP_ENFORCE_DOMAIN: c_int = 93;

pub(super) fn bind(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: the socket is open, the text ends in NUL, and both outlive the call.
    check(unsafe { zmq_sys::zmq_bind(socket.as_mut_ptr(), endpoint.as_ptr()) })
}

pub(super) fn connect(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: as for bind.
    check(unsafe { zmq_sys::zmq_connect(socket.as_mut_ptr(), endpoint.as_ptr()) })
}

/// With this, a peer of a socket that has a ZAP domain is refused where no handler answers.
pub(super) fn enforce_zap_domain(socket: &mut Socket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the value is an int of the size that is told, and libzmq copies it.
    check(unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            ZMQ_ZAP_ENFORCE_DOMAIN,
            (&raw const on).cast::<c_void>(),
            size_of::<c_int>(),
        )
    })
}

pub(super) fn is_readable(socket: &Socket) -> bool {
    socket
        .get_events()
        .is_ok_and(|events| events.contains(zmq::POLLIN))
}

pub(super) fn is_writable(socket: &Socket) -> bool {
    socket
        .get_events()
        .is_ok_and(|events| events.contains(zmq::POLLOUT))
}

fn check(status: c_int) -> io::Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// What the call before failed of. libzmq's own errors lie beyond the system's and have its text.
pub(super) fn last_error() -> io::Error {
    // SAFETY: zmq_errno has no preconditions.
    let errno = unsafe { zmq_sys::zmq_errno() };
    let known_to_system = errno < 0x0953_0000;
    if known_to_system {
        return io::Error::from_raw_os_error(errno);
    }
    io::Error::other(zmq::Error::from_raw(errno).message())
}

//! The few calls that go to libzmq without the `zmq` crate's error type, which panics on an errno
//! that it does not list (EAFNOSUPPORT, EPERM …), options that it does not know, and what is asked
//! of any socket.

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;

use zmq::Socket;

/// `ZMQ_ZAP_ENFORCE_DOMAIN` of zmq.h.
const ZMQ_ZAP_ENFORCE_DOMAIN: c_int = 93;
/// Where libzmq's own errors begin.
const ZMQ_HAUSNUMERO: c_int = 156_384_712;

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

/// It is no error that there is nothing to end.
pub(super) fn disconnect(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: as for bind.
    let ended = check(unsafe { zmq_sys::zmq_disconnect(socket.as_mut_ptr(), endpoint.as_ptr()) });
    match ended {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
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

/// The peer that a ROUTER connects to next has this name for it, and can be spoken to at once.
pub(super) fn name_next_peer(socket: &mut Socket, name: &[u8]) -> io::Result<()> {
    // SAFETY: the value is of the size that is told, and libzmq copies it.
    check(unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_CONNECT_ROUTING_ID as c_int,
            name.as_ptr().cast::<c_void>(),
            name.len(),
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

/// What the call before failed of.
pub(super) fn last_error() -> io::Error {
    // SAFETY: zmq_errno has no preconditions.
    error_of(unsafe { zmq_sys::zmq_errno() })
}

/// An error by its number. libzmq's own lie beyond the system's, which knows nothing of them.
pub(super) fn error_of(errno: c_int) -> io::Error {
    if errno < ZMQ_HAUSNUMERO {
        return io::Error::from_raw_os_error(errno);
    }
    // SAFETY: zmq_strerror takes any number, and its texts are there for ever.
    let text = unsafe { CStr::from_ptr(zmq_sys::zmq_strerror(errno)) };
    io::Error::other(text.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_the_words_of_whose_they_are() {
        let own = ZMQ_HAUSNUMERO + 51;
        assert_eq!(
            error_of(own).to_string(),
            "Operation cannot be accomplished in current state"
        );
        assert_eq!(
            error_of(ZMQ_HAUSNUMERO + 53).to_string(),
            "Context was terminated"
        );
        let address_in_use = error_of(libc::EADDRINUSE);
        assert_eq!(address_in_use.kind(), io::ErrorKind::AddrInUse);
        assert!(address_in_use.to_string().contains("in use"));
    }

    #[test]
    fn what_libzmq_refuses_is_told_in_its_words() {
        let socket = zmq::Context::new().socket(zmq::REP).unwrap();
        // Nobody has asked.
        let refused = socket.send("answer", zmq::DONTWAIT);
        assert_eq!(refused, Err(zmq::Error::EFSM));
        assert_eq!(
            last_error().to_string(),
            "Operation cannot be accomplished in current state"
        );
    }
}

//! The few direct calls of libzmq: those that the `zmq` crate's error type would make panic,
//! because it does not list their errno (EAFNOSUPPORT, EPERM …); options that the crate does not
//! know; and queries that work for any socket.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;

use zmq::Socket;

/// The option `ZMQ_ZAP_ENFORCE_DOMAIN` of zmq.h.
const ZMQ_ZAP_ENFORCE_DOMAIN: c_int = 93;
/// The number at which libzmq's own errors begin.
const ZMQ_HAUSNUMERO: c_int = 156_384_712;

pub(super) fn bind(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: the socket is open, the text ends in NUL, and both outlive the call.
    check(unsafe { zmq_sys::zmq_bind(socket.as_mut_ptr(), endpoint.as_ptr()) })
}

pub(super) fn connect(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: as for `bind`.
    check(unsafe { zmq_sys::zmq_connect(socket.as_mut_ptr(), endpoint.as_ptr()) })
}

/// Disconnects a socket. It is no error if the socket is not connected.
pub(super) fn disconnect(socket: &mut Socket, endpoint: &str) -> io::Result<()> {
    let endpoint = CString::new(endpoint)?;
    // SAFETY: as for `bind`.
    let ended = check(unsafe { zmq_sys::zmq_disconnect(socket.as_mut_ptr(), endpoint.as_ptr()) });
    match ended {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes libzmq refuse the peers of a socket with a ZAP domain if no ZAP handler answers.
pub(super) fn enforce_zap_domain(socket: &mut Socket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the value is an int of the size that is passed, and libzmq copies it.
    check(unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            ZMQ_ZAP_ENFORCE_DOMAIN,
            (&raw const on).cast::<c_void>(),
            size_of::<c_int>(),
        )
    })
}

/// Sets the routing id of the peer that a ROUTER connects to next, so that the ROUTER can send to
/// that peer at once.
pub(super) fn name_next_peer(socket: &mut Socket, name: &[u8]) -> io::Result<()> {
    // SAFETY: the value is of the size that is passed, and libzmq copies it.
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

unsafe extern "C" {
    /// libzmq's own dependency; no crate that is linked declares its calls.
    safe fn sodium_version_string() -> *const c_char;
}

/// The C and C++ libraries inside the program, as they describe themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedLibraries {
    /// Major, minor and patch version.
    pub libzmq: (i32, i32, i32),
    /// Whether libzmq can encrypt.
    pub has_curve: bool,
    /// libsodium's version.
    pub libsodium: String,
}

/// Asks the linked libraries for their versions.
#[must_use]
pub fn linked_libraries() -> LinkedLibraries {
    // SAFETY: libsodium returns a constant text that ends in NUL.
    let libsodium = unsafe { CStr::from_ptr(sodium_version_string()) };
    LinkedLibraries {
        libzmq: zmq::version(),
        has_curve: zmq::has("curve") == Some(true),
        libsodium: libsodium.to_string_lossy().into_owned(),
    }
}

fn check(status: c_int) -> io::Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Returns the error of the previous call.
pub(super) fn last_error() -> io::Error {
    // SAFETY: `zmq_errno` has no preconditions.
    error_of(unsafe { zmq_sys::zmq_errno() })
}

/// Returns an error by its number. libzmq's own numbers are above those of the system, which has no
/// texts for them.
pub(super) fn error_of(errno: c_int) -> io::Error {
    if errno < ZMQ_HAUSNUMERO {
        return io::Error::from_raw_os_error(errno);
    }
    // SAFETY: `zmq_strerror` takes any number, and its texts live for ever.
    let text = unsafe { CStr::from_ptr(zmq_sys::zmq_strerror(errno)) };
    io::Error::other(text.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libzmq_and_system_errors_have_their_own_texts() {
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
    fn last_error_has_the_text_of_libzmq() {
        let socket = zmq::Context::new().socket(zmq::REP).unwrap();
        // No request has arrived, so a REP socket cannot send.
        let refused = socket.send("answer", zmq::DONTWAIT);
        assert_eq!(refused, Err(zmq::Error::EFSM));
        assert_eq!(
            last_error().to_string(),
            "Operation cannot be accomplished in current state"
        );
    }
}

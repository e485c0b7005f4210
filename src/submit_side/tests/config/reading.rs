//! The configuration as a stream: it is read up to its end only, in linear time, and up to a limit.

use std::io::{self, Cursor, Read};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use submit_side::config::{self, RawConfig, SelectorChoice};
use support::python;

use super::{dict, good};

/// A stream that delivers its bytes in pieces. A read behind the last byte panics, because a pipe
/// that stays open would block there.
struct OpenPipe {
    bytes: Cursor<Vec<u8>>,
    piece: usize,
}

impl Read for OpenPipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = into.len().min(self.piece);
        let count = self.bytes.read(&mut into[..len])?;
        assert!(count > 0, "reads on behind the STOP");
        Ok(count)
    }
}

#[test]
fn the_pickle_is_read_to_its_stop_and_no_further() {
    for protocol in 0..=5 {
        let bytes = python::pickle(protocol, &dict(&[]));
        for piece in [1, 7, 100, 100_000] {
            let pipe = OpenPipe {
                bytes: Cursor::new(bytes.clone()),
                piece,
            };
            assert_eq!(config::read_pickle(pipe).unwrap(), bytes);
        }
    }
    let bytes = python::pickle(4, &dict(&[("new", "b'x' * 100_000")]));
    let pipe = OpenPipe {
        bytes: Cursor::new(bytes.clone()),
        piece: 4096,
    };
    assert_eq!(config::read_pickle(pipe).unwrap(), bytes);
}

#[test]
fn truncated_and_malformed_configs_are_distinguished() {
    let bytes = python::pickle(4, &dict(&[]));
    for len in 0..bytes.len() {
        let error = config::read_pickle(&bytes[..len]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("ends after {len} bytes")),
            "{error}"
        );
        assert!(RawConfig::read(&bytes[..len]).is_err());
    }
    for garbage in [&b"hello, world\n"[..], b"\x80\x04\x81", b"\x80\x09N."] {
        let error = config::read_pickle(garbage).unwrap_err().to_string();
        assert!(error.contains("byte"), "{error}");
    }
}

#[test]
fn reading_an_endless_stream_stops_at_the_limit() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 += into.len() as u64;
            assert!(self.0 < 64 << 20, "it reads on and on");
            // The stream begins a text of 2 GiB and then delivers its letters.
            into.fill(b'x');
            if self.0 == into.len() as u64 {
                into[..7].copy_from_slice(b"\x80\x04X\x00\x00\x00\x7f");
            }
            Ok(into.len())
        }
    }
    let error = config::read_pickle(Endless(0)).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn an_interrupted_read_is_retried_and_a_failed_one_reported() {
    struct Flaky(Vec<io::Result<Vec<u8>>>);
    impl Read for Flaky {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.remove(0)?;
            into[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }
    let bytes = python::pickle(4, &dict(&[]));
    let (one, other) = bytes.split_at(100);
    let interrupted = Flaky(vec![
        Ok(one.to_vec()),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(other.to_vec()),
    ]);
    assert_eq!(config::read_pickle(interrupted).unwrap(), bytes);
    let failed = Flaky(vec![
        Ok(one.to_vec()),
        Err(io::Error::other("the pipe burst")),
    ]);
    let error = config::read_pickle(failed).unwrap_err().to_string();
    assert!(error.contains("the pipe burst"), "{error}");
}

/// The user's own selector may be large.
#[test]
fn a_selector_may_be_large() {
    let table = "users.Odd({f'manager-{n}': [n] for n in range(200_000)})";
    let config = good(&[("manager_selector", table)]);
    assert_eq!(config.selector, SelectorChoice::User("users.Odd".into()));
    assert_eq!(config.submit_side.command_port, 50003);
}

/// Bytes that were scanned are not scanned again when the next piece arrives.
#[test]
fn a_long_config_is_read_in_linear_time() {
    let lines = "'\\n' * 99 + 'x' * 500_000";
    let objects = "[[n] for n in range(200_000)]";
    for (protocol, content) in [(4, objects), (0, objects), (0, lines)] {
        let bytes = python::pickle(protocol, &dict(&[("new", content)]));
        let once = cpu_time_of(|| drop(pickle::scan(&bytes).expect("well formed")));
        let pipe = OpenPipe {
            bytes: Cursor::new(bytes.clone()),
            piece: 1024,
        };
        let in_pieces = cpu_time_of(|| drop(config::read_pickle(pipe).expect("well formed")));
        let bound = once * 5 + Duration::from_millis(500);
        assert!(
            in_pieces < bound,
            "{} bytes: {once:?} at once, {in_pieces:?} in pieces",
            bytes.len()
        );
    }
}

/// Returns the CPU time of this thread, which other load on the machine does not change.
fn cpu_time_of(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        Duration::from(time.expect("every Linux has this clock"))
    };
    let start = now();
    work();
    now() - start
}

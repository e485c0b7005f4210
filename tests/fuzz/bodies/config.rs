//! Fuzzes the start-up configuration, from its first byte on standard input to the log's format.

use std::io::{self, Read};

use logging::LogSpec;
use pickle::scan;
use submit_side::config::{Config, LoggingKind, PortChoice, RawConfig, read_pickle};

pub fn run(data: &[u8]) {
    check_reading(data);
    let Ok(raw) = RawConfig::read(data) else {
        return;
    };
    let submit_side = raw.submit_side();
    let logging = raw.logging();
    if let Ok(logging) = &logging
        && let LoggingKind::File { format, level } = &logging.kind
    {
        let _ = LogSpec::file_logging(&logging.logdir, format.as_deref().unwrap_or(""), *level);
    }
    if let Ok(config) = raw.check() {
        assert_eq!(Some(&config.submit_side), submit_side.as_ref().ok());
        assert_eq!(Some(&config.logging), logging.as_ref().ok());
        check(&config);
    }
}

fn check(config: &Config) {
    let submit_side = &config.submit_side;
    let ports = [
        submit_side.task_port,
        submit_side.result_port,
        submit_side.command_port,
    ];
    assert!(ports.iter().all(|port| *port > 0));
    match config.worker_port {
        PortChoice::Fixed(port) => assert!(port > 0),
        PortChoice::Range { first, end } => assert!(u32::from(first) < end && end <= 65536),
    }
    assert!(!config.heartbeat_threshold.is_zero());
}

/// Checks that reading ends after the STOP, or with an error at the end of the input, whatever the
/// size of the pieces.
fn check_reading(data: &[u8]) {
    let size = usize::from(data.first().copied().unwrap_or_default()).max(data.len() / 8 + 1);
    let read = read_pickle(Pieces { left: data, size });
    match scan(data) {
        Ok(program) => {
            // A piece may already show that a memo index is larger than the received part allows,
            // so an error is possible, too.
            if let Ok(read) = read {
                assert!(read.len() >= program.end() && data.starts_with(&read));
            }
        }
        Err(_) => assert!(read.is_err()),
    }
}

struct Pieces<'a> {
    left: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(self.left.len()).min(into.len());
        let (now, left) = self.left.split_at(count);
        into[..count].copy_from_slice(now);
        self.left = left;
        Ok(count)
    }
}

//! Wall-clock time in the form of log lines.
//!
//! The time zone is read once, as in Python's `time.localtime`; its rules cover both changes of
//! daylight saving time. The text of a second is cached until the next second begins.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A point in time, as Python's `time.time()` returns it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Seconds since 1970, UTC.
    pub(crate) seconds: i64,
    /// Nanoseconds of the current second.
    pub(crate) nanos: u32,
}

impl Moment {
    pub(crate) fn now() -> Self {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Self {
                seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                nanos: since.subsec_nanos(),
            },
            // A clock before 1970 has lost its battery; its exact time is of no use.
            Err(_) => Self {
                seconds: 0,
                nanos: 0,
            },
        }
    }

    /// Returns the seconds as a float, as in Python.
    pub(crate) fn as_f64(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) * 1e-9
    }
}

/// Formats times in the local zone as `%Y-%m-%d %H:%M:%S`, the `datefmt` of all of Parsl's logs.
#[derive(Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    last: Mutex<(i64, String)>,
}

impl Clock {
    pub(crate) fn local() -> Self {
        Self::in_zone(local_zone())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self {
            zone,
            last: Mutex::new((i64::MIN, String::new())),
        }
    }

    /// Appends the text of a time.
    pub(crate) fn write(&self, moment: Moment, out: &mut impl std::fmt::Write) -> std::fmt::Result {
        // A poisoned lock is still usable: no code under the lock can panic half-way, or block.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != moment.seconds {
            *last = (moment.seconds, self.text(moment.seconds));
        }
        out.write_str(&last.1)
    }

    fn text(&self, seconds: i64) -> String {
        let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let local = self.zone.to_datetime(timestamp);
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        )
    }
}

/// Returns the zone of `TZ`, or the system's. The zone's file is read directly, as the C library
/// reads it. The crate `jiff` would look the zone up by name and list two dozen directories for
/// that, which makes a start last 20 ms instead of 4 ms if they are not in the file cache.
fn local_zone() -> TimeZone {
    let file = match env::var("TZ") {
        Err(env::VarError::NotPresent) => PathBuf::from("/etc/localtime"),
        Ok(name) => Path::new("/usr/share/zoneinfo").join(name.trim_start_matches(':')),
        Err(_) => PathBuf::new(),
    };
    let read = fs::read(file).ok();
    let zone = read.and_then(|bytes| TimeZone::tzif("", &bytes).ok());
    // `TZ` is a written rule (`CET-1CEST,…`), empty or invalid, or the file is missing.
    zone.unwrap_or_else(TimeZone::system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_changes_of_the_clock_in_a_year_are_kept() {
        let clock = berlin();
        assert_eq!(shown(&clock, 1_774_745_999), "2026-03-29 01:59:59");
        assert_eq!(shown(&clock, 1_774_746_000), "2026-03-29 03:00:00");
        assert_eq!(shown(&clock, 1_792_889_999), "2026-10-25 02:59:59");
        assert_eq!(shown(&clock, 1_792_890_000), "2026-10-25 02:00:00");
    }

    #[test]
    fn the_kept_second_gives_way_to_an_earlier_one() {
        let clock = berlin();
        assert_eq!(shown(&clock, 1_774_746_001), "2026-03-29 03:00:01");
        assert_eq!(shown(&clock, 1_774_746_000), "2026-03-29 03:00:00");
    }

    #[test]
    fn absurd_times_are_still_text() {
        assert_eq!(
            shown(&berlin(), i64::MAX).len(),
            "2026-03-29 03:00:00".len()
        );
    }

    fn berlin() -> Clock {
        Clock::in_zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap())
    }

    fn shown(clock: &Clock, seconds: i64) -> String {
        let mut out = String::new();
        clock.write(Moment { seconds, nanos: 0 }, &mut out).unwrap();
        out
    }
}

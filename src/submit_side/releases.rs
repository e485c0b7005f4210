//! The releases of Parsl that this program is tested with, and how another release compares to
//! them.
//!
//! Both ends of this window are written only here. The harness reads them from this file
//! (`python_harness/harness/releases/supported.py`), and its command `window` moves the newer end.

/// The oldest tested release. Older releases use two ports for managers and are refused.
pub const OLDEST_TESTED: &str = "2025.06.30";
/// The newest tested release. A newer release is served as long as its protocol is the same.
pub const NEWEST_TESTED: &str = "2026.10.26";

/// How a release compares to the window of tested releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The release is before the window.
    Older,
    /// The release is in the window, both ends included.
    Tested,
    /// The release is after the window.
    Newer,
    /// The release's name is not of the form `2026.10.26` and cannot be compared.
    Unknown,
}

/// Compares the release `parsl` to the window; leading zeros do not count.
#[must_use]
pub fn standing(parsl: &str) -> Standing {
    let Some(release) = numbers(parsl) else {
        return Standing::Unknown;
    };
    if Some(&release) < numbers(OLDEST_TESTED).as_ref() {
        Standing::Older
    } else if Some(&release) > numbers(NEWEST_TESTED).as_ref() {
        Standing::Newer
    } else {
        Standing::Tested
    }
}

/// Whether `release` is newer than `other`; false if they cannot be compared.
#[must_use]
pub fn is_after(release: &str, other: &str) -> bool {
    let both = numbers(release).zip(numbers(other));
    both.is_some_and(|(release, other)| release > other)
}

fn numbers(release: &str) -> Option<Vec<u32>> {
    release.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_release_is_not_newer() {
        assert!(is_after("2027.01.04", "2026.12.28"));
        assert!(!is_after("2026.10.05", "2026.10.5"));
        assert!(!is_after("2027.dev", "2026.10.26"));
    }

    #[test]
    fn the_window_has_two_ends() {
        for (parsl, stands) in [
            ("1.3.0", Standing::Older),
            ("2025.06.02", Standing::Older),
            ("2025.06.30", Standing::Tested),
            ("2025.6.30", Standing::Tested),
            (OLDEST_TESTED, Standing::Tested),
            ("2026.9.28", Standing::Tested),
            (NEWEST_TESTED, Standing::Tested),
            ("9999.01.04", Standing::Newer),
            ("2024.12.10a0", Standing::Unknown),
            ("", Standing::Unknown),
        ] {
            assert_eq!(standing(parsl), stands, "{parsl}");
        }
    }
}

//! The releases of Parsl that this program is tested with, and where another one stands to them.
//!
//! Both ends of the window are written here and nowhere else: the harness reads them out of this
//! file (`python_harness/harness/releases/supported.py`), and its command `window` moves the newer.

/// Older releases have two ports for managers, and are refused.
pub const OLDEST_TESTED: &str = "2025.06.30";
/// A newer release is served as long as it speaks as this one does.
pub const NEWEST_TESTED: &str = "2026.10.26";

/// Where a release stands to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Before it.
    Older,
    /// In it, both ends included.
    Tested,
    /// After it.
    Newer,
    /// Not of the form `2026.10.26`: it cannot be compared.
    Unknown,
}

/// Where the release that calls itself `parsl` stands; leading zeros do not count.
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

/// Whether one release came after another; false where they cannot be compared.
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
    fn what_is_no_release_is_not_after_one() {
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

//! How many messages libzmq may hold for a connection.
//!
//! It counts messages, not bytes: a thousand of 1 KiB are a buffer, a thousand of 10 MiB are the
//! machine. So the count follows the size of what goes by, down at once and up again later.

/// What a connection may hold, about.
const HELD_BYTES: usize = 16 << 20;
pub(super) const MESSAGES_MAX: i32 = 1000;
/// Fewer would make every message wait for the one before.
const MESSAGES_MIN: i32 = 2;
/// After so many messages the large ones before them are forgotten.
const WINDOW_MESSAGES: u32 = 1000;

pub(super) struct Depth {
    messages: i32,
    largest_bytes: usize,
    seen: u32,
}

impl Depth {
    pub(super) fn new() -> Self {
        Self {
            messages: MESSAGES_MAX,
            largest_bytes: 0,
            seen: 0,
        }
    }

    /// A message of that size goes by. The new limit, where it changes by much.
    pub(super) fn note(&mut self, bytes: usize) -> Option<i32> {
        self.seen += 1;
        let is_window_over = self.seen >= WINDOW_MESSAGES;
        if bytes <= self.largest_bytes && !is_window_over {
            return None;
        }
        self.largest_bytes = self.largest_bytes.max(bytes);
        let fitting = HELD_BYTES / self.largest_bytes.max(1);
        let wanted = i32::try_from(fitting).unwrap_or(MESSAGES_MAX);
        let wanted = wanted.clamp(MESSAGES_MIN, MESSAGES_MAX);
        if is_window_over {
            self.seen = 0;
            self.largest_bytes = 0;
        }
        let is_far_above = is_window_over && wanted >= self.messages.saturating_mul(2);
        let is_below = wanted < self.messages && (wanted <= self.messages / 2 || is_window_over);
        (is_below || is_far_above).then(|| {
            self.messages = wanted;
            wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_change_nothing() {
        let mut depth = Depth::new();
        assert!((0..5000).all(|_| depth.note(16_000).is_none()));
    }

    #[test]
    fn a_large_one_counts_at_once_and_is_forgotten_later() {
        let mut depth = Depth::new();
        assert_eq!(depth.note(4 << 20), Some(4));
        assert_eq!(depth.note(1 << 40), Some(MESSAGES_MIN));
        let raised: Vec<i32> = (0..2000).filter_map(|_| depth.note(1000)).collect();
        assert_eq!(raised, [MESSAGES_MAX]);
    }
}

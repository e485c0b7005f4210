//! Messages of several frames, as managers sent them until 2026.10.5.

use protocol::FromManager;

use super::{frames, manager};

pub fn run(data: &[u8]) {
    let frames = frames::split(data);
    let messages = FromManager::parse_marked(frames.clone());
    let expected = match messages.as_slice() {
        // No marker: one complaint about all of it.
        [Err(_)] => 1,
        _ => frames.len() - 1,
    };
    assert_eq!(messages.len(), expected, "one for each item");
    for (message, frame) in messages.into_iter().zip(frames.iter().skip(1)) {
        if let Ok(message) = message {
            assert!(matches!(message.kind(), "result" | "monitoring"));
            manager::check(message, frame);
        }
    }
}

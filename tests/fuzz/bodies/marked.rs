//! Fuzzes messages of several frames, which managers sent until 2026.10.5.

use protocol::FromManager;

use super::{frames, manager};

pub fn run(data: &[u8]) {
    let frames = frames::split(data);
    let messages = FromManager::parse_marked(frames.clone());
    let expected = match messages.as_slice() {
        // The marker is missing: there is one error for the whole message.
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

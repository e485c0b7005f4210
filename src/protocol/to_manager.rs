//! What the interchange says to managers: single words, and batches of tasks.

use crate::opaque::Opaque;
use pickle::Encoder;

/// What the interchange says to a manager, besides batches of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToManager {
    /// The answer to a probe: an empty frame.
    ProbeAnswer,
    /// The answer to a heartbeat.
    HeartbeatEcho,
    /// "You are drained (or not known any more): exit."
    Shutdown,
}

impl ToManager {
    /// The frame behind the identity.
    pub fn encode(self) -> &'static [u8] {
        // The pickled numbers 2³²−1 and 2³²−2, as LONG1 of five bytes.
        match self {
            Self::ProbeAnswer => b"",
            Self::HeartbeatEcho => b"\x80\x04\x8a\x05\xff\xff\xff\xff\x00.",
            Self::Shutdown => b"\x80\x04\x8a\x05\xfe\xff\xff\xff\x00.",
        }
    }
}

/// A batch: the pickled list of the task dicts, each as the executor wrote it.
pub fn encode_batch<'a, F: AsRef<[u8]> + 'a>(
    bodies: impl Iterator<Item = &'a Opaque<F>> + Clone,
) -> Vec<u8> {
    // PROTO, EMPTY_LIST, MARK; APPENDS, STOP. Exact, so that the room is handed on as it is.
    const AROUND_BYTES: usize = 6;
    let bytes = bodies.clone().map(Opaque::appended_len).sum::<usize>() + AROUND_BYTES;
    let mut out = Encoder::with_capacity(bytes);
    out.begin_list();
    for body in bodies {
        body.append_to(&mut out);
    }
    out.end_list();
    out.finish()
}

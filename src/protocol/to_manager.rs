//! Messages from the interchange to managers: short replies, and batches of tasks.

use crate::opaque::Opaque;
use pickle::Encoder;

/// A message to a manager other than a batch of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToManager {
    /// The answer to a connection probe: an empty frame.
    ProbeAnswer,
    /// The answer to a heartbeat.
    HeartbeatEcho,
    /// The order to exit, because the manager is drained or no longer known.
    Shutdown,
}

impl ToManager {
    /// Returns the frame that follows the identity.
    pub fn encode(self) -> &'static [u8] {
        // The pickled numbers 2³²−1 and 2³²−2, as LONG1 of five bytes.
        match self {
            Self::ProbeAnswer => b"",
            Self::HeartbeatEcho => b"\x80\x04\x8a\x05\xff\xff\xff\xff\x00.",
            Self::Shutdown => b"\x80\x04\x8a\x05\xfe\xff\xff\xff\x00.",
        }
    }
}

/// Encodes a batch: the pickled list of the task dicts, each as the executor wrote it.
pub fn encode_batch<'a, F: AsRef<[u8]> + 'a>(
    bodies: impl Iterator<Item = &'a Opaque<F>> + Clone,
) -> Vec<u8> {
    // PROTO with its number, EMPTY_LIST, MARK, APPENDS and STOP. The exact size avoids a
    // reallocation.
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

/// Each frame stands behind its length, two bytes, little-endian; the last may be cut short. Any
/// bytes are some frames, so that the fuzzer can change them as it likes.
pub(crate) fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        frames.push(frame);
        data = rest;
    }
    frames
}

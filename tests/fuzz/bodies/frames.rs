/// Splits the input into frames. Each follows its length of two bytes, little-endian; the last may
/// be shorter. Every input is a valid list of frames, so that the fuzzer can change it freely.
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

//! Writes a str or bytes with the shortest opcode for their length.

use crate::op;

/// Returns how many bytes [`push_bytes`] writes before `len` bytes of data.
pub(crate) const fn bytes_header_len(len: usize) -> usize {
    match len {
        0..=0xff => 2,
        0x100..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Appends bytes, with their opcode and length.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_len(
        out,
        bytes.len(),
        [op::SHORT_BINBYTES, op::BINBYTES, op::BINBYTES8],
    );
    out.extend_from_slice(bytes);
}

/// Appends a str, with its opcode and length.
pub(crate) fn push_str(out: &mut Vec<u8>, text: &str) {
    push_len(
        out,
        text.len(),
        [op::SHORT_BINUNICODE, op::BINUNICODE, op::BINUNICODE8],
    );
    out.extend_from_slice(text.as_bytes());
}

/// Appends the opcode and the length, in the shortest of the three forms: one byte, four, or eight.
fn push_len(out: &mut Vec<u8>, len: usize, [short, medium, long]: [u8; 3]) {
    if let Ok(len) = u8::try_from(len) {
        out.extend([short, len]);
    } else if let Ok(len) = u32::try_from(len) {
        out.push(medium);
        out.extend(len.to_le_bytes());
    } else {
        out.push(long);
        out.extend((len as u64).to_le_bytes());
    }
}

//! Writes a whole pickle as the argument of a `pickle.loads` call. A pickle that cannot be spliced
//! travels in this form.

use crate::{literal, op};

/// Instructions that push the function `pickle.loads`.
const LOADS: &[u8] = b"\x8c\x06pickle\x8c\x05loads\x93";

/// Returns how many bytes [`append`] adds for a pickle of `len` bytes.
pub(crate) const fn appended_len(len: usize) -> usize {
    LOADS.len() + literal::bytes_header_len(len) + len + 2
}

/// Appends a call of `pickle.loads` whose argument is the whole pickle.
pub(crate) fn append(pickle: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(LOADS);
    literal::push_bytes(out, pickle);
    out.extend([op::TUPLE1, op::REDUCE]);
}

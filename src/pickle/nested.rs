//! A whole pickle as an argument of `pickle.loads`: what cannot be spliced travels like this.

use crate::{literal, op};

/// Names the function that is called.
const LOADS: &[u8] = b"\x8c\x06pickle\x8c\x05loads\x93";

/// How many bytes [`append`] adds for a pickle of so many bytes.
pub(crate) const fn appended_len(len: usize) -> usize {
    LOADS.len() + literal::bytes_header_len(len) + len + 2
}

/// Appends a call of `pickle.loads` on a whole pickle.
pub(crate) fn append(pickle: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(LOADS);
    literal::push_bytes(out, pickle);
    out.extend([op::TUPLE1, op::REDUCE]);
}

//! The reader that takes one walk: it may decline, but says nothing else than the tree.

use super::agreement::agrees;

pub fn run(data: &[u8]) {
    agrees(data).unwrap_or_else(|reason| panic!("{reason}"));
}

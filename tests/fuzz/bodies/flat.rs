//! Fuzzes the reader of flat dicts, which reads in one pass. It may decline an input; otherwise its
//! result must be that of the tree.

use super::agreement::agrees;

pub fn run(data: &[u8]) {
    agrees(data).unwrap_or_else(|reason| panic!("{reason}"));
}

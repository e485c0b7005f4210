//! Fuzzes the answers of the process with a user's manager selector.

use protocol::SelectorAnswer;

pub fn run(data: &[u8]) {
    if let Ok(SelectorAnswer::Order { number, managers }) = SelectorAnswer::parse(data) {
        assert!(number > 0, "0 says that the selector is loaded");
        assert!(managers.len() <= data.len());
    }
}

//! Fuzzes commands: every valid pickle is a command, known or unknown.

use pickle::Tree;
use protocol::Command;

pub fn run(data: &[u8]) {
    let command = Command::parse(data);
    assert_eq!(command.is_ok(), Tree::read(data).is_ok());
    if let Ok(Command::Unknown(text)) = command {
        assert!(text.chars().count() <= 80, "a log line");
    }
}

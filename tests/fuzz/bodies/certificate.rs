//! Fuzzes certificate files by their lines, and keys by their characters.

use submit_side::curve::{PublicKey, SecretKey};

/// The module is private to the crate `submit_side` and uses nothing of it, so it is included here.
#[path = "../../../src/submit_side/curve/zpl.rs"]
mod zpl;

pub fn run(data: &[u8]) {
    check_key(data);
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    match zpl::entries(data) {
        Ok(found) => {
            let names: [&[u8]; 2] = [b"public-key", b"secret-key"];
            for (name, value) in names.into_iter().zip([found.public_key, found.secret_key]) {
                let is_of = |line: &&&[u8]| value.is_some_and(|value| holds(line, name, value));
                assert_eq!(value.is_some(), lines.iter().any(|line| is_of(&line)));
                value.into_iter().for_each(check_key);
            }
        }
        Err(bad) => {
            let line = lines[bad.line - 1];
            assert!(!line.contains(&b'=') && has(line, b"-key"));
        }
    }
}

/// Whether the line has the name before an `=`, and the value after it.
fn holds(line: &[u8], name: &[u8], value: &[u8]) -> bool {
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (before, behind) = line.split_at(equals);
    before.trim_ascii_start().len() >= name.len() && has(before, name) && has(behind, value)
}

fn has(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || line.windows(part.len()).any(|window| window == part)
}

fn check_key(text: &[u8]) {
    let key = PublicKey::from_z85(text);
    let secret = SecretKey::from_z85(text);
    assert_eq!(
        key.as_ref().map(PublicKey::as_bytes),
        secret.as_ref().map(SecretKey::as_bytes)
    );
    if let Some(key) = key {
        assert_eq!(key.to_z85().as_bytes(), text);
    }
}

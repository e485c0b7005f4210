//! Fuzzes libzmq's requests about peers during the handshake.

use submit_side::curve::{Credential, Keyring, PublicKey, Verdict, parse, reply};

use super::frames;

/// The key of the peer that may connect.
const KEY: [u8; 32] = *b"a key of thirty-two bytes, admit";

pub fn run(data: &[u8]) {
    let frames = frames::split(data);
    let Ok(request) = parse(&frames) else {
        return;
    };
    let keyring: Keyring = [PublicKey::from(KEY)].into_iter().collect();
    let verdict = keyring.judge(&request);
    let is_admitted = matches!(verdict, Verdict::Admit { .. });
    let shows_key = request.credential == Credential::Curve(&KEY);
    assert_eq!(is_admitted, shows_key, "whatever else is said");
    let answer = reply(request.request_id, &verdict);
    assert_eq!(answer[1], request.request_id);
    assert_eq!(answer[2], if shows_key { b"200" } else { b"400" });
}

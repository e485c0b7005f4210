//! CURVE keys: 32 bytes each, written as Z85 text (ZMQ RFC 32).

use std::fmt;

use zeroize::Zeroizing;

/// Length of a key in bytes.
const KEY_BYTES: usize = 32;
/// Length of a key in Z85 characters.
const KEY_CHARACTERS: usize = 40;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The public half of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Parses 40 characters of Z85.
    #[must_use]
    pub fn from_z85(text: &[u8]) -> Option<Self> {
        decode(text).map(|key| Self(*key))
    }

    /// Returns the key's bytes, in which libzmq accepts and reports keys.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Returns the key as Z85 text, as certificate files hold it.
    #[must_use]
    pub fn to_z85(&self) -> String {
        let mut text = String::with_capacity(KEY_CHARACTERS);
        for group in self.0.chunks_exact(4) {
            let number = group
                .iter()
                .fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte));
            for weight in [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1] {
                text.push(char::from(ALPHABET[(number / weight % 85) as usize]));
            }
        }
        text
    }
}

impl From<[u8; KEY_BYTES]> for PublicKey {
    fn from(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

/// The secret half of a key pair. It is wiped from memory when dropped, and never printed.
pub struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl SecretKey {
    /// Parses 40 characters of Z85.
    #[must_use]
    pub fn from_z85(text: &[u8]) -> Option<Self> {
        decode(text).map(Self)
    }

    /// Returns the key's bytes, in which libzmq accepts keys.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// The public keys of the peers that may connect.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    // The admitted keys, usually two: HTEX writes one pair for itself and one for all other peers.
    keys: Vec<PublicKey>,
}

impl Keyring {
    /// Whether a peer with this public key may connect.
    #[must_use]
    pub fn admits(&self, public_key: &[u8; KEY_BYTES]) -> bool {
        self.keys.iter().any(|key| key.as_bytes() == public_key)
    }
}

impl FromIterator<PublicKey> for Keyring {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }
}

/// Decodes Z85. Returns None unless the text is 40 characters of the alphabet, and each group of
/// five fits into 32 bits.
fn decode(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != KEY_CHARACTERS {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (group, bytes) in text.chunks_exact(5).zip(key.chunks_exact_mut(4)) {
        let mut number = 0_u64;
        for character in group {
            let digit = ALPHABET.iter().position(|symbol| symbol == character)?;
            number = number * 85 + digit as u64;
        }
        bytes.copy_from_slice(&u32::try_from(number).ok()?.to_be_bytes());
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 32: these eight bytes encode to "HelloWorld".
    const HELLO: [u8; 8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];

    /// The server's key in the test case of libzmq and of RFC 32's reference implementation.
    const RFC_KEY: [u8; 32] = [
        0x8E, 0x0B, 0xDD, 0x69, 0x76, 0x28, 0xB9, 0x1D, 0x8F, 0x24, 0x55, 0x87, 0xEE, 0x95, 0xC5,
        0xB0, 0x4D, 0x48, 0x96, 0x3F, 0x79, 0x25, 0x98, 0x77, 0xB4, 0x9C, 0xD9, 0x06, 0x3A, 0xEA,
        0xD3, 0xB7,
    ];
    const RFC_TEXT: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

    #[test]
    fn rfc_32_vectors_hold_both_ways() {
        assert_eq!(
            PublicKey::from_z85(RFC_TEXT.as_bytes()),
            Some(PublicKey(RFC_KEY))
        );
        assert_eq!(PublicKey(RFC_KEY).to_z85(), RFC_TEXT);

        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&HELLO);
        let text = format!("HelloWorld{}", "0".repeat(30));
        assert_eq!(PublicKey(bytes).to_z85(), text);
        assert_eq!(PublicKey::from_z85(text.as_bytes()), Some(PublicKey(bytes)));
    }

    #[test]
    fn invalid_keys_are_refused() {
        assert_eq!(PublicKey::from_z85(b""), None);
        assert_eq!(PublicKey::from_z85(&RFC_TEXT.as_bytes()[..39]), None);
        assert_eq!(PublicKey::from_z85(format!("{RFC_TEXT}0").as_bytes()), None);
        assert_eq!(
            PublicKey::from_z85(RFC_TEXT.replace('J', "\"").as_bytes()),
            None
        );
        assert_eq!(
            PublicKey::from_z85(RFC_TEXT.replace('J', "\u{e9}").as_bytes()),
            None
        );
        // The largest valid group is "%nSc0"; "%nSc1" is one more.
        let largest = format!("%nSc0{}", &RFC_TEXT[5..]);
        assert!(PublicKey::from_z85(largest.as_bytes()).is_some());
        assert_eq!(
            PublicKey::from_z85(largest.replace("%nSc0", "%nSc1").as_bytes()),
            None
        );
        assert_eq!(PublicKey::from_z85(&[b'#'; 40]), None);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = SecretKey::from_z85(RFC_TEXT.as_bytes()).unwrap();
        assert_eq!(secret.as_bytes(), &RFC_KEY);
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "SecretKey(..) Some(SecretKey(..))"
        );
    }

    #[test]
    fn only_the_keys_of_the_ring_are_admitted() {
        let ring: Keyring = [PublicKey(RFC_KEY), PublicKey([1; 32])]
            .into_iter()
            .collect();
        assert!(ring.admits(&RFC_KEY) && ring.admits(&[1; 32]));
        let mut near = RFC_KEY;
        near[31] ^= 1;
        assert!(!ring.admits(&near) && !ring.admits(&[0; 32]));
        assert!(!Keyring::default().admits(&[0; 32]));
    }
}

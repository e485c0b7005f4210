//! CURVE certificates: the files that HTEX writes, and the decision whether a peer may connect.
//!
//! Everything here is a function of files and bytes. The event loop owns the ZAP socket and sets
//! the CURVE options of the other sockets.
//!
//! ```text
//! cert_dir/server.key_secret ──► our secret key            (all sockets but the hub's)
//!          client.key_secret ──► a client's pair ┐
//!          server.key_secret ──► the server's key┴────────► (the hub's socket)
//!          *.key ──────────────► Keyring ──► Verdict        (what ZAP asks about)
//! ```

mod certificates;
mod keys;
mod zap;
mod zpl;

pub use certificates::{CertificateError, Certificates, HubKeys, Problem};
pub use keys::{Keyring, PublicKey, SecretKey};
pub use zap::{BadRequest, Credential, Verdict, ZapRequest, parse, reply};

//! Who may talk to us: the certificate files that HTEX writes, and the verdict on a peer's key.
//!
//! Everything here is a function of files and bytes. The ZAP socket, and the CURVE options of the
//! others, are the event loop's.
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

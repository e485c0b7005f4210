//! A certificate directory, read once at the start, as the stock interchange's `curvezmq` and pyzmq
//! together read it.
//!
//! Two rules are stricter. pyzmq logs an error for a `*.key` file without a key, and then refuses
//! every peer for the rest of the run; here such a file is an error at the start, which names the
//! file. Only regular files are opened, because opening a FIFO would block the start for ever.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keys::{Keyring, PublicKey, SecretKey};
use super::zpl::{self, Entries, NoEquals};

/// Largest certificate file that is read; pyzmq's files are below 1 KiB.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why a certificate directory cannot be used. The error names the file but never shows its
/// content.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct CertificateError {
    /// The file or directory with the problem.
    pub path: PathBuf,
    /// The problem of the file or directory.
    #[source]
    pub problem: Problem,
}

/// The problem of a certificate file or of the directory.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file or directory cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Other users have access to the directory: the stock interchange refuses every mode but 0700.
    /// The field is the mode found.
    #[error("the directory of certificates must have mode 0700, but has {0:04o}")]
    NotPrivate(u32),
    /// The path is a directory, a pipe or a device.
    #[error("a certificate must be a regular file")]
    NotAFile,
    /// The file is larger than the limit.
    #[error("a certificate must not be larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// A line names a key but has no value; the field is the line's number.
    #[error("line {0} names a key but has no '='")]
    NoEquals(usize),
    /// The file has no `public-key` line.
    #[error("a certificate needs a line public-key = \"...\"")]
    NoPublicKey,
    /// The file has no `secret-key` line.
    #[error("a secret certificate needs a line secret-key = \"...\"")]
    NoSecretKey,
    /// A key is not 40 characters of Z85, which libzmq requires; the field says which key.
    #[error("the {0} must be 40 characters of Z85")]
    BadKey(&'static str),
}

/// The keys in HTEX's certificate directory.
#[derive(Debug)]
pub struct Certificates {
    server_secret: SecretKey,
    hub: Result<HubKeys, CertificateError>,
    keyring: Keyring,
    without_effect: Vec<PathBuf>,
}

/// The keys for the socket to the monitoring hub, on which the interchange is the CURVE client.
#[derive(Debug)]
pub struct HubKeys {
    /// The hub's public key.
    pub server_public: PublicKey,
    /// The interchange's public key towards the hub.
    pub client_public: PublicKey,
    /// The interchange's secret key towards the hub.
    pub client_secret: SecretKey,
}

impl Certificates {
    /// Reads the certificate directory.
    ///
    /// # Errors
    /// [`CertificateError`] if the directory is not private, if `server.key_secret` lacks a key, or
    /// if a `*.key` file holds no key.
    pub fn load(cert_dir: &Path) -> Result<Self, CertificateError> {
        check_private(cert_dir).map_err(at(cert_dir))?;
        let server_path = cert_dir.join("server.key_secret");
        let content = read(&server_path).map_err(at(&server_path))?;
        let server = entries(&content).map_err(at(&server_path))?;
        let server_secret = secret_key(&server).map_err(at(&server_path))?;
        let server_public = public_key(&server).map_err(at(&server_path));
        let hub = server_public.and_then(|server_public| load_hub_keys(cert_dir, server_public));
        let (keyring, without_effect) = load_keyring(cert_dir)?;
        Ok(Self {
            server_secret,
            hub,
            keyring,
            without_effect,
        })
    }

    /// Returns the secret key for every socket on which the interchange is the CURVE server,
    /// including sockets that connect.
    pub fn server_secret(&self) -> &SecretKey {
        &self.server_secret
    }

    /// Returns the keys for the monitoring hub.
    ///
    /// # Errors
    /// The problem with the hub's keys. The stock interchange reads `client.key_secret` only with
    /// monitoring on, so without monitoring the file may be bad or missing.
    pub fn hub(&self) -> Result<&HubKeys, &CertificateError> {
        self.hub.as_ref()
    }

    /// Returns the public keys of the peers that may connect.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Returns the `*.key` files whose key is invalid and therefore admits no peer; they deserve a
    /// warning.
    pub fn without_effect(&self) -> &[PathBuf] {
        &self.without_effect
    }
}

/// Checks the directory's mode as the stock interchange does: links are followed, and mode bits
/// above the lowest nine are ignored.
fn check_private(cert_dir: &Path) -> Result<(), Problem> {
    let mode = fs::metadata(cert_dir)?.permissions().mode() & 0o777;
    if mode == 0o700 {
        Ok(())
    } else {
        Err(Problem::NotPrivate(mode))
    }
}

fn load_hub_keys(cert_dir: &Path, server: PublicKey) -> Result<HubKeys, CertificateError> {
    let path = cert_dir.join("client.key_secret");
    let content = read(&path).map_err(at(&path))?;
    let client = entries(&content).map_err(at(&path))?;
    Ok(HubKeys {
        server_public: server,
        client_public: public_key(&client).map_err(at(&path))?,
        client_secret: secret_key(&client).map_err(at(&path))?,
    })
}

/// Reads the public keys of the files that Python's `glob("*.key")` finds, which skips hidden
/// files.
fn load_keyring(cert_dir: &Path) -> Result<(Keyring, Vec<PathBuf>), CertificateError> {
    let mut keys = Vec::new();
    let mut without_effect = Vec::new();
    for entry in fs::read_dir(cert_dir).map_err(|e| at(cert_dir)(e.into()))? {
        let entry = entry.map_err(|e| at(cert_dir)(e.into()))?;
        let name = entry.file_name();
        if !name.as_bytes().ends_with(b".key") || name.as_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let content = read(&path).map_err(at(&path))?;
        match public_key(&entries(&content).map_err(at(&path))?) {
            Ok(key) => keys.push(key),
            // pyzmq compares keys as text, and no peer's key has this text.
            Err(_) => without_effect.push(path),
        }
    }
    Ok((keys.into_iter().collect(), without_effect))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if !fs::metadata(path)?.is_file() {
        return Err(Problem::NotAFile);
    }
    // The full capacity is allocated at once: a growing buffer would leave copies of a key in
    // memory.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 64));
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        Err(Problem::TooLarge)
    } else {
        Ok(content)
    }
}

/// Reads the entries of a certificate. Like pyzmq, requires a line with a public key, whatever its
/// value.
fn entries(content: &[u8]) -> Result<Entries<'_>, Problem> {
    let found = zpl::entries(content).map_err(|NoEquals { line }| Problem::NoEquals(line))?;
    if found.public_key.is_none() {
        Err(Problem::NoPublicKey)
    } else {
        Ok(found)
    }
}

fn public_key(entries: &Entries<'_>) -> Result<PublicKey, Problem> {
    let text = entries.public_key.ok_or(Problem::NoPublicKey)?;
    PublicKey::from_z85(text).ok_or(Problem::BadKey("public key"))
}

fn secret_key(entries: &Entries<'_>) -> Result<SecretKey, Problem> {
    let text = entries.secret_key.ok_or(Problem::NoSecretKey)?;
    SecretKey::from_z85(text).ok_or(Problem::BadKey("secret key"))
}

fn at(path: &Path) -> impl FnOnce(Problem) -> CertificateError {
    let path = path.to_owned();
    move |problem| CertificateError { path, problem }
}

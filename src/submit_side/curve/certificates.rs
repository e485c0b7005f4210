//! A certificate directory, read once at the start as stock's `curvezmq` and pyzmq do together.
//!
//! Two departures, both on the strict side. A `*.key` file without a key makes pyzmq log an error
//! and then admit nobody, for good; here it is an error of the start that names the file. And
//! what is no regular file is not opened: a FIFO would stop the start for ever.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keys::{Keyring, PublicKey, SecretKey};
use super::zpl::{self, Entries, NoEquals};

/// Largest certificate file that is read; pyzmq's have less than 1 KiB.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why a certificate directory cannot be used. It names the file, and never what is in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct CertificateError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a certificate file or its directory.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Others may look in: stock refuses any other mode than this one.
    #[error("the directory of certificates must have mode 0700, and has {0:04o}")]
    NotPrivate(u32),
    /// It is a directory, a pipe or a device.
    #[error("a certificate must be a regular file")]
    NotAFile,
    /// No certificate is that large.
    #[error("a certificate must not be larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// A line names a key and gives none.
    #[error("line {0} names a key and has no '='")]
    NoEquals(usize),
    /// There is no `public-key` line.
    #[error("a certificate needs a line public-key = \"...\"")]
    NoPublicKey,
    /// There is no `secret-key` line.
    #[error("a secret certificate needs a line secret-key = \"...\"")]
    NoSecretKey,
    /// A key is not what libzmq takes.
    #[error("the {0} must be 40 characters of Z85")]
    BadKey(&'static str),
}

/// What HTEX's certificate directory gives us.
#[derive(Debug)]
pub struct Certificates {
    server_secret: SecretKey,
    hub: Result<HubKeys, CertificateError>,
    keyring: Keyring,
    without_effect: Vec<PathBuf>,
}

/// What the socket to the monitoring hub needs: we are a client there.
#[derive(Debug)]
pub struct HubKeys {
    /// The hub's key.
    pub server_public: PublicKey,
    /// Our own pair.
    pub client_public: PublicKey,
    /// Its other half.
    pub client_secret: SecretKey,
}

impl Certificates {
    /// Reads the directory.
    ///
    /// # Errors
    /// [`CertificateError`] if it is not private, if `server.key_secret` is not a whole
    /// certificate, or if a `*.key` file holds no key.
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

    /// Our key on every socket on which we are the CURVE server, also those that connect.
    pub fn server_secret(&self) -> &SecretKey {
        &self.server_secret
    }

    /// The keys for the hub.
    ///
    /// # Errors
    /// What was wrong with them. Stock reads `client.key_secret` only with monitoring on, so
    /// without it that file may be bad or missing.
    pub fn hub(&self) -> Result<&HubKeys, &CertificateError> {
        self.hub.as_ref()
    }

    /// Who may connect.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The `*.key` files whose key is no key, which admit nobody; worth a warning.
    pub fn without_effect(&self) -> &[PathBuf] {
        &self.without_effect
    }
}

/// As stock: links are followed, and bits above the nine do not count.
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

/// The files are those that Python's `glob("*.key")` finds: hidden ones are not among them.
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
            // pyzmq compares texts, and this one is nobody's.
            Err(_) => without_effect.push(path),
        }
    }
    Ok((keys.into_iter().collect(), without_effect))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    if !fs::metadata(path)?.is_file() {
        return Err(Problem::NotAFile);
    }
    // All its room at once: growing would leave copies of a key behind.
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

/// What pyzmq insists on in every certificate: a line with a public key, whatever it says.
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

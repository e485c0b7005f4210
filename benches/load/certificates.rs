//! CURVE keys, and a directory of certificates as HTEX makes it with `zmq.auth`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zmq::{CurveKeyPair, Socket};

use super::trouble::{Outcome, Trouble};

pub(crate) struct Certificates {
    pub directory: PathBuf,
    server: CurveKeyPair,
    client: CurveKeyPair,
}

impl Certificates {
    /// Makes both key pairs and the directory `certificates` in `place`.
    pub(crate) fn create(place: &Path) -> Outcome<Self> {
        let directory = place.join("certificates");
        // The stock interchange refuses any other mode.
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let (server, client) = (CurveKeyPair::new()?, CurveKeyPair::new()?);
        write(&directory, "server", &server)?;
        write(&directory, "client", &client)?;
        Ok(Self {
            directory,
            server,
            client,
        })
    }

    /// Makes a socket a CURVE client: the submit side and the managers are clients, even on sockets
    /// that bind.
    pub(crate) fn make_client(&self, socket: &Socket) -> Outcome<()> {
        socket.set_curve_serverkey(&self.server.public_key)?;
        socket.set_curve_publickey(&self.client.public_key)?;
        socket.set_curve_secretkey(&self.client.secret_key)?;
        Ok(())
    }

    /// Makes a socket a CURVE server, for a socket that stands in for an interchange's.
    pub(crate) fn make_server(&self, socket: &Socket) -> Outcome<()> {
        socket.set_curve_server(true)?;
        socket.set_curve_secretkey(&self.server.secret_key)?;
        Ok(())
    }
}

fn write(directory: &Path, name: &str, pair: &CurveKeyPair) -> Outcome<()> {
    let text = |key: &[u8]| {
        zmq::z85_encode(key).map_err(|error| Trouble::Failure(format!("Z85: {error}")))
    };
    let public = format!("curve\n    public-key = \"{}\"\n", text(&pair.public_key)?);
    let secret = format!("    secret-key = \"{}\"\n", text(&pair.secret_key)?);
    let banner = "#   ZeroMQ CURVE Certificate\n\nmetadata\n";
    fs::write(
        directory.join(format!("{name}.key")),
        format!("{banner}{public}"),
    )?;
    let secret_path = directory.join(format!("{name}.key_secret"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(secret_path)?;
    write!(file, "{banner}{public}{secret}")?;
    Ok(())
}

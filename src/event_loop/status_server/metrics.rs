//! The listener for metrics, and the file that contains its port.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use crate::side_service::SideServiceError;
use crate::telemetry::Telemetry;
use keeper::Notes;
use status::side_service::SideService;

const SCHEME: &str = "http";

/// The metrics service, if it was requested.
pub(super) struct Metrics {
    listener: Option<TcpListener>,
    /// Kept so that the file is removed when the service ends.
    _port_file: Option<PortFile>,
    told: Option<SideService>,
}

impl Metrics {
    /// Listens at the requested address. If any port is allowed, the previous broker's port is
    /// tried first. `add` registers the listener to be waited for.
    ///
    /// # Errors
    /// Metrics cannot be served, and the start is to be refused for that.
    pub(super) fn open(
        telemetry: &Telemetry,
        notes: Option<&Notes>,
        add: impl FnOnce(RawFd) -> io::Result<()>,
    ) -> Result<Self, SideServiceError> {
        let Some(address) = telemetry.metrics_at else {
            return Ok(Self {
                listener: None,
                _port_file: None,
                told: None,
            });
        };
        let before = notes.and_then(Notes::metrics_port);
        let listening = listen(address, before).and_then(|listener| {
            add(listener.as_raw_fd())?;
            // The system may have chosen the port.
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        });
        if let (Ok((_, bound)), Some(notes)) = (&listening, notes) {
            notes.set_metrics_port(bound.port());
        }
        let listening = listening.map_err(|error| SideServiceError::Metrics { address, error });
        let mut told = SideService {
            asked_for: address.to_string(),
            at: None,
            trouble: None,
        };
        let file = telemetry.metrics_port_file.as_deref();
        let (listener, port_file) = match telemetry.on_failure.settle(listening)? {
            Ok((listener, bound)) => {
                codes::log!(METRICS_SERVED, "Serving metrics at {bound}, path /metrics");
                told.at = Some(format!("{SCHEME}://{bound}/metrics"));
                let written = file
                    .map(|path| PortFile::write(path, bound.port()))
                    .transpose();
                let written = match telemetry.on_failure.settle(written)? {
                    Ok(written) => written,
                    Err(trouble) => {
                        told.trouble = Some(trouble);
                        None
                    }
                };
                (Some(listener), written)
            }
            Err(trouble) => {
                told.trouble = Some(trouble);
                if let Some(path) = file {
                    remove_stale(path);
                }
                (None, None)
            }
        };
        Ok(Self {
            listener,
            _port_file: port_file,
            told: Some(told),
        })
    }

    pub(super) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_ref()
    }

    pub(super) fn told(&self) -> Option<SideService> {
        self.told.clone()
    }
}

fn listen(address: SocketAddr, before: Option<u16>) -> io::Result<TcpListener> {
    let before = before.filter(|_| address.port() == 0);
    let again = before.and_then(|port| TcpListener::bind((address.ip(), port)).ok());
    let listener = again.map_or_else(|| TcpListener::bind(address), Ok)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A file that contains only the port, and is removed when the service ends.
struct PortFile {
    path: PathBuf,
    text: String,
}

impl PortFile {
    /// Writes the file. A concurrent reader sees all of it or nothing.
    fn write(path: &Path, port: u16) -> Result<Self, SideServiceError> {
        let text = format!("{port}\n");
        let mut unseen = OsString::from(path);
        unseen.push(format!(".{}.new", std::process::id()));
        let written = fs::write(&unseen, &text).and_then(|()| fs::rename(&unseen, path));
        match written {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                text,
            }),
            Err(error) => {
                let _ = fs::remove_file(&unseen);
                Err(SideServiceError::MetricsPortFile {
                    path: path.to_owned(),
                    error,
                })
            }
        }
    }
}

impl Drop for PortFile {
    /// Removes the file, unless another interchange has written its own port there.
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a port file that a killed run has left, since nothing listens at that port any more. A
/// file that contains no port belongs to someone else and stays.
fn remove_stale(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_default();
    if text
        .strip_suffix('\n')
        .is_some_and(|port| port.parse::<u16>().is_ok())
    {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_file_is_complete_and_removed_only_by_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.port");
        let file = PortFile::write(&path, 9464).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "9464\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let other = PortFile::write(&path, 9465).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "9465\n");
        drop(other);
        assert!(!path.exists());
        let nowhere = directory.path().join("no/metrics.port");
        assert!(PortFile::write(&nowhere, 9464).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn any_port_means_the_previous_port_if_that_is_free() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = listen(any, None).unwrap();
        let port = first.local_addr().unwrap().port();
        let other = listen(any, Some(port)).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), port);
        drop(first);
        let again = listen(any, Some(port)).unwrap();
        assert_eq!(again.local_addr().unwrap().port(), port);
        let named = other.local_addr().unwrap();
        assert!(listen(named, Some(port)).is_err());
    }

    #[test]
    fn only_a_file_with_a_port_is_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.port");
        for (text, stays) in [("9464\n", false), ("my notes\n", true), ("", true)] {
            fs::write(&path, text).unwrap();
            remove_stale(&path);
            assert_eq!(path.exists(), stays, "{text:?}");
        }
    }
}

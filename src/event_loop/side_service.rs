//! Services beside the tasks, and how a run starts if one of them fails.
//!
//! The start is refused if something essential fails: the configuration, certificates, the log, the
//! sockets for tasks, results, commands and managers, or a selector that the user named. Unknown
//! arguments on the command line count as essential too. (Stock also ends if the log fails, and
//! HTEX itself writes next to it.)
//!
//! Services that only report on a run are not essential: metrics and the file with their port,
//! events, the status socket, the monitoring hub. If one of them fails, the run continues without
//! it, and a WARNING and `status` give the reason. `--strict` refuses such a start. A later failure
//! never ends a run; each service reports its own failures.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::status_server::NoStatusSocket;

/// A service beside the tasks that could not start.
#[derive(Debug, thiserror::Error)]
pub enum SideServiceError {
    /// The address of `--metrics` cannot be used.
    #[error("cannot listen for metrics at {address}: {error}")]
    Metrics {
        /// The address on the command line.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The file of `--metrics-port-file` cannot be written.
    #[error("the port of metrics cannot be written to {}: {error}", path.display())]
    MetricsPortFile {
        /// The path on the command line.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The file of `--events` cannot be written.
    #[error("events cannot be written to {}: {error}", path.display())]
    Events {
        /// The path on the command line.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// No directory works for the status socket.
    #[error("no directory is suitable for the status socket: {0}")]
    Status(#[source] NoStatusSocket),
}

impl SideServiceError {
    /// Returns the name of the missing service.
    fn service(&self) -> &'static str {
        match self {
            Self::Metrics { .. } => "metrics",
            Self::MetricsPortFile { .. } => "the file with the port of metrics",
            Self::Events { .. } => "events",
            Self::Status(_) => "status",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Metrics { .. } => {
                "Name an address of this machine and a free port from 1024 on, or --metrics 0 for \
                 any free port; `htex-interchange status` shows the port"
            }
            Self::MetricsPortFile { .. } => {
                "Name a file in a writable directory; `htex-interchange status` shows the port"
            }
            Self::Events { .. } => {
                "Name a file in a writable directory, on a file system with free space"
            }
            Self::Status(_) => {
                "Set HTEX_INTERCHANGE_STATUS_DIR, where Parsl runs and where `htex-interchange \
                 status` runs, to a directory of this user with mode 0700 and a short path"
            }
        }
    }
}

/// What happens to the start if a service cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The run continues, and the log gives the reason.
    GoOn,
    /// The start is refused (`--strict`).
    Refuse,
}

impl OnFailure {
    /// Returns the service, or why the run continues without it.
    pub fn settle<T>(
        self,
        begun: Result<T, SideServiceError>,
    ) -> Result<Result<T, String>, SideServiceError> {
        match (begun, self) {
            (Ok(service), _) => Ok(Ok(service)),
            (Err(error), Self::Refuse) => Err(error),
            (Err(error), Self::GoOn) => {
                codes::log!(
                    SIDE_SERVICE_FAILED,
                    "Continuing without {}: {error}. {}. (--strict refuses such a start)",
                    error.service(),
                    error.remedy()
                );
                Ok(Err(error.to_string()))
            }
        }
    }
}

//! Services beside the tasks, and what becomes of a run that cannot have one.
//!
//! What a run is nothing without refuses the start: its configuration, the log (stock ends there as
//! well, and HTEX itself writes beside it), certificates, sockets for tasks, results, commands and
//! managers, a selector that the user named, and words on the command line that mean nothing. What
//! only tells of a run does not decide it: metrics and the file with their port, events, the status
//! socket, the monitoring hub. The run goes on without it, a WARNING says why, and so does
//! `status`; `--strict` has such a start refused. What fails later costs no run: each says so where
//! it is.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::status_server::NoStatusSocket;

/// A service beside the tasks that could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum SideServiceError {
    /// The address of `--metrics`.
    #[error("cannot listen for metrics at {address}: {error}")]
    Metrics {
        /// As the command line names it.
        address: SocketAddr,
        /// The system's.
        error: io::Error,
    },
    /// The file of `--metrics-port-file`.
    #[error("the port of metrics cannot be written to {}: {error}", path.display())]
    MetricsPortFile {
        /// Where it should be.
        path: PathBuf,
        /// The system's.
        error: io::Error,
    },
    /// The file of `--events`.
    #[error("events cannot be written to {}: {error}", path.display())]
    Events {
        /// Where it should be.
        path: PathBuf,
        /// The system's.
        error: io::Error,
    },
    /// No directory serves.
    #[error("there is no place for the status socket: {0}")]
    Status(#[source] NoStatusSocket),
}

impl SideServiceError {
    /// What the run goes on without.
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
                "Name an address of this machine and a free port from 1024 on, or --metrics 0 \
                 for any; `htex-interchange status` tells which"
            }
            Self::MetricsPortFile { .. } => {
                "Name a file in a directory that may be written to; `htex-interchange status` \
                 tells the port"
            }
            Self::Events { .. } => {
                "Name a file in a directory that may be written to, on a file system with room"
            }
            Self::Status(_) => {
                "HTEX_INTERCHANGE_STATUS_DIR names another directory, for both sides: of this \
                 user, of mode 0700, with a short path"
            }
        }
    }
}

/// What a service that cannot be begun does to the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The run goes on, and the log says why.
    GoOn,
    /// There is no run (`--strict`).
    Refuse,
}

impl OnFailure {
    /// The service, or why the run goes on without it.
    ///
    /// # Errors
    /// The start is to be refused.
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

//! The submit side's versions of Python and Parsl, which those of managers are compared with.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use broker::Versions;
use event_loop::AwaitsObservations;
use htex_interchange::cli::Arguments;
use interchange::FindVersions;
use submit_side::releases::{NEWEST_TESTED, Standing, standing};
use submit_side::versions::{self, Hints, Search, SubmitVersions};

/// Time limit for the search, which may run an interpreter. The search normally gives up earlier.
pub(crate) const VERSIONS_WITHIN: Duration = Duration::from_secs(3);

/// Collects the inputs of the search.
pub(crate) fn hints(arguments: &Arguments, starter: Option<u32>) -> Hints {
    Hints {
        python_flag: arguments.python_version,
        parsl_flag: arguments.parsl_version.clone(),
        starter_pid: starter,
        path: env::var_os("PATH").unwrap_or_else(|| OsStr::new("").to_owned()),
        own_exe: env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
    }
}

/// Returns a function that searches for the versions, once, when the first manager registers.
pub(crate) fn version_finder(hints: Hints) -> FindVersions {
    Box::new(move || {
        let found = Search::start(hints)
            .ok()
            .and_then(|search| search.wait(VERSIONS_WITHIN));
        let found: SubmitVersions = found.unwrap_or_default();
        if let Some(python) = &found.python {
            codes::log!(
                VERSIONS_FOUND,
                "The submit side has Python {}, according to {}",
                python.version,
                python.source
            );
        }
        if let Some(parsl) = &found.parsl {
            codes::log!(
                VERSIONS_FOUND,
                "The submit side has Parsl {}, according to {}",
                parsl.version,
                parsl.source
            );
            if standing(&parsl.version) == Standing::Newer {
                codes::log!(
                    PARSL_NEWER,
                    "Parsl {} is newer than {NEWEST_TESTED}, the newest release that \
                     htex-interchange {} was tested with. It is served like that release; with \
                     --newer-parsl stock, its own interchange serves it",
                    parsl.version,
                    env!("CARGO_PKG_VERSION")
                );
            }
        }
        Versions {
            python: found.python.map(|known| known.version.to_string()),
            parsl: found.parsl.map(|known| known.version),
        }
    })
}

/// Returns a function that determines the executor's protocol, for an executor that sends no
/// commands.
pub(crate) fn awaits_observations(hints: Hints) -> AwaitsObservations {
    Box::new(move || versions::awaits_observations(&hints))
}

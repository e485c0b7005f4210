//! `--newer-parsl stock`: for a Parsl that this program was not tested with, that Parsl's own
//! interchange takes over this process, as if we had never been there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};

use event_loop::{Ancestry, WatchTarget, WatchedProcess};
use htex_interchange::cli::{Arguments, NewerParsl};
use keeper::Kept;
use logging::LogGuard;
use submit_side::config::SubmitSide;
use submit_side::releases::{NEWEST_TESTED, Standing, standing};
use submit_side::versions::{OwnInterchange, Search, own_interchange};

use super::versions::{VERSIONS_WITHIN, hints};

/// Set for what takes over. Whoever is started with it has come back here by some wrapper; a Python
/// that is enabled leaves Parsl's own alone where it is set.
const HANDED_OVER: &str = "HTEX_INTERCHANGE_HANDED_OVER";

/// Hands over if that is wanted, and returns if not, or if it cannot be done. `config` is what HTEX
/// wrote to standard input, which a newer Parsl may write otherwise: nothing more of it is needed.
pub(crate) fn hand_over_if_newer(
    arguments: &Arguments,
    config: &[u8],
    ancestry: &Ancestry,
    kept: Option<&Kept>,
    side: Option<&SubmitSide>,
    log: Option<&LogGuard>,
) {
    // What was served here so far is served here to its end.
    let is_restart = kept.is_some_and(|kept| kept.restart().is_some());
    if arguments.newer_parsl != NewerParsl::Stock || is_restart {
        return;
    }
    let starter = side.map(|side| WatchedProcess::of(WatchTarget::Starter, ancestry, side));
    let hints = hints(arguments, starter.and_then(|starter| starter.pid()));
    let search = Search::start(hints.clone()).ok();
    let found = search.and_then(|search| search.wait(VERSIONS_WITHIN));
    let found = found.unwrap_or_default();
    let Some(parsl) = found.parsl.as_ref().map(|known| &known.version) else {
        codes::log!(
            PARSL_UNKNOWN,
            "Could not find the release of the submit side's Parsl; serving it here"
        );
        return;
    };
    if standing(parsl) != Standing::Newer {
        return;
    }
    let newer = format!("Parsl {parsl} is newer than {NEWEST_TESTED}, which is tested");
    if std::env::var_os(HANDED_OVER).is_some() {
        codes::log!(
            PARSL_NEWER,
            "{newer}, but its own interchange leads back here; serving it here"
        );
        return;
    }
    let Some(own) = own_interchange(&hints, &found) else {
        codes::log!(
            PARSL_NEWER,
            "{newer}, but no interchange of its own was found; serving it here"
        );
        return;
    };
    codes::log!(
        HANDED_OVER,
        "{newer}: handing over to its own interchange, {}",
        shown(&own)
    );
    if let Some(log) = log {
        log.flush_for(logging::EXIT_FLUSH);
    }
    if let Some(kept) = kept {
        kept.hand_over();
    }
    let error = take_over(&own, config);
    if let Some(kept) = kept {
        kept.take_back();
    }
    codes::log!(
        HAND_OVER_FAILED,
        "Could not start {}; serving Parsl here: {error}",
        shown(&own)
    );
}

/// Returns only if it fails.
fn take_over(own: &OwnInterchange, config: &[u8]) -> io::Error {
    match stdin_with(config) {
        // The standard library gives it an empty signal mask.
        Ok(stdin) => Command::new(&own.program)
            .args(&own.arguments)
            .env(HANDED_OVER, "1")
            .stdin(stdin)
            .exec(),
        Err(error) => error,
    }
}

/// Kernels before 3.17 have no memfd.
fn stdin_with(config: &[u8]) -> io::Result<File> {
    let memory = memfd_create(c"htex-configuration", MFdFlags::MFD_CLOEXEC);
    let mut file = memory.map(File::from).or_else(|_| tempfile::tempfile())?;
    file.write_all(config)?;
    file.rewind()?;
    Ok(file)
}

fn shown(own: &OwnInterchange) -> String {
    let words = [own.program.as_os_str()].into_iter();
    let words = words.chain(own.arguments.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

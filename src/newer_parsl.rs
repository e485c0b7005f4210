//! `--newer-parsl stock`: if this program was not tested with the submit side's Parsl, that Parsl's
//! own interchange replaces this process, as if HTEX had started it directly.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};

use event_loop::{Ancestry, WatchTarget, WatchedProcess};
use htex_interchange::cli::{Arguments, NewerParsl};
use keeper::Kept;
use logging::LogGuard;
use submit_side::config::SubmitSide;
use submit_side::releases::{NEWEST_TESTED, Standing, standing};
use submit_side::versions::{OwnInterchange, Search, own_interchange};

use super::versions::{VERSIONS_WITHIN, hints};

/// Environment variable that is set for the interchange that takes over. If this program finds the
/// variable set, a wrapper has started it again. The variable also stops an enabled Python from
/// replacing Parsl's own interchange by this program.
const HANDED_OVER: &str = "HTEX_INTERCHANGE_HANDED_OVER";

/// Replaces this process by Parsl's own interchange if that is requested, and returns if it is not
/// or if it fails. `config` holds the bytes from standard input. They are passed on as they are,
/// because a newer Parsl may write them in another form.
pub(crate) fn hand_over_if_newer(
    arguments: &Arguments,
    config: &[u8],
    ancestry: &Ancestry,
    kept: Option<&Kept>,
    side: Option<&SubmitSide>,
    log: Option<&LogGuard>,
) {
    // After a restart this program continues to serve the run.
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
            "Could not detect the Parsl release of the submit side; htex-interchange serves it"
        );
        return;
    };
    if standing(parsl) != Standing::Newer {
        return;
    }
    let newer = format!("Parsl {parsl} is newer than {NEWEST_TESTED}, the newest tested release");
    if std::env::var_os(HANDED_OVER).is_some() {
        codes::log!(
            PARSL_NEWER,
            "{newer}, but its own interchange command starts htex-interchange again; \
             htex-interchange serves it"
        );
        return;
    }
    let Some(own) = own_interchange(&hints, &found) else {
        codes::log!(
            PARSL_NEWER,
            "{newer}, but its own interchange was not found; htex-interchange serves it"
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
        "Could not start {}; htex-interchange serves Parsl: {error}",
        shown(&own)
    );
}

/// Replaces this process. Returns only if that fails.
fn take_over(own: &OwnInterchange, config: &[u8]) -> io::Error {
    match stdin_with(config) {
        // The standard library gives the new program an empty signal mask.
        Ok(stdin) => Command::new(&own.program)
            .args(&own.arguments)
            .env(HANDED_OVER, "1")
            .stdin(stdin)
            .exec(),
        Err(error) => error,
    }
}

/// Returns a file with the configuration, to be used as standard input. Kernels before 3.17 have no
/// memfd, so a temporary file is used there.
fn stdin_with(config: &[u8]) -> io::Result<File> {
    let memory = memfd_create(c"htex-configuration", MemfdFlags::CLOEXEC);
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

//! Checks of the file system that a run's files are written to.

use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::shared::finding::Finding;
use crate::shared::words::shell_word;

/// The logs of an unattended run take some tens of MB.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// Network file systems, by the kernel's magic numbers.
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00C3_6400, "Ceph"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9P"),
    (0xAAD7_AAEA, "PanFS"),
];

/// Examines `run_dir`, whose last parts need not exist yet.
pub(super) fn run_dir(run_dir: &Path) -> Vec<Finding> {
    let Some(there) = existing(run_dir) else {
        return Vec::new();
    };
    if !there.is_dir() || access(&there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return vec![
            Finding::problem(
                "run-dir",
                format!(
                    "run_dir is {}, and you cannot write to {}.",
                    run_dir.display(),
                    there.display()
                ),
            )
            .because(
                "Parsl creates its log, scripts and keys there, and cannot start without them.",
            )
            .remedy("Set run_dir in the Config to a directory that you can write to.")
            .shown_by(format!("run_dir={}", run_dir.display()))
            .shown_by(format!("`ls -ld {}`", shell_word(&there))),
        ];
    }
    let mut found = Vec::new();
    found.extend(room_left(&there, run_dir));
    found.extend(network(&there));
    found
}

/// Warns if the file system of `there` has little room left for `place`.
pub(super) fn room_left(there: &Path, place: &Path) -> Option<Finding> {
    let free = statvfs(there).ok()?;
    let bytes = free.blocks_available().saturating_mul(free.fragment_size());
    (bytes < FREE_BYTES_MIN).then(|| {
        Finding::warning(
            "disk-full",
            format!("Only {} MB are free for {}.", bytes >> 20, place.display()),
        )
        .because("Without free space, logs are cut off and blocks cannot be submitted.")
        .remedy("Free some space, or set run_dir in the Config to another file system.")
        .shown_by(format!(
            "{bytes} bytes are free: `df {}`",
            shell_word(there)
        ))
    })
}

fn network(there: &Path) -> Option<Finding> {
    let kind = statfs(there).ok()?.filesystem_type().0;
    // Magic numbers have 32 bits, but the width and sign of the field depend on the system.
    let (_, name) = NETWORK.iter().find(|(number, _)| kind as u32 == *number)?;
    Some(
        Finding::note(
            "network-file-system",
            format!("run_dir is on a network file system, {name}."),
        )
        .because("Log lines may appear there late. The interchange itself does not wait for them.")
        .shown_by(format!("`stat -f {}`", shell_word(there))),
    )
}

/// Returns the nearest existing part of a path: the path itself or an ancestor.
fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors()
        .find(|part| part.exists())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_dir_below_a_file_is_reported() {
        let place = tempfile::tempdir().unwrap();
        assert!(
            run_dir(&place.path().join("runinfo/deep"))
                .iter()
                .all(|f| f.id != "run-dir")
        );
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        let found = run_dir(&file.join("runinfo"));
        assert_eq!(found.first().map(|finding| finding.id), Some("run-dir"));
        let shown = format!("`ls -ld {}`", shell_word(&file));
        assert_eq!(found[0].evidence[1], shown);
    }
}

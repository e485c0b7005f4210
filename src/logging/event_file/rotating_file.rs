//! Files of a bounded size, one after another. The newest has the name, older ones a number behind
//! it.
//!
//! The directory is other people's too: they move files away, make them small, put a pipe or a link
//! in their place, and disks fill up. Each time that lines come it is seen whether the name still
//! stands for the file at hand. What hinders the change to another file costs no line: the file at
//! hand is gone on with, and the change is tried again.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;

/// Somebody who moves files away again and again costs a line as often as this.
const MOVES_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFileSpec {
    /// The newest file. Older ones are called `<path>.1` (newer) and so on.
    pub path: PathBuf,
    /// Another file is begun when one has so many. A pipe or a device has no bound.
    pub bytes_max: u64,
    /// So many older files are kept.
    pub kept: u32,
}

/// The file at hand.
pub(super) struct RotatingFile {
    spec: EventFileSpec,
    head: Vec<u8>,
    file: File,
    is_between_lines: bool,
    /// There should be another file, and none could be begun. Told once.
    is_in_trouble: bool,
    move_told_at: Option<Instant>,
}

impl RotatingFile {
    /// # Errors
    /// The file cannot be opened, or takes no first line.
    pub(super) fn open(spec: EventFileSpec, head: Vec<u8>) -> io::Result<Self> {
        let file = begin(&spec.path, &head)?;
        Ok(Self {
            spec,
            head,
            file,
            is_between_lines: true,
            is_in_trouble: false,
            move_told_at: None,
        })
    }

    /// Changes to another file if it is time.
    fn choose_file(&mut self, coming: usize) {
        match self.change_if_due(coming) {
            Ok(()) => self.is_in_trouble = false,
            Err(error) if !self.is_in_trouble => {
                self.is_in_trouble = true;
                warn!(
                    "No new file of events can be begun at {}: {error}. The one at hand is gone on \
                     with",
                    self.spec.path.display()
                );
            }
            Err(_) => {}
        }
    }

    fn change_if_due(&mut self, coming: usize) -> io::Result<()> {
        let at_hand = self.file.metadata()?;
        let is_named = fs::metadata(&self.spec.path).is_ok_and(|named| is_same(&named, &at_hand));
        if !is_named {
            self.file = begin(&self.spec.path, &self.head)?;
            // It may have waited for room, with a line of its own.
            if !self.is_in_trouble {
                self.tell_of_move();
            }
        } else if at_hand.is_file() {
            let has_lines = at_hand.len() > self.head.len() as u64;
            let is_full = at_hand.len().saturating_add(coming as u64) > self.spec.bytes_max;
            if has_lines && is_full {
                self.rotate()?;
            } else if at_hand.len() == 0 {
                // Copied and cut to nothing, as `logrotate` does it.
                write_whole(&mut self.file, &self.head)?;
            }
        }
        Ok(())
    }

    /// Wherever this stops, every file is there: each moves to a number that is free, and the one
    /// beyond those that are kept goes when all is done.
    fn rotate(&mut self) -> io::Result<()> {
        // Where the name is a link, files lie beside the one that it leads to.
        let path = fs::canonicalize(&self.spec.path)?;
        let beyond = self.spec.kept.saturating_add(1);
        let free = (1..beyond).find(|number| is_free(&older(&path, *number)));
        for number in (1..free.unwrap_or(beyond)).rev() {
            fs::rename(older(&path, number), older(&path, number + 1))?;
        }
        fs::rename(&path, older(&path, 1))?;
        self.file = begin(&path, &self.head)?;
        match fs::remove_file(older(&path, beyond)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn tell_of_move(&mut self) {
        let is_told = |at: Instant| at.elapsed() < MOVES_TOLD_EVERY;
        if self.move_told_at.is_some_and(is_told) {
            return;
        }
        self.move_told_at = Some(Instant::now());
        warn!(
            "The file of events at {} was moved away or removed; another one is begun",
            self.spec.path.display()
        );
    }
}

impl Write for RotatingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.is_between_lines {
            self.choose_file(lines.len());
        }
        let count = self.file.write(lines)?;
        self.is_between_lines = lines[..count].ends_with(b"\n");
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Opens a file, new or not, to write lines behind its first one.
fn begin(path: &Path, head: &[u8]) -> io::Result<File> {
    // A pipe that nobody reads is an error, and one that is full takes nothing: neither waits.
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    write_whole(&mut file, head)?;
    Ok(file)
}

/// A disk that becomes full keeps nothing of it, so that no line goes on in its middle.
fn write_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?;
    let written = file.write_all(line);
    if written.is_err() && before.is_file() {
        file.set_len(before.len())?;
    }
    written
}

fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn is_free(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use nix::sys::stat::Mode;
    use tempfile::TempDir;
    use tracing::dispatcher;

    use crate::{LogSpec, open};

    use super::*;

    /// Two lines behind the first one fill a file.
    struct Run {
        directory: TempDir,
        file: RotatingFile,
        next: u32,
    }

    impl Run {
        fn new() -> Self {
            Self::with(TempDir::new().unwrap())
        }

        fn with(directory: TempDir) -> Self {
            let spec = EventFileSpec {
                path: directory.path().join("events.jsonl"),
                bytes_max: 20,
                kept: 2,
            };
            Self {
                file: RotatingFile::open(spec, b"head\n".to_vec()).unwrap(),
                directory,
                next: 0,
            }
        }

        fn write(&mut self, count: u32) {
            for number in self.next..self.next + count {
                let line = format!("line {number}\n");
                let written = self.file.write(line.as_bytes()).unwrap();
                assert_eq!(written, line.len());
            }
            self.next += count;
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("events.jsonl")
        }

        /// What stands in the newest file and in those behind it.
        fn files(&self) -> [String; 3] {
            ["", ".1", ".2"].map(|suffix| self.read(suffix))
        }

        fn read(&self, suffix: &str) -> String {
            let mut name = self.path().into_os_string();
            name.push(suffix);
            let text = fs::read_to_string(name);
            let text = text.map(|text| text.replace('\n', " ").trim_end().to_owned());
            text.unwrap_or_else(|error| error.kind().to_string())
        }

        fn count(&self) -> usize {
            fs::read_dir(self.directory.path()).unwrap().count()
        }
    }

    /// The WARNINGs of `work`.
    fn warnings(work: impl FnOnce()) -> Vec<String> {
        let directory = TempDir::new().unwrap();
        let spec = LogSpec::file_logging(directory.path(), "%(message)s", 30).unwrap();
        let (dispatch, guard) = open(&spec).unwrap();
        dispatcher::with_default(&dispatch.unwrap(), work);
        assert!(guard.flush_for(Duration::from_secs(20)));
        let text = fs::read_to_string(directory.path().join("interchange.log")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn files_are_bounded_and_the_oldest_goes() {
        let mut run = Run::new();
        let told = warnings(|| run.write(10));
        assert_eq!(
            run.files(),
            [
                "head line 8 line 9",
                "head line 6 line 7",
                "head line 4 line 5"
            ]
        );
        assert_eq!(run.count(), 3);
        assert_eq!(told, [""; 0]);
    }

    #[test]
    fn a_file_that_is_moved_away_is_followed_by_another() {
        let mut run = Run::new();
        run.write(6);
        let away = run.directory.path().join("away");
        let told = warnings(|| {
            fs::rename(run.path(), &away).unwrap();
            run.write(3);
        });
        assert_eq!(fs::read_to_string(&away).unwrap(), "head\nline 4\nline 5\n");
        assert_eq!(
            run.files(),
            ["head line 8", "head line 6 line 7", "head line 2 line 3"]
        );
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("was moved away or removed"), "{told:?}");
    }

    #[test]
    fn files_that_are_taken_away_again_and_again_cost_one_line() {
        let mut run = Run::new();
        let told = warnings(|| {
            for number in 0..10 {
                run.write(1);
                assert_eq!(run.read(""), format!("head line {number}"));
                fs::remove_file(run.path()).unwrap();
            }
        });
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(run.count(), 0);
    }

    #[test]
    fn somebody_elses_file_in_its_place_is_gone_on_with() {
        let mut run = Run::new();
        run.write(1);
        fs::rename(run.path(), run.directory.path().join("away")).unwrap();
        fs::write(run.path(), "").unwrap();
        run.write(1);
        assert_eq!(run.read(""), "head line 1");
    }

    #[test]
    fn a_file_that_is_cut_to_nothing_begins_again_with_its_head() {
        let mut run = Run::new();
        run.write(2);
        File::create(run.path()).unwrap();
        run.write(1);
        assert_eq!((run.read("").as_str(), run.count()), ("head line 2", 1));
    }

    /// A directory stands where the oldest file would go, so that no file can move up.
    #[test]
    fn where_no_file_can_be_begun_the_one_at_hand_is_gone_on_with() {
        let mut run = Run::new();
        run.write(6);
        let older = (run.read(".1"), run.read(".2"));
        let in_the_way = run.directory.path().join("events.jsonl.3");
        fs::create_dir(&in_the_way).unwrap();
        let told = warnings(|| run.write(3));
        assert_eq!(run.read(""), "head line 4 line 5 line 6 line 7 line 8");
        assert_eq!((run.read(".1"), run.read(".2")), older);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("No new file of events"), "{told:?}");
        fs::remove_dir(&in_the_way).unwrap();
        assert_eq!(warnings(|| run.write(1)), [""; 0]);
        assert_eq!(
            run.files(),
            [
                "head line 9",
                "head line 4 line 5 line 6 line 7 line 8",
                "head line 2 line 3"
            ]
        );
        assert_eq!(run.count(), 3);
    }

    #[test]
    fn a_directory_in_its_place_costs_no_line() {
        let mut run = Run::new();
        run.write(1);
        let away = run.directory.path().join("away");
        fs::rename(run.path(), &away).unwrap();
        fs::create_dir(run.path()).unwrap();
        let told = warnings(|| run.write(2));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("No new file of events"), "{told:?}");
        fs::remove_dir(run.path()).unwrap();
        assert_eq!(warnings(|| run.write(1)), [""; 0]);
        let before = fs::read_to_string(&away).unwrap();
        assert_eq!(before, "head\nline 0\nline 1\nline 2\n");
        assert_eq!(run.read(""), "head line 3");
    }

    /// A change that stopped half-way left a number free: what is behind that stays where it is.
    #[test]
    fn a_change_that_stopped_half_way_costs_no_older_file() {
        let mut run = Run::new();
        run.write(6);
        fs::rename(
            run.directory.path().join("events.jsonl.1"),
            run.directory.path().join("first"),
        )
        .unwrap();
        run.write(1);
        assert_eq!(
            run.files(),
            ["head line 6", "head line 4 line 5", "head line 0 line 1"]
        );
    }

    #[test]
    fn a_directory_that_is_gone_is_not_made_again() {
        let mut run = Run::new();
        run.write(1);
        fs::remove_dir_all(run.directory.path()).unwrap();
        let told = warnings(|| run.write(4));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!run.directory.path().exists());
    }

    #[test]
    fn a_pipe_is_no_file_that_another_can_follow() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("events.jsonl");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new();
        reader.read(true).custom_flags(libc::O_NONBLOCK);
        let mut reader = reader.open(&path).unwrap();
        let mut run = Run::with(directory);
        let told = warnings(|| run.write(4));
        let mut text = [0; 100];
        let count = reader.read(&mut text).unwrap();
        assert_eq!(&text[..count], b"head\nline 0\nline 1\nline 2\nline 3\n");
        assert!(fs::metadata(run.path()).unwrap().file_type().is_fifo());
        assert_eq!((run.count(), told), (1, Vec::new()));
    }

    /// By a link of the test's own, which is all that may be renamed here.
    #[test]
    fn a_device_stays_where_it_is() {
        let directory = TempDir::new().unwrap();
        symlink("/dev/null", directory.path().join("events.jsonl")).unwrap();
        let mut run = Run::with(directory);
        assert_eq!(warnings(|| run.write(4)), [""; 0]);
        assert_eq!(fs::read_link(run.path()).unwrap(), Path::new("/dev/null"));
        assert_eq!(run.count(), 1);
    }

    #[test]
    fn where_the_name_is_a_link_files_lie_where_it_leads_to() {
        let elsewhere = TempDir::new().unwrap();
        let directory = TempDir::new().unwrap();
        let target = elsewhere.path().join("all");
        symlink(&target, directory.path().join("events.jsonl")).unwrap();
        let mut run = Run::with(directory);
        run.write(3);
        assert_eq!(fs::read_link(run.path()).unwrap(), target);
        assert_eq!(run.read(""), "head line 2");
        let first = fs::read_to_string(elsewhere.path().join("all.1")).unwrap();
        assert_eq!((first.as_str(), run.count()), ("head\nline 0\nline 1\n", 1));
    }
}

//! Events files of bounded size. The newest file has the given name; older files have a number
//! behind it.
//!
//! Other programs use the directory, too: they move files away, truncate them, or put a pipe or a
//! link in their place, and disks fill up. So each write first checks whether the name still refers
//! to the open file. No line is lost if a new file cannot be started: the lines continue in the
//! open file, and the next write tries again.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::own_file::{self, OwnFile};
use crate::line_queue::TellGap;

/// Smallest interval between log lines about moved files.
const MOVES_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Name, size and number of the events files.
#[derive(Debug, Clone)]
pub struct EventFileSpec {
    /// The newest file. Older ones are called `<path>.1` (the newest of them), `<path>.2` and so
    /// on.
    pub path: PathBuf,
    /// A label that is added to the file's name if another process writes to `path`.
    pub own_name: OsString,
    /// Makes a line that reports how many lines were lost before the line that follows.
    pub tell_gap: TellGap,
    /// Size from which on a new file is started. A pipe or a device has no limit.
    pub bytes_max: u64,
    /// Number of older files that are kept.
    pub kept: u32,
}

/// The current state of the events file, for status reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFileState {
    /// The newest file.
    pub path: PathBuf,
    /// The error that prevents writing lines or starting a new file; None if there is none.
    pub trouble: Option<String>,
}

/// The open events file and its names.
pub(super) struct RotatingFile {
    spec: EventFileSpec,
    head: Vec<u8>,
    /// Possible names of the file, the current one first. Names that another process uses are
    /// removed.
    names: Vec<PathBuf>,
    own: OwnFile,
    state: Arc<Mutex<EventFileState>>,
    is_between_lines: bool,
    /// A new file is due but could not be started; this is logged once.
    is_in_trouble: bool,
    move_told_at: Option<Instant>,
}

impl RotatingFile {
    /// Opens the file and writes its first line.
    ///
    /// # Errors
    /// The file cannot be opened, or its first line cannot be written.
    pub(super) fn open(spec: EventFileSpec, head: Vec<u8>) -> io::Result<Self> {
        let mut names = own_file::names(&spec.path, &spec.own_name).to_vec();
        let own = begin(&mut names, &head)?;
        let state = EventFileState {
            path: names[0].clone(),
            trouble: None,
        };
        Ok(Self {
            spec,
            head,
            names,
            own,
            state: Arc::new(Mutex::new(state)),
            is_between_lines: true,
            is_in_trouble: false,
            move_told_at: None,
        })
    }

    /// Returns a handle to the state, which stays up to date.
    pub(super) fn state(&self) -> Arc<Mutex<EventFileState>> {
        Arc::clone(&self.state)
    }

    fn path(&self) -> &Path {
        &self.names[0]
    }

    fn note(&self, trouble: Option<&io::Error>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.trouble.is_some() || trouble.is_some() {
            state.trouble = trouble.map(ToString::to_string);
        }
    }

    fn begin_another(&mut self) -> io::Result<()> {
        self.own = begin(&mut self.names, &self.head)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.path.clone_from(&self.names[0]);
        Ok(())
    }

    /// Starts a new file if one is due.
    fn choose_file(&mut self, coming: usize) {
        match self.change_if_due(coming) {
            Ok(()) => {
                self.is_in_trouble = false;
                self.note(None);
            }
            Err(error) => {
                self.note(Some(&error));
                if !self.is_in_trouble {
                    self.is_in_trouble = true;
                    codes::log!(
                        EVENTS_NOT_ROTATED,
                        "Cannot rotate the events file at {}: {error}. Continuing with the \
                         current one",
                        self.path().display()
                    );
                }
            }
        }
    }

    fn change_if_due(&mut self, coming: usize) -> io::Result<()> {
        let at_hand = self.own.file.metadata()?;
        let is_named = fs::metadata(self.path()).is_ok_and(|named| is_same(&named, &at_hand));
        if !is_named {
            self.begin_another()?;
            // If starting a new file has failed before, that was logged, and the move is not.
            if !self.is_in_trouble {
                self.tell_of_move();
            }
        } else if at_hand.is_file() {
            let has_lines = at_hand.len() > self.head.len() as u64;
            let is_full = at_hand.len().saturating_add(coming as u64) > self.spec.bytes_max;
            if has_lines && is_full {
                self.rotate()?;
            } else if at_hand.len() == 0 {
                // `logrotate` has copied the file and truncated it.
                write_whole(&mut self.own.file, &self.head)?;
            }
        }
        Ok(())
    }

    /// Renames the files and starts a new one. No file is lost wherever this stops: each file moves
    /// to a free number, and the file with the highest number is deleted last.
    fn rotate(&mut self) -> io::Result<()> {
        // If the name is a link, older files are beside the link's target.
        let path = fs::canonicalize(self.path())?;
        let beyond = self.spec.kept.saturating_add(1);
        let free = (1..beyond).find(|number| is_free(&older(&path, *number)));
        for number in (1..free.unwrap_or(beyond)).rev() {
            fs::rename(older(&path, number), older(&path, number + 1))?;
        }
        fs::rename(&path, older(&path, 1))?;
        self.begin_another()?;
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
        codes::log!(
            EVENTS_MOVED,
            "The events file at {} was moved or removed; starting a new one",
            self.path().display()
        );
    }

    /// `count` bytes of `lines` were written at the end of the file. Returns how many of them
    /// remain: an incomplete last line, which a full disk causes, is cut off the file if possible.
    fn kept_of(&self, lines: &[u8], count: usize) -> usize {
        let end = lines[..count].iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(0, |end| end + 1);
        let is_cut = whole < count && self.own.is_locked() && self.cut(count - whole).is_ok();
        if is_cut { whole } else { count }
    }

    fn cut(&self, bytes: usize) -> io::Result<()> {
        let metadata = self.own.file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.own
            .file
            .set_len(metadata.len().saturating_sub(bytes as u64))
    }
}

impl Write for RotatingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.is_between_lines {
            self.choose_file(lines.len());
        }
        let written = self
            .own
            .file
            .write(lines)
            .inspect_err(|error| self.note(Some(error)))?;
        let count = self.kept_of(lines, written);
        let is_at_end = lines[..count].ends_with(b"\n");
        self.is_between_lines = is_at_end || (count == 0 && self.is_between_lines);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.own.file.flush()
    }
}

/// Opens a file, new or existing, and appends `head`. Names of files that another process writes to
/// are removed from `names`.
fn begin(names: &mut Vec<PathBuf>, head: &[u8]) -> io::Result<OwnFile> {
    let (others, mut own) = OwnFile::open(names)?;
    write_whole(&mut own.file, head)?;
    if others > 0 {
        codes::log!(
            EVENTS_SHARED,
            "Another interchange writes events to {}: this one writes to {}. To choose the names, \
             give each executor its own --events file",
            names[0].display(),
            names[others].display()
        );
        names.drain(..others);
    }
    Ok(own)
}

/// Writes the whole line. If the disk is full, the file is cut back to its old length, so that no
/// line follows an incomplete one.
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
    use std::fs::OpenOptions;
    use std::io::Read as _;
    use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, symlink};

    use nix::sys::stat::Mode;
    use tempfile::TempDir;
    use tracing::dispatcher;

    use crate::{LogSpec, open};

    use super::*;

    /// A file of a test: `head` and two lines fill it.
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
                own_name: "htex".into(),
                tell_gap: |_, _| Vec::new(),
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

        /// Returns the content of the newest file and of the older ones.
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

    /// Returns the warnings that `work` logs.
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
    fn files_are_bounded_and_the_oldest_is_deleted() {
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
    fn a_moved_file_is_replaced_by_a_new_one() {
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
        assert!(told[0].contains("was moved or removed"), "{told:?}");
    }

    #[test]
    fn repeatedly_removed_files_are_logged_once() {
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
    fn a_new_file_under_the_name_is_appended_to() {
        let mut run = Run::new();
        run.write(1);
        fs::rename(run.path(), run.directory.path().join("away")).unwrap();
        fs::write(run.path(), "").unwrap();
        run.write(1);
        assert_eq!(run.read(""), "head line 1");
    }

    #[test]
    fn a_truncated_file_begins_again_with_its_head() {
        let mut run = Run::new();
        run.write(2);
        File::create(run.path()).unwrap();
        run.write(1);
        assert_eq!((run.read("").as_str(), run.count()), ("head line 2", 1));
    }

    /// A directory has the name that the oldest file would get, so that no file can be renamed.
    #[test]
    fn without_a_new_file_the_open_one_is_appended_to() {
        let mut run = Run::new();
        run.write(6);
        let older = (run.read(".1"), run.read(".2"));
        let in_the_way = run.directory.path().join("events.jsonl.3");
        fs::create_dir(&in_the_way).unwrap();
        let told = warnings(|| run.write(3));
        assert_eq!(run.read(""), "head line 4 line 5 line 6 line 7 line 8");
        assert_eq!((run.read(".1"), run.read(".2")), older);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("Cannot rotate the events file"),
            "{told:?}"
        );
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
    fn a_directory_under_the_name_loses_no_line() {
        let mut run = Run::new();
        run.write(1);
        let away = run.directory.path().join("away");
        fs::rename(run.path(), &away).unwrap();
        fs::create_dir(run.path()).unwrap();
        let told = warnings(|| run.write(2));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("Cannot rotate the events file"),
            "{told:?}"
        );
        fs::remove_dir(run.path()).unwrap();
        assert_eq!(warnings(|| run.write(1)), [""; 0]);
        let before = fs::read_to_string(&away).unwrap();
        assert_eq!(before, "head\nline 0\nline 1\nline 2\n");
        assert_eq!(run.read(""), "head line 3");
    }

    /// An interrupted rotation leaves a number free: the files behind it stay where they are.
    #[test]
    fn an_interrupted_rotation_loses_no_older_file() {
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
    fn a_file_of_another_process_is_not_written_to() {
        let mut run = Run::new();
        run.write(1);
        let told = warnings(|| {
            fs::rename(run.path(), run.directory.path().join("away")).unwrap();
            let mut others = vec![run.path()];
            let other = begin(&mut others, b"other\n").unwrap();
            run.write(3);
            drop(other);
        });
        assert_eq!(run.read(""), "other");
        let own = run.directory.path().join("events.htex.jsonl");
        assert_eq!(run.file.state.lock().unwrap().path, own);
        assert_eq!(fs::read_to_string(&own).unwrap(), "head\nline 3\n");
        let older = fs::read_to_string(own.with_file_name("events.htex.jsonl.1")).unwrap();
        assert_eq!(older, "head\nline 1\nline 2\n");
        assert!(
            told[0].contains("Another interchange writes events"),
            "{told:?}"
        );
    }

    #[test]
    fn a_removed_directory_is_not_made_again() {
        let mut run = Run::new();
        run.write(1);
        fs::remove_dir_all(run.directory.path()).unwrap();
        let told = warnings(|| run.write(4));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(!run.directory.path().exists());
    }

    #[test]
    fn a_pipe_is_not_rotated() {
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

    /// The test uses a link to the device, so that a bug could rename only the link.
    #[test]
    fn a_device_is_not_rotated() {
        let directory = TempDir::new().unwrap();
        symlink("/dev/null", directory.path().join("events.jsonl")).unwrap();
        let mut run = Run::with(directory);
        assert_eq!(warnings(|| run.write(4)), [""; 0]);
        assert_eq!(fs::read_link(run.path()).unwrap(), Path::new("/dev/null"));
        assert_eq!(run.count(), 1);
    }

    #[test]
    fn older_files_are_beside_the_target_of_a_link() {
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

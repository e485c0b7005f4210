//! The status socket, in a directory that only the user can access.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use status::{asking, socket_name};

/// Permission bits that the directory must not have: those of the group and of others.
const NOT_OURS_ALONE: u32 = 0o077;
/// Maximum number of sockets of killed interchanges that are removed at a time.
const SWEPT_MAX: usize = 64;
/// Suffix of a socket's name until the socket listens.
const UNSEEN_SUFFIX: &str = ".new";

/// A listening socket and its path, which is removed with it.
pub(super) struct StatusSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Opens the socket in the first directory that works. `add` registers the listener to be
    /// waited for. `before` is the pid of the broker that this one replaces.
    ///
    /// # Errors
    /// Why no directory works.
    pub(super) fn open(
        before: Option<u32>,
        mut add: impl FnMut(RawFd) -> io::Result<()>,
    ) -> Result<Self, NoStatusSocket> {
        let uid = rustix::process::getuid().as_raw();
        let mut refused = Vec::new();
        for directory in asking::directories(uid) {
            let opened = Self::open_in(&directory, uid, before).and_then(|socket| {
                add(socket.listener.as_raw_fd())?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => return Ok(socket),
                Err(error) => refused.push((directory, error)),
            }
        }
        Err(NoStatusSocket(refused))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open_in(directory: &Path, uid: u32, before: Option<u32>) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(directory)?;
        if !found.is_dir() || found.uid() != uid || found.mode() & NOT_OURS_ALONE != 0 {
            return Err(io::Error::other(
                "it must be a directory of this user with mode 0700",
            ));
        }
        sweep(directory, before);
        let name = socket_name::new(std::process::id(), rand::random());
        let path = directory.join(&name);
        // Between bind() and listen() the socket looks deserted, so during that time it has a name
        // that no other process looks at.
        let unseen = directory.join(name + UNSEEN_SUFFIX);
        let listener = UnixListener::bind(&unseen)?;
        let seen = listener
            .set_nonblocking(true)
            .and_then(|()| fs::rename(&unseen, &path));
        if let Err(error) = seen {
            let _ = fs::remove_file(&unseen);
            return Err(error);
        }
        Ok(Self { listener, path })
    }
}

/// Each directory that was tried, and why it does not work.
#[derive(Debug)]
pub struct NoStatusSocket(Vec<(PathBuf, io::Error)>);

impl fmt::Display for NoStatusSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (directory, error)) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { "; " };
            write!(f, "{before}{}: {error}", directory.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for NoStatusSocket {}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the status socket of a process that was killed and that no other broker replaces.
pub fn remove_status_socket_of(process: u32) {
    for directory in asking::directories(rustix::process::getuid().as_raw()) {
        sweep(&directory, Some(process));
    }
}

/// Removes the sockets of killed interchanges: sockets without a listener, of processes that would
/// be visible from here. The socket of `before` is always among them, however many there are.
fn sweep(directory: &Path, before: Option<u32>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let sockets = entries.flatten().filter(|entry| {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        is_socket && socket_name::is_of_here(&entry.path())
    });
    let mut left_behind = 0;
    for path in sockets.map(|entry| entry.path()) {
        let is_before = before.is_some() && socket_name::pid_in(&path) == before;
        let is_swept = is_before || (left_behind < SWEPT_MAX && socket_name::is_left_behind(&path));
        left_behind += usize::from(is_swept && !is_before);
        if is_swept && is_deserted(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether no process listens there. Does not wait: a listening process may be stopped.
fn is_deserted(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let (Ok(socket), Ok(address)) = (socket, SocketAddrUnix::new(path)) else {
        return false;
    };
    connect(&socket, &address) == Err(Errno::CONNREFUSED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn status_socket_needs_a_private_directory() {
        let parent = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let directory = parent.path().join("sockets");
        let socket = StatusSocket::open_in(&directory, uid, None).unwrap();
        let mode = fs::metadata(&directory).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = socket.path().to_owned();
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());

        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(StatusSocket::open_in(&directory, uid, None).is_err());
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(StatusSocket::open_in(&directory, uid + 1, None).is_err());
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        assert!(StatusSocket::open_in(&link, uid, None).is_err());
    }

    #[test]
    fn sockets_of_killed_processes_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let dead = directory.path().join(socket_name::new(u32::MAX, 1));
        drop(UnixListener::bind(&dead).unwrap());
        // Without a listener, as a socket appears through another mount of its file system.
        let deaf = directory
            .path()
            .join(socket_name::new(std::process::id(), 1));
        drop(UnixListener::bind(&deaf).unwrap());
        let alive = directory.path().join(socket_name::new(u32::MAX, 2));
        let listener = UnixListener::bind(&alive).unwrap();
        // The listener's queue is full of connections that are never accepted.
        let waiting: Vec<_> = std::iter::repeat_with(|| knock(&alive))
            .take_while(Result::is_ok)
            .collect();
        assert!(!waiting.is_empty());
        let file = directory.path().join(socket_name::new(u32::MAX, 3));
        fs::write(&file, "").unwrap();
        let uid = rustix::process::getuid().as_raw();
        let socket = StatusSocket::open_in(directory.path(), uid, None).unwrap();
        assert!(!dead.exists());
        assert!(alive.exists() && file.exists() && deaf.exists());
        drop((socket, listener, waiting));
    }

    /// There are more of these sockets than are removed at a time, so they must not block the
    /// removal of others.
    #[test]
    fn sockets_of_other_machines_or_boots_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut others = Vec::new();
        for number in 0..=SWEPT_MAX {
            // A name without a boot id, as in earlier releases, and a name with another boot's id.
            for name in [
                format!("{number}-0badf00d.sock"),
                format!("{number}-0123456789ab-0badf00d.sock"),
            ] {
                let other = directory.path().join(name);
                drop(UnixListener::bind(&other).unwrap());
                others.push(other);
            }
        }
        let dead = directory.path().join(socket_name::new(u32::MAX, 1));
        drop(UnixListener::bind(&dead).unwrap());
        let uid = rustix::process::getuid().as_raw();
        drop(StatusSocket::open_in(directory.path(), uid, None).unwrap());
        assert!(!dead.exists());
        assert_eq!(others.iter().find(|other| !other.exists()), None);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            others.len()
        );
    }

    /// The pid of the previous broker may have passed to another process: in this test, to this
    /// process.
    #[test]
    fn socket_of_the_previous_broker_is_removed_at_once() {
        let directory = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let process = std::process::id();
        for number in 0..=SWEPT_MAX {
            let other = socket_name::new(u32::MAX, number as u32);
            drop(UnixListener::bind(directory.path().join(other)).unwrap());
        }
        let [before, alive] = [1, 2].map(|random| {
            let name = socket_name::new(process, random);
            directory.path().join(name)
        });
        drop(UnixListener::bind(&before).unwrap());
        let _listener = UnixListener::bind(&alive).unwrap();
        let uid = rustix::process::getuid().as_raw();
        drop(StatusSocket::open_in(directory.path(), uid, None).unwrap());
        assert!(before.exists());
        drop(StatusSocket::open_in(directory.path(), uid, Some(process)).unwrap());
        assert!(!before.exists() && alive.exists());
    }

    /// Connects without waiting.
    fn knock(path: &Path) -> rustix::io::Result<rustix::fd::OwnedFd> {
        let flags = SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    }
}

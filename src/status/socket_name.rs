//! The name of a status socket: `PID-BOOT-NAMESPACE-RANDOM.sock`.
//!
//! Several machines may share the directory, for example a home directory on a file server. A
//! process on another machine cannot connect to the socket, although its interchange is alive.
//! Containers of one machine share its boot, but not its process ids. If one file system is mounted
//! twice, each name appears as two sockets, and no process listens on one of them.
//!
//! Therefore the name contains the boot of the machine and the namespace of the process id. A
//! socket counts as abandoned only if this process could see the socket's process and that process
//! does not exist.

use std::fs;
use std::path::Path;

use super::asking::SOCKET_SUFFIX;

/// Number of hexadecimal digits of the boot id.
const BOOT_DIGITS: usize = 12;
const RANDOM_DIGITS: usize = 8;

/// Returns a socket name for a process of this machine. Processes of two containers may have the
/// same id, so the name contains a random part.
pub fn new(pid: u32, random: u32) -> String {
    name(pid, Origin::here().as_ref(), random)
}

/// Whether the socket was named in this boot and this namespace. If so, the process id in the name
/// is valid for this process.
pub fn is_of_here(socket: &Path) -> bool {
    Origin::here().is_some_and(|here| Origin::in_name(socket) == Some(here))
}

/// Whether the socket's process would be visible from this process and does not exist.
pub fn is_left_behind(socket: &Path) -> bool {
    let is_there = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    is_of_here(socket) && pid_in(socket).is_some_and(|pid| !is_there(pid))
}

/// Returns the id of the socket's process, whichever machine it runs on.
pub fn pid_in(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_string_lossy();
    name.split('-').next()?.parse().ok()
}

/// Returns a name. Without an origin, the name does not identify the machine.
fn name(pid: u32, origin: Option<&Origin>, random: u32) -> String {
    match origin {
        Some(Origin { boot, namespace }) => {
            format!("{pid}-{boot}-{namespace}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}")
        }
        None => format!("{pid}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}"),
    }
}

/// The scope in which a process id is unique.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    boot: String,
    namespace: String,
}

impl Origin {
    /// Returns the origin of this process. The kernel generates a new id at each boot, and each
    /// namespace has a number.
    fn here() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Self {
            boot: boot_in(&boot)?,
            namespace: namespace_in(&namespace.to_string_lossy())?,
        })
    }

    fn in_name(socket: &Path) -> Option<Self> {
        let name = socket.file_name()?.to_str()?.strip_suffix(SOCKET_SUFFIX)?;
        let parts: Vec<&str> = name.split('-').collect();
        let [_, boot, namespace, _] = parts[..] else {
            return None;
        };
        Some(Self {
            boot: boot.to_owned(),
            namespace: namespace.to_owned(),
        })
    }
}

fn boot_in(text: &str) -> Option<String> {
    let digits = text.chars().filter(char::is_ascii_hexdigit);
    let boot: String = digits.take(BOOT_DIGITS).collect();
    (boot.len() == BOOT_DIGITS).then_some(boot)
}

/// Reads the number of a link such as `pid:[4026531836]`.
fn namespace_in(link: &str) -> Option<String> {
    let number = link.strip_prefix("pid:[")?.strip_suffix(']')?;
    let number: u64 = number.parse().ok()?;
    Some(format!("{number:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_sockets_are_recognised_by_name() {
        let boot = boot_in("7d2cf6ef-94a6-4a3c-8cf6-0f5d1f4e7b1a\n").unwrap();
        assert_eq!(boot, "7d2cf6ef94a6");
        let namespace = namespace_in("pid:[4026531836]").unwrap();
        let here = Origin { boot, namespace };
        let ours = name(4711, Some(&here), 7);
        assert_eq!(ours, "4711-7d2cf6ef94a6-effffffc-00000007.sock");
        let of_here = |name: &str| Origin::in_name(Path::new(name)).is_some_and(|it| it == here);
        assert!(of_here(&format!("/tmp/{ours}")));
        for other in [
            // From an earlier boot or another machine.
            "4711-7d2cf6ef94a7-effffffc-00000007.sock",
            // From another container.
            "4711-7d2cf6ef94a6-effffffd-00000007.sock",
            "4711-7d2cf6ef94a6-00000007.sock",
            "4711-00000007.sock",
            "4711-7d2cf6ef94a6-effffffc-00000007",
            "7d2cf6ef94a6.sock",
        ] {
            assert!(!of_here(other), "{other}");
        }
        assert_eq!((boot_in(""), namespace_in("pid:[x]")), (None, None));
        assert_eq!(name(4711, None, 7), "4711-00000007.sock");
    }

    #[test]
    fn a_new_socket_is_local_and_abandoned_once_its_process_ends() {
        let own = new(std::process::id(), 7);
        assert!(is_of_here(Path::new(&own)), "{own}");
        assert!(!is_left_behind(Path::new(&own)));
        let dead = new(u32::MAX, 7);
        assert_eq!(pid_in(Path::new(&dead)), Some(u32::MAX));
        assert!(is_left_behind(Path::new(&dead)));
    }
}

//! What a status socket is called: `PID-BOOT-NAMESPACE-RANDOM.sock`.
//!
//! Of its directory several machines may have a share (a home on a file server, say), and whoever
//! looks from another machine finds nobody listening, however alive its interchange is. Containers
//! of one machine share its boot, not its process numbers. And one file system that is mounted
//! twice has two sockets of each name, at one of which nobody listens. So a name tells the boot of
//! the machine and the namespace of the number, and a socket is left behind only if its process
//! could be seen from here, and is not there.

use std::fs;
use std::path::Path;

use super::asking::SOCKET_SUFFIX;

/// Of a boot's name, in hexadecimal digits.
const BOOT_DIGITS: usize = 12;
const RANDOM_DIGITS: usize = 8;

/// What the socket of a process of this machine is called. Processes of two containers may have
/// one number, so there is something random in it.
pub fn new(pid: u32, random: u32) -> String {
    name(pid, Origin::here().as_ref(), random)
}

/// Whether a process of this boot and this namespace has given it this name: the number in it is
/// one that can be looked for here.
pub fn is_of_here(socket: &Path) -> bool {
    Origin::here().is_some_and(|here| Origin::in_name(socket) == Some(here))
}

/// Whether its process would be seen from here, and is not there.
pub fn is_left_behind(socket: &Path) -> bool {
    let is_there = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    is_of_here(socket) && pid_in(socket).is_some_and(|pid| !is_there(pid))
}

/// Of the process that the socket is of, on whatever machine.
pub fn pid_in(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_string_lossy();
    name.split('-').next()?.parse().ok()
}

/// Without an origin it is a name that nobody knows the machine of.
fn name(pid: u32, origin: Option<&Origin>, random: u32) -> String {
    match origin {
        Some(Origin { boot, namespace }) => {
            format!("{pid}-{boot}-{namespace}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}")
        }
        None => format!("{pid}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}"),
    }
}

/// Where a process number means something.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    boot: String,
    namespace: String,
}

impl Origin {
    /// The kernel gives itself another name at each boot, and each namespace a number.
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

/// `pid:[4026531836]`
fn namespace_in(link: &str) -> Option<String> {
    let number = link.strip_prefix("pid:[")?.strip_suffix(']')?;
    let number: u64 = number.parse().ok()?;
    Some(format!("{number:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_here_is_known_by_its_name() {
        let boot = boot_in("7d2cf6ef-94a6-4a3c-8cf6-0f5d1f4e7b1a\n").unwrap();
        assert_eq!(boot, "7d2cf6ef94a6");
        let namespace = namespace_in("pid:[4026531836]").unwrap();
        let here = Origin { boot, namespace };
        let ours = name(4711, Some(&here), 7);
        assert_eq!(ours, "4711-7d2cf6ef94a6-effffffc-00000007.sock");
        let of_here = |name: &str| Origin::in_name(Path::new(name)).is_some_and(|it| it == here);
        assert!(of_here(&format!("/tmp/{ours}")));
        for other in [
            // Before the last boot, or of another machine.
            "4711-7d2cf6ef94a7-effffffc-00000007.sock",
            // Of another container.
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
    fn what_is_new_is_of_here_and_left_behind_once_its_process_has_gone() {
        let own = new(std::process::id(), 7);
        assert!(is_of_here(Path::new(&own)), "{own}");
        assert!(!is_left_behind(Path::new(&own)));
        let dead = new(u32::MAX, 7);
        assert_eq!(pid_in(Path::new(&dead)), Some(u32::MAX));
        assert!(is_left_behind(Path::new(&dead)));
    }
}

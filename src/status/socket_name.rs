//! What a status socket is called: `PID-BOOT-RANDOM.sock`.
//!
//! Of its directory several machines may have a share (a home on a file server, say), and whoever
//! looks from another machine finds nobody listening, however alive its interchange is. So a name
//! tells the boot of the machine, and only sockets of the same boot may be taken for deserted.

use std::fs;
use std::path::Path;

use super::asking::SOCKET_SUFFIX;

/// Of a boot's name, in hexadecimal digits.
const BOOT_DIGITS: usize = 12;
const RANDOM_DIGITS: usize = 8;

/// What the socket of a process of this machine is called. Processes of two containers may have
/// one number, so there is something random in it.
pub fn new(pid: u32, random: u32) -> String {
    name(pid, this_boot().as_deref(), random)
}

/// Whether it is a name that [`new`] gave since this machine was booted.
pub fn is_of_this_boot(socket: &Path) -> bool {
    this_boot().is_some_and(|boot| tells_boot(socket, &boot))
}

/// Of the process that the socket is of, on whatever machine.
pub fn pid_in(socket: &Path) -> Option<u32> {
    let name = socket.file_name()?.to_string_lossy();
    name.split('-').next()?.parse().ok()
}

/// Without a boot it is a name that nobody knows the machine of.
fn name(pid: u32, boot: Option<&str>, random: u32) -> String {
    match boot {
        Some(boot) => format!("{pid}-{boot}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}"),
        None => format!("{pid}-{random:0RANDOM_DIGITS$x}{SOCKET_SUFFIX}"),
    }
}

fn tells_boot(socket: &Path, boot: &str) -> bool {
    let name = socket.file_name().and_then(|name| name.to_str());
    let Some(name) = name.and_then(|name| name.strip_suffix(SOCKET_SUFFIX)) else {
        return false;
    };
    let parts: Vec<&str> = name.split('-').collect();
    matches!(parts[..], [_, told, _] if told == boot)
}

/// The kernel gives itself another name at each boot.
fn this_boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    boot_in(&text)
}

fn boot_in(text: &str) -> Option<String> {
    let digits = text.chars().filter(char::is_ascii_hexdigit);
    let boot: String = digits.take(BOOT_DIGITS).collect();
    (boot.len() == BOOT_DIGITS).then_some(boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_boot_is_known_by_its_name() {
        let boot = boot_in("7d2cf6ef-94a6-4a3c-8cf6-0f5d1f4e7b1a\n").unwrap();
        assert_eq!(boot, "7d2cf6ef94a6");
        let ours = name(4711, Some(&boot), 7);
        assert_eq!(ours, "4711-7d2cf6ef94a6-00000007.sock");
        assert!(tells_boot(Path::new("/tmp").join(&ours).as_path(), &boot));
        for other in [
            // Before the last boot, or of another machine.
            "4711-7d2cf6ef94a7-00000007.sock",
            // As releases named them that told no boot.
            "4711-00000007.sock",
            "4711-7d2cf6ef94a6.sock",
            "4711-7d2cf6ef94a6-00000007",
            "7d2cf6ef94a6.sock",
        ] {
            assert!(!tells_boot(Path::new(other), &boot), "{other}");
        }
        assert_eq!(boot_in(""), None);
        assert_eq!(name(4711, None, 7), "4711-00000007.sock");
    }

    #[test]
    fn what_is_new_is_ours() {
        let socket = new(4711, 7);
        assert!(is_of_this_boot(Path::new(&socket)), "{socket}");
        assert_eq!(pid_in(Path::new(&socket)), Some(4711));
    }
}

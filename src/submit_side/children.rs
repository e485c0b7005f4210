//! What child processes get of us: descriptors 0 to 2, and nothing else.

use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Marks every descriptor above 2 as close-on-exec. libzmq's epoll descriptors are not; the mark
/// changes nothing for whoever holds them.
pub fn keep_descriptors_to_ourselves() {
    let entries = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else {
            continue;
        };
        if number > 2 {
            // SAFETY: the descriptor is only borrowed for a call that changes a flag which nobody
            // relies on; if another thread closes it first, the call fails.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
}

//! Child processes inherit descriptors 0 to 2 from this program, and no others.

use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Marks every descriptor above 2 as close-on-exec. libzmq opens its epoll descriptors without this
/// mark. The mark has no effect on other uses of a descriptor.
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
            // SAFETY: the descriptor is only borrowed for a call that changes a flag which no other
            // code relies on; if another thread closes it first, the call fails.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
}

//! Calls of the system that no crate here has.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, RawFd};
use std::{io, ptr};

/// From now on the kernel drops whatever comes to a listening socket. Connections that it has
/// accepted are not touched.
pub(super) fn drop_all_that_comes(listener: RawFd) -> io::Result<()> {
    /// "Let pass no byte": the whole filter.
    const RETURN_NOTHING: libc::sock_filter = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut filter = RETURN_NOTHING;
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut filter,
    };
    set_listener_option(listener, libc::SO_ATTACH_FILTER, &program)
}

/// Ends [`drop_all_that_comes`].
pub(super) fn let_come_again(listener: RawFd) -> io::Result<()> {
    let unused: c_int = 0;
    set_listener_option(listener, libc::SO_DETACH_FILTER, &unused)
}

/// Whose process is at the other end of a Unix socket. `rustix` knows none of a process that has no
/// number here, as one outside of our container.
pub(super) fn peer_uid(stream: RawFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the value has room for as many bytes as are told, and any bytes are one.
    let status = unsafe {
        libc::getsockopt(
            stream,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast::<c_void>(),
            &raw mut bytes,
        )
    };
    match status {
        0 => Ok(peer.uid),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_listener_option<T>(listener: RawFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value has the size that is told, and the kernel copies it before it returns. A
    // descriptor that is no socket gives an error.
    let status = unsafe {
        libc::setsockopt(
            listener,
            libc::SOL_SOCKET,
            option,
            ptr::from_ref(value).cast::<c_void>(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match status {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives freed memory back to the system, as far as whole pages of it are free.
pub(super) fn trim_heap() {
    // SAFETY: it has no preconditions. Other threads wait for their part of the heap meanwhile.
    unsafe { libc::malloc_trim(0) };
}

/// A part of the heap that was free.
pub(super) struct TakenBlock {
    start: *mut u8,
    layout: Layout,
}

impl TakenBlock {
    /// None if there is no memory.
    pub(super) fn take(bytes: usize) -> Option<Self> {
        let layout = Layout::array::<u8>(bytes).ok()?;
        // SAFETY: the layout is checked to have a size.
        let start = (bytes > 0).then(|| unsafe { alloc(layout) })?;
        (!start.is_null()).then_some(Self { start, layout })
    }

    /// Its whole pages are the system's again, until somebody writes to them. False if none of them
    /// was in memory.
    pub(super) fn give_pages_back(&mut self) -> bool {
        let page = page_bytes();
        let skipped = self.start.align_offset(page);
        let pages = self.layout.size().saturating_sub(skipped) / page;
        if pages == 0 {
            return false;
        }
        let begin = self.start.wrapping_add(skipped).cast::<c_void>();
        let mut in_memory = vec![0_u8; pages];
        // SAFETY: these pages lie within the block, which nobody else uses and nothing was written
        // to; there is a byte for each of them.
        unsafe {
            let asked = libc::mincore(begin, pages * page, in_memory.as_mut_ptr());
            if asked == 0 && in_memory.iter().all(|page| page & 1 == 0) {
                return false;
            }
            libc::madvise(begin, pages * page, libc::MADV_DONTNEED) == 0
        }
    }
}

impl Drop for TakenBlock {
    fn drop(&mut self) {
        // SAFETY: this is what `take` was given, by the same layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

pub(super) fn page_bytes() -> usize {
    // SAFETY: it has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// For a call that takes a descriptor with its lifetime.
pub(super) fn lent<'a>(descriptor: RawFd) -> BorrowedFd<'a> {
    // SAFETY: each descriptor belongs to a socket or file that the loop holds, and lives longer
    // than the call or the poll that it is lent to.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

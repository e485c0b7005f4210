//! System calls that no crate in use wraps.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::os::fd::{BorrowedFd, RawFd};
use std::{io, ptr};

/// Makes the kernel drop all packets that arrive at a listening socket. Connections that the kernel
/// has already accepted are not touched.
pub(super) fn drop_all_that_comes(listener: RawFd) -> io::Result<()> {
    /// The whole filter: "return 0 bytes".
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

/// Ends the effect of [`drop_all_that_comes`].
pub(super) fn let_come_again(listener: RawFd) -> io::Result<()> {
    let unused: c_int = 0;
    set_listener_option(listener, libc::SO_DETACH_FILTER, &unused)
}

/// Returns the user id of the process at the other end of a Unix socket. `rustix` fails for a
/// process that has no pid in this namespace, such as one outside of this container.
pub(super) fn peer_uid(stream: RawFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the value has room for the number of bytes that is passed, and any bytes form a valid
    // value.
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
    // SAFETY: the value has the size that is passed, and the kernel copies it before it returns. A
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

/// Releases freed memory to the system, as far as whole pages are free. musl does so by itself
/// whenever memory is freed.
pub(super) fn trim_heap() {
    // SAFETY: the call has no preconditions. Other threads wait for their part of the heap
    // meanwhile.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A block that was taken from the free part of the heap.
pub(super) struct TakenBlock {
    start: *mut u8,
    layout: Layout,
}

impl TakenBlock {
    /// Allocates a block. None if there is no memory.
    pub(super) fn take(bytes: usize) -> Option<Self> {
        let layout = Layout::array::<u8>(bytes).ok()?;
        // SAFETY: the layout has a size greater than zero.
        let start = (bytes > 0).then(|| unsafe { alloc(layout) })?;
        (!start.is_null()).then_some(Self { start, layout })
    }

    /// Releases the block's whole pages to the system, until something is written to them. Returns
    /// false if none of them was in memory.
    pub(super) fn give_pages_back(&mut self) -> bool {
        let page = page_bytes();
        let skipped = self.start.align_offset(page);
        let pages = self.layout.size().saturating_sub(skipped) / page;
        if pages == 0 {
            return false;
        }
        let begin = self.start.wrapping_add(skipped).cast::<c_void>();
        let mut in_memory = vec![0_u8; pages];
        // SAFETY: these pages lie within the block, which nothing else uses and nothing was written
        // to; `in_memory` has a byte for each page.
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
        // SAFETY: `take` allocated this block, with the same layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

pub(super) fn page_bytes() -> usize {
    // SAFETY: the call has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Returns the descriptor in the form of calls that take a descriptor with a lifetime.
pub(super) fn lent<'a>(descriptor: RawFd) -> BorrowedFd<'a> {
    // SAFETY: each descriptor belongs to a socket or file that the loop owns, which lives longer
    // than the call or the poll that uses the descriptor.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

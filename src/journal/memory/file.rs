//! The kernel's memory: a file without a name (memfd).

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::off_t;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::segment::UNIT_BYTES;
use crate::{Refused, stores};

use super::WINDOW_BYTES;

const NAME: &std::ffi::CStr = c"htex-interchange-journal";

/// Makes the file and checks that it can be grown and shrunk.
pub(super) fn create() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC;
    // Linux knows NOEXEC_SEAL since 6.3; administrators may make it mandatory.
    let file = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => memfd_create(NAME, flags),
        outcome => outcome,
    }?;
    let file = File::from(file);
    take(&file, 0, UNIT_BYTES).map_err(|Refused(errno)| errno)?;
    give_back(&file, 0, UNIT_BYTES)?;
    Ok(file)
}

/// Reads bytes; behind the end they are zero.
pub(super) fn read(file: &File, place: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], place + done as u64)? {
            0 => break,
            length => done += length,
        }
    }
    into[done..].fill(0);
    Ok(())
}

#[cfg(test)]
pub(super) fn taken_bytes(file: &File) -> usize {
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    blocks as usize * 512
}

/// Allocates pages. Writing to a page that is not allocated would kill the process if the system
/// has no memory.
pub(super) fn take(file: &File, place: u64, length: usize) -> Result<(), Refused> {
    stores::may_go_on();
    let end = place + length as u64;
    // Beyond this limit the kernel does not only refuse: it sends a signal that ends the process.
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE).map_err(Refused)?;
    if end > most {
        return Err(Refused(Errno::EFBIG));
    }
    allocate(file, FallocateFlags::empty(), place, length).map_err(Refused)
}

pub(super) fn give_back(file: &File, place: u64, length: usize) -> io::Result<()> {
    if !stores::may_go_on() {
        return Ok(());
    }
    let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(allocate(file, how, place, length)?)
}

pub(super) fn map(file: &File, first: usize, count: usize) -> io::Result<NonNull<u8>> {
    let length = NonZeroUsize::new(count.saturating_mul(WINDOW_BYTES));
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let may = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let from = (first * WINDOW_BYTES) as off_t;
    // SAFETY: the kernel chooses the address, so the mapping touches no existing one.
    let memory = unsafe { mmap(None, length, may, MapFlags::MAP_SHARED, file, from) }?;
    Ok(memory.cast())
}

/// Asks the kernel to fault the pages in. Has no effect before Linux 5.14.
pub(super) fn expect_writes(base: NonNull<u8>, length: usize) {
    // SAFETY: no byte is changed, and an unmapped range is an error.
    let _ = unsafe { madvise(base.cast(), length, MmapAdvise::MADV_POPULATE_WRITE) };
}

/// # Safety
/// No code borrows from the mapping.
pub(super) unsafe fn unmap(base: NonNull<u8>, windows: usize) {
    let base: NonNull<c_void> = base.cast();
    // SAFETY: the caller's promise.
    let _ = unsafe { munmap(base, windows * WINDOW_BYTES) };
}

fn allocate(file: &File, how: FallocateFlags, place: u64, length: usize) -> nix::Result<()> {
    loop {
        let outcome = fallocate(file, how, place as off_t, length as off_t);
        // EINTR comes from a signal of no interest here, such as a profiler's.
        if outcome != Err(Errno::EINTR) {
            return outcome;
        }
    }
}

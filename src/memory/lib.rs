//! The allocator of the programs of this project, and the thread that gives freed memory back to the system.
//!
//! By itself the allocator gives freed memory back inside some allocation, a second or more after it was freed: a worker
//! that had let go of batches of a million rows stood for 25 to 40 ms in the middle of whatever came next, and so did
//! every view on it (ADR 19).
//!
//! Invariant: this is the only place of the project with unsafe code.

pub use mimalloc::MiMalloc;

use std::ffi::c_long;
use std::io;
use std::thread;
use std::time::Duration;

/// How long freed memory is kept for what is allocated next.
const KEPT: Duration = Duration::from_secs(1);
/// The number of mimalloc's option `purge_delay`, in milliseconds (`mi_option_e` in its `mimalloc.h`, the same in 2.x and
/// 3.x).
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Longer than [`KEPT`] by far, so that no other thread is the one that gives memory back. (A negative delay would be
/// never: nothing would be noted as free to give back.)
const NOT_BY_OTHERS_MS: c_long = 24 * 3600 * 1000;

/// Freed memory goes back to the system about a second later, from a thread that nothing waits for. To be called once,
/// before other threads are started, by a program whose allocator is [`MiMalloc`]. `MIMALLOC_PURGE_DELAY` in the
/// environment goes before: where it is negative, no memory is given back.
///
/// # Errors
/// The thread cannot be started: then memory is given back as the allocator does by itself.
pub fn give_back_in_background() -> io::Result<()> {
    let by_itself = purge_delay();
    set_purge_delay(NOT_BY_OTHERS_MS);
    let begun = thread::Builder::new().name("memory".into()).spawn(|| {
        loop {
            thread::sleep(KEPT);
            collect();
        }
    });
    begun.map(drop).inspect_err(|_| set_purge_delay(by_itself))
}

#[allow(unsafe_code)]
fn purge_delay() -> c_long {
    // SAFETY: the option exists (mimalloc checks the number against its own list). No pointer is passed or returned.
    unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
}

#[allow(unsafe_code)]
fn set_purge_delay(ms: c_long) {
    // SAFETY: the option exists (mimalloc checks the number against its own list), and takes any value. It is a plain word that other
    // threads read when they free memory: the caller has started none yet, or only one that failed. No pointer is passed or returned.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, ms) }
}

#[allow(unsafe_code)]
fn collect() {
    // SAFETY: it may be called by any thread at any time: it frees pages of the calling thread's own heap that are empty, and
    // gives back ranges of the arenas that no heap uses, each of which it claims first as an allocation would. No
    // pointer is passed or returned.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

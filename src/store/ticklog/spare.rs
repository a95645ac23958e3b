//! The next segment's file, made while the present one is written to.
//!
//! A log that extends its file in the path of a commit waits for the file system's journal, and with it for whatever
//! else the disk has to write. So the zeros are written ahead, on a thread of its own, in small durable steps.
//!
//! Invariant: the file has a temporary name, which the start of a server removes, until it becomes a segment.

use crate::files::{FileHandle, FileSystem};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

/// Bytes between two syncs, and how long the disk is left to others after each.
const STEP_BYTES: u64 = 256 << 10;
const STEP_PAUSE: Duration = Duration::from_millis(10);
const NAME: &str = "next.seg.tmp";

/// A file of durable zeros.
#[derive(Debug)]
pub(super) struct Prepared {
    pub file: Box<dyn FileHandle>,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Ends the thread that makes a file nobody waits for any more.
#[derive(Debug)]
pub(super) struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether there is a next file.
#[derive(Debug, Default)]
pub(super) enum Spare {
    #[default]
    None,
    Coming(Receiver<io::Result<Prepared>>, StopOnDrop),
    Ready(Prepared),
    /// It could not be made: the log extends its file instead, which reports what is wrong.
    Failed,
}

impl Spare {
    /// Begins to make a file of `bytes`, where none is there or under way.
    pub(super) fn want(&mut self, fs: &dyn FileSystem, dir: &Path, bytes: u64) {
        if !matches!(self, Spare::None) {
            return;
        }
        let path = dir.join(NAME);
        // Created here, not on the thread: it can never empty the file of a server that starts after this one.
        *self = match fs.create(&path) {
            Ok(file) => Self::start(Prepared { file, path, bytes }),
            Err(e) => Self::failed(&e),
        };
    }

    fn start(mut prepared: Prepared) -> Spare {
        let (to, from) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            let filled = match fill(&mut prepared, &stopped) {
                Ok(()) => Ok(prepared),
                Err(e) => {
                    // Closed before anybody hears of it, so that its room is free then.
                    drop(prepared);
                    Err(e)
                }
            };
            let _ = to.send(filled);
        };
        match std::thread::Builder::new().name("tick-log-next".into()).spawn(work) {
            Ok(_) => Spare::Coming(from, StopOnDrop(stop)),
            Err(e) => Self::failed(&e),
        }
    }

    fn failed(e: &io::Error) -> Spare {
        tracing::debug!(error = %e, "the next file of the tick log could not be made ahead");
        Spare::Failed
    }

    /// True where the file is there.
    pub(super) fn is_ready(&mut self) -> bool {
        if let Spare::Coming(from, _) = self {
            match from.try_recv() {
                Ok(Ok(prepared)) => *self = Spare::Ready(prepared),
                Ok(Err(e)) => *self = Self::failed(&e),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => *self = Spare::Failed,
            }
        }
        matches!(self, Spare::Ready(_))
    }

    /// The file, where it is there; the next one may be wanted afterwards.
    pub(super) fn take(&mut self) -> Option<Prepared> {
        match std::mem::take(self) {
            Spare::Ready(prepared) => Some(prepared),
            coming @ Spare::Coming(..) => {
                *self = coming;
                None
            }
            Spare::None | Spare::Failed => None,
        }
    }
}

impl Spare {
    /// Gives the room of the file back; true where there may have been some.
    pub(super) fn discard(&mut self, fs: &dyn FileSystem, dir: &Path) -> bool {
        match std::mem::replace(self, Spare::Failed) {
            Spare::None => return false,
            Spare::Coming(from, stop) => {
                drop(stop);
                let _ = from.recv();
            }
            Spare::Ready(_) | Spare::Failed => {}
        }
        let removed = fs.remove(&dir.join(NAME));
        removed.is_ok()
    }
}

fn fill(prepared: &mut Prepared, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0u8; STEP_BYTES.min(prepared.bytes) as usize];
    let mut at = 0;
    while at < prepared.bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the log was closed"));
        }
        let n = (prepared.bytes - at).min(STEP_BYTES);
        prepared.file.write_at(&zeros[..n as usize], at)?;
        prepared.file.sync()?;
        at += n;
        std::thread::sleep(STEP_PAUSE);
    }
    Ok(())
}

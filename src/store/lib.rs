//! What the server keeps on disk outside the catalog: the data directory, its lock, the tick log and checkpoints.
//!
//! Owns every file format of the tick log and of checkpoints, and the one small seam through which all files are touched
//! ([`files::FileSystem`], so that a fault-injecting twin can stand in). Deliberately knows nothing of what a tick
//! means: catalog changes are opaque bytes here, table writes are Arrow batches, positions are numbers.
//!
//! Invariants: nothing is acknowledged before its bytes were synced; after a failed sync nothing more is
//! acknowledged at all; a file of an unknown format version is refused, never guessed at.

pub mod aside;
pub mod checkpoint;
pub mod data_dir;
pub mod files;
pub mod log_writer;
pub mod record;
pub mod ticklog;
pub mod verify;

pub use aside::Aside;
pub use checkpoint::{Checkpoints, Manifest, SavedPartition, SavedRange};
pub use data_dir::DataDir;
pub use files::{FileHandle, FileSystem, RealFileSystem};
pub use log_writer::{LogWriter, OnDurable};
pub use record::{DeadLetterRow, SourcePosition, TableWrite, TickRecord};
pub use ticklog::{AppendToken, Recovered, Replay, TickLog};

//! Where a repair keeps what it replaces: `repaired-<ms since 1970>/` of the data directory, with the same names below.
//! Nothing ever removes it but its owner.

use crate::DataDir;
use crate::files::{FileSystem, file_error, write_atomically};
use hw_repr::SqlError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of its own for one repair.
#[derive(Debug)]
pub struct Aside {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    path: PathBuf,
}

impl Aside {
    /// Makes one, named after `now`, or the first free number after it.
    pub fn create(dir: &DataDir, now: u64) -> Result<Aside, SqlError> {
        let (fs, root) = (Arc::clone(dir.file_system()), dir.path().to_path_buf());
        let there = fs.list(&root).map_err(|e| file_error("read", &root, &e))?;
        let mut number = now;
        while there.contains(&format!("repaired-{number}")) {
            number += 1;
        }
        let path = dir.subdirectory(&format!("repaired-{number}"))?;
        Ok(Aside { fs, root, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a file of the data directory: it stays where it is, and has a second name here, durably.
    pub fn keep(&self, file: &Path) -> Result<(), SqlError> {
        let below = file
            .strip_prefix(&self.root)
            .map_err(|_| SqlError::internal(format!("\"{}\" is not in the data directory", file.display())))?;
        let target = self.path.join(below);
        let mut made = self.path.clone();
        for part in below.parent().into_iter().flat_map(Path::components) {
            let parent = made.clone();
            made.push(part);
            self.fs.create_dir(&made).map_err(|e| file_error("create", &made, &e))?;
            self.fs.sync_dir(&parent).map_err(|e| file_error("sync", &parent, &e))?;
        }
        self.fs.link(file, &target).map_err(|e| file_error("keep", file, &e))?;
        self.fs.sync_dir(&made).map_err(|e| file_error("sync", &made, &e))
    }

    /// Writes down what is being done, and why.
    pub fn note(&self, text: &str) -> Result<(), SqlError> {
        write_atomically(self.fs.as_ref(), &self.path, "REPORT", text.as_bytes())
    }
}

//! What the catalog's files are on: given by whoever opens it, so that it shares the server's one seam to files.
//!
//! Owns the trait, and the names of the files in `catalog/` of the data directory: the store `sled/` and its dump.

use crate::meta::{self, Entries, MetaStore};
use hw_repr::SqlError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens the catalog's store and keeps its dump.
pub trait CatalogFiles: Send + Sync {
    /// Opens the store of this path, or makes it. `XX001` where it is damaged.
    fn open_store(&self, path: &Path) -> Result<Box<dyn MetaStore>, SqlError>;
    /// Puts a store that cannot be used out of the way; where it is now.
    fn set_aside(&self, path: &Path) -> Result<PathBuf, SqlError>;
    /// All bytes of a file; `None` where there is none.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SqlError>;
    /// Makes these the bytes of a file, durably and as a whole or not at all.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), SqlError>;
}

/// Where the store is in the catalog's directory.
pub(crate) fn store_path(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Renames a store that is a directory to a free name beside it.
pub fn set_aside(path: &Path) -> Result<PathBuf, SqlError> {
    let aside =
        (1..).map(|n| path.with_extension(format!("damaged-{n}"))).find(|p| !p.exists()).expect("some number is free");
    if path.exists() {
        std::fs::rename(path, &aside).map_err(|e| meta::file_error("set aside", path, &e))?;
    }
    Ok(aside)
}

/// The plain file that has everything that the store had at the last checkpoint.
#[derive(Clone)]
pub struct Dump {
    files: Arc<dyn CatalogFiles>,
    path: PathBuf,
}

impl Dump {
    /// In the catalog's directory.
    pub fn new(files: Arc<dyn CatalogFiles>, dir: &Path) -> Dump {
        Dump { files, path: Self::path_in(dir) }
    }

    pub(crate) fn path_in(dir: &Path) -> PathBuf {
        dir.join("catalog.dump")
    }

    /// Its entries; `None` where there is no dump. `XX001` where it is damaged.
    pub fn read(&self) -> Result<Option<Entries>, SqlError> {
        self.files.read(&self.path)?.map(|bytes| meta::decode_dump(&bytes, &self.path)).transpose()
    }

    /// Replaces it by all that `store` has.
    pub fn write(&self, store: &dyn MetaStore) -> Result<(), SqlError> {
        self.files.replace(&self.path, &meta::encode_dump(store)?)
    }
}

/// Files as tests of this crate have them.
#[cfg(test)]
pub(crate) struct PlainFiles;

#[cfg(test)]
impl CatalogFiles for PlainFiles {
    fn open_store(&self, path: &Path) -> Result<Box<dyn MetaStore>, SqlError> {
        Ok(Box::new(crate::SledStore::open(path)?))
    }
    fn set_aside(&self, path: &Path) -> Result<PathBuf, SqlError> {
        set_aside(path)
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SqlError> {
        Ok(path.exists().then(|| std::fs::read(path).expect("read")))
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), SqlError> {
        std::fs::write(path, bytes).map_err(|e| meta::file_error("write", path, &e))
    }
}

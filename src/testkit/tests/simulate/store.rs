//! The catalog's files on the simulated disk.

use super::disk::{Disk, DiskFiles};
use hw_catalog::CatalogFiles;
use hw_catalog::meta::{Entries, MetaStore, Write1};
use hw_repr::{SqlError, SqlState};
use hw_store::files::{file_error, read_whole, replace_whole};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See the module.
pub struct DiskCatalog(pub Arc<Disk>);

struct DiskStore(Arc<Disk>);

fn failed(e: io::Error) -> SqlError {
    match e.kind() {
        ErrorKind::InvalidData => SqlError::new(SqlState::DATA_CORRUPTED, "the simulated store is damaged"),
        _ => file_error("use", Path::new("store"), &e),
    }
}

impl MetaStore for DiskStore {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError> {
        Ok(self.0.store().map_err(failed)?.remove(key))
    }
    fn scan(&self, prefix: &str) -> Result<Entries, SqlError> {
        let all = self.0.store().map_err(failed)?;
        Ok(all.into_iter().filter(|(k, _)| k.starts_with(prefix)).collect())
    }
    fn txn(&self, writes: &[Write1]) -> Result<(), SqlError> {
        self.0.store_apply(writes.to_vec()).map_err(failed)
    }
    fn sync(&self) -> Result<(), SqlError> {
        self.0.store_sync().map_err(failed)
    }
}

impl CatalogFiles for DiskCatalog {
    fn open_store(&self, _: &Path) -> Result<Box<dyn MetaStore>, SqlError> {
        self.0.store().map_err(failed)?;
        Ok(Box::new(DiskStore(self.0.clone())))
    }
    fn set_aside(&self, path: &Path) -> Result<PathBuf, SqlError> {
        self.0.store_set_aside();
        Ok(path.to_owned())
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SqlError> {
        read_whole(&DiskFiles(self.0.clone()), path)
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), SqlError> {
        replace_whole(&DiskFiles(self.0.clone()), path, bytes)
    }
}

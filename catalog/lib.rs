//! The catalog: objects, schemas, roles, settings, their ids and dependencies.
//!
//! Owns what is stored under `catalog/` of the data directory (see [`meta`]) and the immutable
//! [`CatalogSnapshot`] that planners read. It is applied *from* the tick log: [`Catalog::apply`] takes the changes of
//! one tick and stores them together with the tick's time, so that replaying a tick changes nothing.
//! Built-in relations are data: `catalog/builtin/*.sql`, see [`builtin`]. Deliberately knows nothing of threads,
//! sessions, the log's files or what a dataflow is.
//!
//! Invariants: ids are never reused; every id in `depends_on` exists; a snapshot never changes.

pub mod builtin;
pub mod change;
mod constraints;
mod facts;
pub mod files;
pub mod meta;
mod nested;
pub mod scram;
pub mod snapshot;
mod system_rows;
#[cfg(test)]
mod tests;

pub use change::CatalogChange;
pub use files::{CatalogFiles, Dump};
pub use meta::{MemoryStore, MetaStore, SledStore};
pub use scram::ScramVerifierData;
pub use snapshot::{CatalogSnapshot, Role, SchemaEntry};

use change::keys;
use hw_repr::{SqlError, SqlState};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The first OID of user objects.
pub const FIRST_USER_OID: u32 = 16384;
/// The name of the one database.
pub const DATABASE: &str = "headwater";
/// The superuser of a new data directory.
pub const SUPERUSER: &str = "headwater";
/// The version of what is stored.
const FORMAT: u32 = 1;

/// The open catalog. Shared by reference; `apply` and `next_oid` exclude each other.
pub struct Catalog {
    store: Box<dyn MetaStore>,
    dump: Option<Dump>,
    rebuilt: Option<String>,
    state: Mutex<State>,
}

struct State {
    snapshot: Arc<CatalogSnapshot>,
    last_applied: u64,
    next_oid: u32,
    digest: Digest,
}

/// A catalog as of the last tick that was applied to it, for reading.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// What it holds.
    pub snapshot: Arc<CatalogSnapshot>,
    /// The tick; 0 where none was applied.
    pub applied: u64,
}

impl From<State> for Stored {
    fn from(state: State) -> Stored {
        Stored { snapshot: state.snapshot, applied: state.last_applied }
    }
}

/// A digest of all entries, stored with every change: sled can lose entries without an error when its file is damaged.
#[derive(Clone, Default)]
struct Digest {
    entries: HashMap<String, u64>,
    sum: u64,
}

impl Digest {
    /// Takes in these writes and adds the write of the digest itself.
    fn add(&mut self, writes: &mut Vec<meta::Write1>) -> Result<(), SqlError> {
        for (key, value) in writes.iter() {
            let new = value.as_ref().map(|value| {
                let crc = crc32c::crc32c(key.as_bytes());
                u64::from(crc) << 32 | u64::from(crc32c::crc32c_append(crc, value))
            });
            let old = match new {
                Some(new) => self.entries.insert(key.clone(), new),
                None => self.entries.remove(key),
            };
            self.sum = self.sum.wrapping_sub(old.unwrap_or(0)).wrapping_add(new.unwrap_or(0));
        }
        writes.push((keys::DIGEST.into(), Some(change::encode(&self.sum)?)));
        Ok(())
    }
}

impl Catalog {
    /// Opens or creates the catalog in `dir` (the data directory's `catalog/`), given the time of the log's last tick.
    /// Where the store cannot be read it is set aside and rebuilt from its dump; what came after the dump is then replayed
    /// from the tick log, because [`Catalog::last_applied`] says how far it reaches. A store that is ahead of the log has
    /// applied a tick that a crash kept out of it and that nobody was told of: it is rebuilt from its dump too. `53100`,
    /// `58030` are not taken for damage.
    pub fn open_up_to(files: Arc<dyn CatalogFiles>, dir: &Path, last_time: u64) -> Result<Catalog, SqlError> {
        let (path, dump) = (files::store_path(dir), Dump::new(files.clone(), dir));
        let opened = files.open_store(&path).and_then(|s| Self::with_store(s, Some(dump.clone())));
        let damage = match opened {
            Ok(catalog) if catalog.last_applied() <= last_time => return Ok(catalog),
            Ok(catalog) => {
                format!("it is at tick {}, the tick log ends at tick {last_time}", catalog.last_applied())
            }
            Err(error) if error.code == SqlState::DATA_CORRUPTED => error.message,
            Err(error) => return Err(error),
        };
        let entries = dump.read()?.unwrap_or_default();
        let aside = files.set_aside(&path)?;
        let store = files.open_store(&path)?;
        let writes: Vec<meta::Write1> = entries.into_iter().map(|(k, v)| (k, Some(v))).collect();
        store.txn(&writes)?;
        store.sync()?;
        let mut catalog = Self::with_store(store, Some(dump))?;
        let warning = format!(
            "the catalog could not be used ({damage}) and was rebuilt as of tick {} from its dump; the old files are in \"{}\"",
            catalog.last_applied(),
            aside.display()
        );
        tracing::warn!("{warning}");
        catalog.rebuilt = Some(warning);
        Ok(catalog)
    }

    /// Reads a catalog's dump and a copy of its store, which changes neither. In this order: the dump, `None` where there is
    /// none, and the store; what cannot be read is an error.
    pub fn read(dir: &Path) -> (Result<Option<Stored>, SqlError>, Result<Stored, SqlError>) {
        let dump = read_dump(&Dump::path_in(dir));
        let (path, copy) =
            (files::store_path(dir), std::env::temp_dir().join(format!("headwater-verify-{}", uuid::Uuid::new_v4())));
        let store = copy_all(&path, &copy).map_err(|e| meta::file_error("copy", &path, &e)).and_then(|()| {
            let store = SledStore::open(&copy)?;
            Ok(load(store.scan("")?)?.into())
        });
        if let Err(e) = std::fs::remove_dir_all(&copy) {
            tracing::warn!("could not remove \"{}\": {e}", copy.display());
        }
        // Its copy is of no use to anybody.
        let named = store.map_err(|e: SqlError| SqlError {
            message: e.message.replace(&*copy.to_string_lossy(), &path.to_string_lossy()),
            ..e
        });
        (dump, named)
    }

    /// Where the dump of the catalog in `dir` is.
    pub fn dump_path(dir: &Path) -> std::path::PathBuf {
        Dump::path_in(dir)
    }

    /// On a given store, and with a dump where one is given. `XX001` where the store holds less than the dump.
    pub fn with_store(store: Box<dyn MetaStore>, dump: Option<Dump>) -> Result<Catalog, SqlError> {
        let stored = store.scan("")?;
        let dumped = dump.as_ref().map_or(Ok(None), Dump::read);
        let state = match (stored.is_empty(), dumped) {
            (true, Err(damage)) => return Err(damage),
            (true, Ok(None)) => create(store.as_ref(), dump.as_ref())?,
            (_, Ok(Some(dumped))) => {
                let state = load(stored)?;
                let reached = number(&dumped, keys::LAST_APPLIED)?.unwrap_or(0);
                if state.last_applied < reached {
                    return Err(SqlError::new(
                        SqlState::DATA_CORRUPTED,
                        format!("the catalog ends at tick {}, its dump at tick {reached}", state.last_applied),
                    ));
                }
                state
            }
            (false, Ok(None)) => load(stored)?,
            (false, Err(damage)) => {
                // The next checkpoint replaces it.
                tracing::warn!("{damage}");
                load(stored)?
            }
        };
        Ok(Catalog { store, dump, rebuilt: None, state: Mutex::new(state) })
    }

    /// The catalog as of the last applied tick.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.state().snapshot)
    }

    /// Time of the last tick applied; 0 where none was.
    pub fn last_applied(&self) -> u64 {
        self.state().last_applied
    }

    /// The warning, where the store was damaged and rebuilt.
    pub fn rebuilt(&self) -> Option<&str> {
        self.rebuilt.as_deref()
    }

    /// Names this installation for ever: part of transactional ids.
    pub fn installation(&self) -> uuid::Uuid {
        self.state().snapshot.installation()
    }

    /// A new OID for an object. Never given again, once a tick that uses it was applied.
    pub fn next_oid(&self) -> u32 {
        let mut state = self.state();
        let oid = state.next_oid;
        // One that is too large is refused when the object is created.
        state.next_oid = oid.saturating_add(1);
        oid
    }

    /// Applies the changes of the tick `time` in one transaction. A tick at or below the last applied one was applied
    /// before and is skipped. On an error nothing is changed; validate with [`CatalogSnapshot::with_changes`] before
    /// the tick is logged. Not synced: the tick log is what makes it durable.
    pub fn apply(&self, time: u64, changes: &[CatalogChange]) -> Result<Arc<CatalogSnapshot>, SqlError> {
        let mut state = self.state();
        if time <= state.last_applied {
            return Ok(Arc::clone(&state.snapshot));
        }
        let snapshot = state.snapshot.with_changes(changes)?;
        let created = changes.iter().filter_map(|c| match c {
            CatalogChange::CreateObject(object) => Some(object.id.0 + 1),
            _ => None,
        });
        let next_oid = created.fold(state.next_oid, u32::max);
        let mut writes = vec![
            (keys::LAST_APPLIED.into(), Some(change::encode(&time)?)),
            (keys::NEXT_OID.into(), Some(change::encode(&next_oid)?)),
        ];
        for change in changes {
            change.writes(&snapshot, &mut writes)?;
        }
        let mut digest = state.digest.clone();
        digest.add(&mut writes)?;
        self.store.txn(&writes)?;
        *state = State { snapshot: Arc::new(snapshot), last_applied: time, next_oid, digest };
        Ok(Arc::clone(&state.snapshot))
    }

    /// Makes what was applied durable.
    pub fn sync(&self) -> Result<(), SqlError> {
        self.store.sync()
    }

    /// Makes what was applied durable and dumps all of it: part of a checkpoint, before the log is truncated.
    pub fn checkpoint(&self) -> Result<(), SqlError> {
        let _excluded = self.state();
        self.store.sync()?;
        self.dump.as_ref().map_or(Ok(()), |dump| dump.write(self.store.as_ref()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn read_dump(path: &Path) -> Result<Option<Stored>, SqlError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(load(meta::decode_dump(&bytes, path)?)?.into())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(meta::file_error("read", path, &e)),
    }
}

/// What a new data directory begins with.
fn create(store: &dyn MetaStore, dump: Option<&Dump>) -> Result<State, SqlError> {
    let installation = uuid::Uuid::new_v4();
    let snapshot = Arc::new(CatalogSnapshot::initial(installation));
    let public = snapshot.schema("public").map(change::encode).transpose()?;
    let mut writes = vec![
        (keys::FORMAT.into(), Some(change::encode(&FORMAT)?)),
        (keys::INSTALLATION.into(), Some(change::encode(&installation)?)),
        (format!("{}public", keys::SCHEMA), public),
    ];
    let mut digest = Digest::default();
    digest.add(&mut writes)?;
    store.txn(&writes)?;
    store.sync()?;
    // The installation's name must outlive damage before the first checkpoint.
    dump.map_or(Ok(()), |dump| dump.write(store))?;
    Ok(State { snapshot, last_applied: 0, next_oid: FIRST_USER_OID, digest })
}

/// The number that an entry holds.
fn number(stored: &meta::Entries, key: &str) -> Result<Option<u64>, SqlError> {
    stored.iter().find(|(k, _)| k == key).map(|(_, v)| change::decode(v)).transpose()
}

/// The state that is stored.
fn load(stored: meta::Entries) -> Result<State, SqlError> {
    let lacks = |key: &str| SqlError::new(SqlState::DATA_CORRUPTED, format!("the catalog lacks its entry {key:?}"));
    let format = number(&stored, keys::FORMAT)?.ok_or_else(|| lacks(keys::FORMAT))?;
    if format != u64::from(FORMAT) {
        return Err(SqlError::new(
            SqlState::PREREQUISITE_STATE,
            format!("the catalog has format version {format}, this server reads {FORMAT}"),
        )
        .hint("Start the version of the server that wrote it."));
    }
    let installation = stored.iter().find(|(k, _)| k == keys::INSTALLATION).map(|(_, v)| change::decode(v));
    let installation = installation.ok_or_else(|| lacks(keys::INSTALLATION))??;
    let last_applied = number(&stored, keys::LAST_APPLIED)?.unwrap_or(0);
    let next_oid = number(&stored, keys::NEXT_OID)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(FIRST_USER_OID);
    let expected = number(&stored, keys::DIGEST)?.ok_or_else(|| lacks(keys::DIGEST))?;
    let mut snapshot = CatalogSnapshot::without_public(installation);
    let mut digest = Digest::default();
    let mut entries: Vec<meta::Write1> = vec![];
    for (key, value) in stored {
        if key != keys::DIGEST {
            snapshot.load_entry(&key, &value)?;
            entries.push((key, Some(value)));
        }
    }
    digest.add(&mut entries)?;
    if digest.sum != expected {
        return Err(SqlError::new(SqlState::DATA_CORRUPTED, "the catalog has lost some of its entries"));
    }
    snapshot.check_references()?;
    let next_oid = next_oid.max(snapshot.oid_bound());
    Ok(State { snapshot: Arc::new(snapshot), last_applied, next_oid, digest })
}

//! The narrow key-value store under the catalog, and its plain dump.
//!
//! Keys are short text without NUL bytes, values any bytes. Two implementations pass the same contract tests: [`SledStore`] and
//! [`MemoryStore`]. Promises: a transaction is applied as a whole or not at all; what was applied before
//! [`MetaStore::sync`] returned is durable; damaged bytes are an error `XX001`, never a wrong value.
//!
//! sled 0.34's flush does not reach the drive's cache and it may panic on damaged bytes, so: after a flush its files
//! are reopened and fsynced, values are split into small checksummed parts, and it is opened under `catch_unwind`.

use hw_repr::{SqlError, SqlState};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A key and its new value; `None` removes it.
pub type Write1 = (String, Option<Vec<u8>>);
/// Keys with their values, in order of the keys.
pub type Entries = Vec<(String, Vec<u8>)>;

/// An ordered key-value store.
pub trait MetaStore: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError>;
    /// Every key with this prefix, in order.
    fn scan(&self, prefix: &str) -> Result<Entries, SqlError>;
    /// Applies all writes or none.
    fn txn(&self, writes: &[Write1]) -> Result<(), SqlError>;
    /// Makes everything applied durable.
    fn sync(&self) -> Result<(), SqlError>;
}

fn damaged(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, message)
}

fn check_key(key: &str) -> Result<(), SqlError> {
    if key.is_empty() || key.contains('\0') {
        return Err(SqlError::internal(format!("{key:?} cannot be a key of the catalog's store")));
    }
    Ok(())
}

/// `53100` where the disk is full, else `58030`.
pub(crate) fn file_error(action: &str, path: &Path, error: &std::io::Error) -> SqlError {
    let state = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SqlState::DISK_FULL,
        _ => SqlState::IO_ERROR,
    };
    SqlError::new(state, format!("could not {action} \"{}\": {error}", path.display()))
}

/// In memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryStore {
    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetaStore for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError> {
        Ok(self.map().get(key).cloned())
    }
    fn scan(&self, prefix: &str) -> Result<Entries, SqlError> {
        let map = self.map();
        let from = map.range(prefix.to_owned()..);
        Ok(from.take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }
    fn txn(&self, writes: &[Write1]) -> Result<(), SqlError> {
        writes.iter().try_for_each(|(key, _)| check_key(key))?;
        let mut map = self.map();
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }
    fn sync(&self) -> Result<(), SqlError> {
        Ok(())
    }
}

/// On sled. A value is kept as parts: key, NUL, part number (u32, big endian) -> version byte 1, CRC32C of the
/// part's key and all that follows (u32), number of parts (u32), payload of at most [`PART_BYTES_MAX`].
#[derive(Debug)]
pub struct SledStore {
    db: sled::Db,
    path: PathBuf,
    around: Around,
}

/// Called with the name of an operation that makes something durable, and the operation; see [`SledStore::open_with`].
pub type Around = fn(&str, &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError>;

const PART_VERSION: u8 = 1;
const PART_HEADER_BYTES: usize = 9;
/// How long an earlier handle's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Largest payload of a part.
pub const PART_BYTES_MAX: usize = 12 << 10;

impl SledStore {
    /// Opens or creates the store and reads all of it once. Any damage, a panic of sled included, is an error.
    pub fn open(path: &Path) -> Result<SledStore, SqlError> {
        Self::open_with(path, |_, operation| operation())
    }

    /// The same, with `around` called for every operation that makes something durable: `catalog-flush` for sled's own,
    /// which writes, and `catalog-sync` for ours.
    pub fn open_with(path: &Path, around: Around) -> Result<SledStore, SqlError> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let db = open_unlocked(path).map_err(|e| sled_error(path, &e))?;
            let store = SledStore { db, path: path.to_path_buf(), around };
            store.scan("")?;
            Ok(store)
        }));
        opened.unwrap_or_else(|_| Err(damaged(format!("the catalog in \"{}\" cannot be read", path.display()))))
    }

    fn parts(&self, prefix: &[u8]) -> Result<Entries, SqlError> {
        let mut entries: Entries = vec![];
        let mut open: Option<(String, Vec<u8>, u32, u32)> = None;
        for item in self.db.scan_prefix(prefix) {
            let (part_key, bytes) = item.map_err(|e| sled_error(&self.path, &e))?;
            let (key, number, count, payload) = decode_part(&part_key, &bytes)?;
            let (name, mut value, seen, total) = match open.take() {
                None if number == 0 => (key.to_owned(), vec![], 0, count),
                Some(o) if o.0 == key && o.2 == number && o.3 == count => o,
                _ => return Err(damaged(format!("the catalog's value of {key:?} lacks a part"))),
            };
            value.extend_from_slice(payload);
            if seen + 1 == total {
                entries.push((name, value));
            } else {
                open = Some((name, value, seen + 1, total));
            }
        }
        match open {
            Some((key, ..)) => Err(damaged(format!("the catalog's value of {key:?} lacks its end"))),
            None => Ok(entries),
        }
    }
}

/// Opens sled's files. Its threads may let go of their lock a moment after the last handle on them was dropped; who else
/// could have it is kept out by the lock of the data directory.
fn open_unlocked(path: &Path) -> sled::Result<sled::Db> {
    let begun = Instant::now();
    loop {
        match sled::Config::new().path(path).cache_capacity(16 << 20).flush_every_ms(None).open() {
            Err(sled::Error::Io(e)) if e.to_string().contains("acquire lock") && begun.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn sled_error(path: &Path, error: &sled::Error) -> SqlError {
    match error {
        sled::Error::Io(e) => file_error("use the catalog in", path, e),
        other => damaged(format!("the catalog in \"{}\" cannot be read: {other}", path.display())),
    }
}

fn part_key(key: &str, number: u32) -> Vec<u8> {
    let mut out = key.as_bytes().to_vec();
    out.push(0);
    out.extend_from_slice(&number.to_be_bytes());
    out
}

fn encode_part(part_key: &[u8], count: u32, payload: &[u8]) -> Vec<u8> {
    let count = count.to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(part_key), &count), payload);
    let mut out = vec![PART_VERSION];
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&count);
    out.extend_from_slice(payload);
    out
}

fn decode_part<'a>(part_key: &'a [u8], bytes: &'a [u8]) -> Result<(&'a str, u32, u32, &'a [u8]), SqlError> {
    let bad = || damaged(format!("the catalog's value of {:?} is damaged", String::from_utf8_lossy(part_key)));
    if bytes.len() < PART_HEADER_BYTES || bytes[0] != PART_VERSION {
        return Err(bad());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(part_key), &bytes[5..]);
    if crc.to_le_bytes() != bytes[1..5] {
        return Err(bad());
    }
    let (name, number) = part_key.split_last_chunk::<4>().ok_or_else(bad)?;
    let name = name.strip_suffix(&[0]).and_then(|n| std::str::from_utf8(n).ok()).ok_or_else(bad)?;
    let count = u32::from_le_bytes(bytes[5..9].try_into().expect("four bytes"));
    Ok((name, u32::from_be_bytes(*number), count, &bytes[PART_HEADER_BYTES..]))
}

impl MetaStore for SledStore {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, SqlError> {
        let mut prefix = key.as_bytes().to_vec();
        prefix.push(0);
        Ok(self.parts(&prefix)?.pop().map(|(_, value)| value))
    }
    fn scan(&self, prefix: &str) -> Result<Entries, SqlError> {
        self.parts(prefix.as_bytes())
    }
    fn txn(&self, writes: &[Write1]) -> Result<(), SqlError> {
        let mut batch = sled::Batch::default();
        // The last write of a key wins.
        let writes: BTreeMap<&String, &Option<Vec<u8>>> = writes.iter().map(|(k, v)| (k, v)).collect();
        for (key, value) in writes {
            check_key(key)?;
            for item in self.db.scan_prefix(part_prefix(key)) {
                batch.remove(item.map_err(|e| sled_error(&self.path, &e))?.0);
            }
            let Some(value) = value else { continue };
            let parts: Vec<&[u8]> =
                if value.is_empty() { vec![&value[..]] } else { value.chunks(PART_BYTES_MAX).collect() };
            for (number, payload) in parts.iter().enumerate() {
                let key = part_key(key, number as u32);
                let bytes = encode_part(&key, parts.len() as u32, payload);
                batch.insert(key, bytes);
            }
        }
        self.db.apply_batch(batch).map_err(|e| sled_error(&self.path, &e))
    }
    fn sync(&self) -> Result<(), SqlError> {
        let flush = || self.db.flush().map(|_| ()).map_err(|e| sled_error(&self.path, &e));
        (self.around)("catalog-flush", &mut { flush })?;
        let sync = || {
            for path in [self.path.join("db"), self.path.clone()] {
                let synced = File::open(&path).and_then(|f| f.sync_all());
                synced.map_err(|e| file_error("sync", &path, &e))?;
            }
            Ok(())
        };
        (self.around)("catalog-sync", &mut { sync })
    }
}

fn part_prefix(key: &str) -> Vec<u8> {
    let mut out = key.as_bytes().to_vec();
    out.push(0);
    out
}

const DUMP_MAGIC: &[u8; 8] = b"HWCDUMP\x01";

/// Everything as the bytes of one plain file: magic with version, then per entry key length, key, value length, value
/// (lengths u32, little endian), at last the CRC32C of all that.
pub fn encode_dump(store: &dyn MetaStore) -> Result<Vec<u8>, SqlError> {
    let mut out = DUMP_MAGIC.to_vec();
    for (key, value) in store.scan("")? {
        for bytes in [key.as_bytes(), &value] {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// The entries of a dump; `path` is for the error.
pub fn decode_dump(bytes: &[u8], path: &Path) -> Result<Entries, SqlError> {
    let bad = || damaged(format!("the dump of the catalog \"{}\" is damaged", path.display()));
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(bad)?;
    if crc32c::crc32c(content).to_le_bytes() != *crc {
        return Err(bad());
    }
    let mut rest = content.strip_prefix(DUMP_MAGIC).ok_or_else(bad)?;
    let mut entries = vec![];
    while !rest.is_empty() {
        let mut field = || -> Option<&[u8]> {
            let (len, tail) = rest.split_first_chunk::<4>()?;
            let (bytes, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            rest = tail;
            Some(bytes)
        };
        let key = field().and_then(|k| String::from_utf8(k.to_vec()).ok()).ok_or_else(bad)?;
        let value = field().ok_or_else(bad)?.to_vec();
        entries.push((key, value));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &[u8]) -> Write1 {
        (key.into(), Some(value.to_vec()))
    }

    #[test]
    fn a_lock_that_is_let_go_of_late_is_waited_for() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let first = SledStore::open(temp.path()).expect("first");
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(first);
        });
        SledStore::open(temp.path()).expect("second");
        late.join().expect("ends");
    }

    /// What every store must do.
    fn contract(store: &dyn MetaStore) {
        assert_eq!(store.get("a").expect("get"), None);
        let large: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
        store.txn(&[put("a", b"1"), put("ab", b""), put("b/1", &large), put("b/2", b"x")]).expect("txn");
        assert_eq!(store.get("a").expect("get"), Some(b"1".to_vec()));
        assert_eq!(store.get("ab").expect("get"), Some(vec![]));
        assert_eq!(store.get("b/1").expect("get"), Some(large.clone()));
        assert_eq!(store.get("b").expect("get"), None);
        let keys = |p: &str| store.scan(p).expect("scan").into_iter().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(keys("b/"), ["b/1", "b/2"]);
        assert_eq!(keys(""), ["a", "ab", "b/1", "b/2"]);
        // A shorter value leaves no part of the longer one; a removal removes all parts; the last write of a key wins.
        store.txn(&[put("b/1", &large), put("b/1", b"short"), ("b/2".into(), None)]).expect("txn");
        assert_eq!(store.get("b/1").expect("get"), Some(b"short".to_vec()));
        assert_eq!(keys("b/"), ["b/1"]);
        assert!(store.txn(&[put("good", b"1"), put("bad\0key", b"2")]).is_err());
        assert_eq!(store.get("good").expect("get"), None, "a refused transaction leaves nothing");
        store.sync().expect("sync");
    }

    #[test]
    fn memory_store_keeps_the_contract() {
        contract(&MemoryStore::default());
    }

    #[test]
    fn sled_store_keeps_the_contract_and_its_contents() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let path = temp.path().join("sled");
        let store = SledStore::open(&path).expect("open");
        contract(&store);
        drop(store);
        let store = SledStore::open(&path).expect("reopen");
        assert_eq!(store.get("b/1").expect("get"), Some(b"short".to_vec()));
        store.db.insert(part_key("b/1", 0), &b"\x01damaged value"[..]).expect("insert");
        assert_eq!(store.get("b/1").expect_err("damage").code, SqlState::DATA_CORRUPTED);
    }

    #[test]
    fn dump_is_read_back_and_damage_is_detected() {
        let path = Path::new("dump");
        let store = MemoryStore::default();
        store.txn(&[put("k", b"v"), put("l", &[0; 40_000])]).expect("txn");
        let good = encode_dump(&store).expect("dump");
        assert_eq!(decode_dump(&good, path).expect("read"), store.scan("").expect("scan"));
        for at in (0..good.len()).step_by(997).chain(0..40) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert_eq!(decode_dump(&bad, path).expect_err("damage").code, SqlState::DATA_CORRUPTED, "byte {at}");
        }
    }
}

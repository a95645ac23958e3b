//! A directory as one small file: for each of its files the name, the length, and the bytes without the zeros at the end,
//! all compressed. The log's files are mostly room that was never written.
//!
//! ```text
//! "HWGOLDEN" · LZ4 block after its length (u32) of: for each file name · length (u64) · bytes; lengths of name and bytes u32
//! ```

use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"HWGOLDEN";

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()) {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// Packs all but the lock, and the room made ahead for the log, which any start removes.
pub fn pack(home: &Path) -> Vec<u8> {
    let mut all = vec![];
    files(home, &mut all);
    all.sort();
    let mut raw = vec![];
    for path in all {
        let name = path.strip_prefix(home).expect("inside").to_str().expect("UTF-8").to_owned();
        if name.ends_with(".seg.tmp") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("read");
        let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        raw.extend_from_slice(&(name.len() as u32).to_le_bytes());
        raw.extend_from_slice(name.as_bytes());
        raw.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        raw.extend_from_slice(&(used as u32).to_le_bytes());
        raw.extend_from_slice(&bytes[..used]);
    }
    [&MAGIC[..], &lz4_flex::block::compress_prepend_size(&raw)].concat()
}

/// The directory again.
pub fn unpack(packed: &[u8], home: &Path) {
    let packed = packed.strip_prefix(MAGIC).expect("a packed directory");
    let raw = lz4_flex::block::decompress_size_prepended(packed).expect("whole");
    let mut rest = &raw[..];
    let mut take = |n: usize| {
        let (first, more) = rest.split_at(n);
        rest = more;
        first
    };
    let mut at = 0;
    while at < raw.len() {
        let name_len = u32::from_le_bytes(take(4).try_into().expect("four bytes")) as usize;
        let name = std::str::from_utf8(take(name_len)).expect("UTF-8");
        let len = u64::from_le_bytes(take(8).try_into().expect("eight bytes"));
        let used = u32::from_le_bytes(take(4).try_into().expect("four bytes")) as usize;
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        std::fs::write(&path, take(used)).expect("write");
        std::fs::File::options().write(true).open(&path).expect("open").set_len(len).expect("length");
        at += 4 + name_len + 8 + 4 + used;
    }
}

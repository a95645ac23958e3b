//! Blocks of a chunk file: one chunk body each, compressed, with a checksum.
//!
//! Layout, version 1; integers are little-endian. The file begins with [`FILE_HEADER`]. A block is
//! ```text
//! crc: u32, CRC32C of all that follows · compressed: u32 · raw: u32 · LZ4 block of `compressed` bytes, which gives `raw`
//! ```
//! and gives, when decompressed,
//! ```text
//! rows: u32 · data: u32, bytes · end of each row in data: u32 each · key lengths · times · diffs · data
//! ```
//! where each of the three columns is a byte 0 and one value, where all are the same, or a byte 1 and one value a row (u32,
//! u64, i64). The prefixes of rows are not stored. Decoding never panics and checks every bound.

use hw_repr::chunk::{ChunkBody, Col, prefix};
use hw_repr::{SqlError, SqlState};

/// What a chunk file begins with: a magic word and the format version.
pub const FILE_HEADER: [u8; 8] = *b"HWCHK\0\0\x01";
/// Bytes before a block's compressed part.
pub const BLOCK_HEADER_BYTES: usize = 12;
/// Most bytes that a block may say it decompresses to.
const RAW_BYTES_MAX: usize = 1 << 30;

/// Appends a body as a block. `54000` where the body is larger than a block may be. `raw` is room that serves one body
/// after the other.
pub fn encode(body: &ChunkBody, raw: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), SqlError> {
    raw.clear();
    raw.extend_from_slice(&(body.len() as u32).to_le_bytes());
    raw.extend_from_slice(&(body.data.len() as u32).to_le_bytes());
    raw.extend(body.ends.iter().flat_map(|end| end.to_le_bytes()));
    column(&body.key_lens, raw, |v| v.to_le_bytes());
    column(&body.times, raw, |v| v.to_le_bytes());
    column(&body.diffs, raw, |v| v.to_le_bytes());
    raw.extend_from_slice(&body.data);
    if raw.len() > RAW_BYTES_MAX {
        let message = format!("a chunk of {} bytes does not fit into a block", raw.len());
        return Err(SqlError::new(SqlState::PROGRAM_LIMIT, message));
    }
    let start = out.len();
    let begin = start + BLOCK_HEADER_BYTES;
    out.resize(begin + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let packed = lz4_flex::block::compress_into(raw, &mut out[begin..])
        .map_err(|e| SqlError::internal(format!("a block could not be compressed: {e}")))?;
    out.truncate(begin + packed);
    out[start + 4..start + 8].copy_from_slice(&(packed as u32).to_le_bytes());
    out[start + 8..begin].copy_from_slice(&(raw.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn column<T: Copy + PartialEq, const N: usize>(col: &Col<T>, out: &mut Vec<u8>, bytes: impl Fn(T) -> [u8; N]) {
    match col {
        Col::Const(v, _) => {
            out.push(0);
            out.extend_from_slice(&bytes(*v));
        }
        Col::Each(all) => {
            out.push(1);
            out.extend(all.iter().flat_map(|v| bytes(*v)));
        }
    }
}

/// Checks a block against its checksum: the bytes that it decompresses to. `None` where they are not what [`encode`] wrote.
pub fn check(block: &[u8]) -> Option<usize> {
    open(block).map(|(_, size)| size)
}

/// What a block has compressed, and the bytes that it decompresses to.
fn open(block: &[u8]) -> Option<(&[u8], usize)> {
    let mut header = Input(block);
    let (crc, packed, size) = (header.u32()?, header.u32()? as usize, header.u32()? as usize);
    let whole = crc32c::crc32c(&block[4..]) == crc && header.0.len() == packed && size <= RAW_BYTES_MAX;
    whole.then_some((header.0, size))
}

/// The body of a block. `None` where the bytes are not what [`encode`] wrote. `raw` is room that serves one block after
/// the other: what is freed for each costs more than to decompress it.
pub fn decode(block: &[u8], raw: &mut Vec<u8>) -> Option<ChunkBody> {
    let (packed, size) = open(block)?;
    if raw.len() < size {
        raw.resize(size, 0);
    }
    let found = lz4_flex::block::decompress_into(packed, &mut raw[..size]).ok()?;
    let mut input = Input(raw.get(..size).filter(|_| found == size)?);
    let (rows, bytes) = (input.u32()? as usize, input.u32()? as usize);
    let ends = input.each(rows, u32::from_le_bytes)?;
    let key_lens = input.column(rows, u32::from_le_bytes)?;
    let times = input.column(rows, u64::from_le_bytes)?;
    let diffs = input.column(rows, i64::from_le_bytes)?;
    let data = input.0.to_vec();
    let ordered = ends.windows(2).all(|w| w[0] <= w[1]);
    if data.len() != bytes || !ordered || ends.last().copied().unwrap_or(0) as usize != bytes {
        return None;
    }
    let mut body = ChunkBody { data, ends, key_lens, prefixes: vec![], times, diffs };
    if (0..rows).any(|i| body.key_lens.get(i) as usize > body.row(i).len()) {
        return None;
    }
    body.prefixes = (0..rows).map(|i| prefix(body.row(i))).collect();
    Some(body)
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn each<T, const N: usize>(&mut self, rows: usize, value: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let (mine, rest) = self.0.split_at_checked(rows.checked_mul(N)?)?;
        self.0 = rest;
        Some(mine.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect())
    }

    fn column<T: Copy, const N: usize>(&mut self, rows: usize, value: impl Fn([u8; N]) -> T) -> Option<Col<T>> {
        match self.take::<1>()? {
            [0] => Some(Col::Const(value(self.take()?), rows)),
            [1] => Some(Col::Each(self.each(rows, value)?)),
            _ => None,
        }
    }
}

/// `XX001`, naming the file and where in it.
pub fn damage(path: &std::path::Path, offset: u64) -> SqlError {
    let message = format!("the checkpoint is damaged: \"{}\", block at byte {offset}", path.display());
    SqlError::new(SqlState::DATA_CORRUPTED, message).hint(
        "\"headwater verify\" lists all that is damaged. Restore the data directory from a backup, or see what \
         \"headwater repair\" can save.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(rows: &[(Vec<u8>, u64, i64)]) -> ChunkBody {
        let mut body = ChunkBody::default();
        rows.iter().for_each(|(row, time, diff)| body.push(row, row.len() / 2, *time, *diff));
        body
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 1u64..4, 1i64..3), 0..60)) {
            let body = body(&rows);
            let mut bytes = vec![];
            encode(&body, &mut vec![], &mut bytes).expect("fits");
            let back = decode(&bytes, &mut vec![]).expect("whole");
            prop_assert_eq!(back.len(), body.len());
            for i in 0..body.len() {
                prop_assert_eq!(back.key(i), body.key(i));
                prop_assert_eq!(back.val(i), body.val(i));
                prop_assert_eq!(back.prefixes[i], body.prefixes[i]);
                prop_assert_eq!((back.times.get(i), back.diffs.get(i)), (body.times.get(i), body.diffs.get(i)));
            }
        }

        #[test]
        fn any_damage_is_noticed(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
            let body = body(&(0..30u8).map(|i| (vec![1, i, i, 7], u64::from(i), 1)).collect::<Vec<_>>());
            let mut bytes = vec![];
            encode(&body, &mut vec![], &mut bytes).expect("fits");
            prop_assert!(decode(&bytes[..cut.min(bytes.len() - 1)], &mut vec![]).is_none());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes, &mut vec![]).is_none());
        }
    }
}

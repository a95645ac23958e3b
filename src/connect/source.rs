//! The contract between a source and the coordinator.
//!
//! Positions are `i64` per partition and always mean "the next one to read". A reader hands out contiguous batches;
//! the coordinator logs `to`, the count and the CRC of what it admitted, and a later reader of the same range must give
//! the same digest or the source has changed behind our back.

use arrow::array::RecordBatch;
use hw_repr::SqlError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Count and CRC32C over the payloads of a range, in order. Ranges that touch can be joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeDigest {
    /// Messages, dead ones included.
    pub count: u64,
    /// CRC32C over the bytes that determine the rows, one message after the other.
    pub crc: u32,
    /// Number of those bytes; needed to join two digests.
    pub bytes: u64,
}

impl RangeDigest {
    /// Takes in one message's bytes (not its end; call [`RangeDigest::message`] once per message).
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Counts one message.
    pub fn message(&mut self) {
        self.count += 1;
    }

    /// The digest of this range followed directly by `next`.
    pub fn join(self, next: RangeDigest) -> RangeDigest {
        RangeDigest {
            count: self.count + next.count,
            crc: times(self.crc, x_to_bytes(next.bytes)) ^ next.crc,
            bytes: self.bytes + next.bytes,
        }
    }
}

/// CRC32C's polynomial without its highest term, x⁰ in the highest bit as in the CRCs themselves.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// x to the 8·2ᵏ modulo the polynomial, by k.
const POWERS: [u32; 64] = {
    let mut powers = [0; 64];
    powers[0] = 1 << (31 - 8);
    let mut k = 1;
    while k < 64 {
        powers[k] = times(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// The product of two polynomials over GF(2), modulo CRC32C's.
const fn times(mut a: u32, b: u32) -> u32 {
    let (mut product, mut bit) = (0, 1 << 31);
    while bit != 0 {
        if b & bit != 0 {
            product ^= a;
        }
        // One more factor x.
        a = if a & 1 == 1 { (a >> 1) ^ POLYNOMIAL } else { a >> 1 };
        bit >>= 1;
    }
    product
}

/// x to the number of bits in `bytes`: what appending so many bytes multiplies a CRC by (Rocksoft model; zlib's
/// `crc32_combine` does the same). The library's own combine squares matrices, which costs each tick 50 µs.
fn x_to_bytes(bytes: u64) -> u32 {
    let one = 1 << 31;
    POWERS
        .iter()
        .enumerate()
        .filter(|(k, _)| bytes >> k & 1 == 1)
        .fold(one, |product, (_, power)| times(product, *power))
}

/// A message that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition it came from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The message's time, ms since 1970, where it has one.
    pub timestamp_ms: Option<i64>,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Why it could not be decoded.
    pub reason: String,
}

impl DeadLetter {
    /// Bytes held, for bounded queues.
    pub fn bytes(&self) -> usize {
        let opt = |v: &Option<Vec<u8>>| v.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(k, v)| k.len() + opt(v) + 48).sum();
        160 + opt(&self.key) + opt(&self.value) + headers + self.reason.len()
    }
}

/// Decoded rows of one contiguous range of one partition.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// Partition (0 for a generator).
    pub partition: i32,
    /// First position of the range.
    pub from: i64,
    /// One past its last position: where the next batch of the partition begins.
    pub to: i64,
    /// Count and CRC of the range.
    pub digest: RangeDigest,
    /// One batch per output relation of the source: one for Kafka, three for NEXMARK. Columns that were not wanted are
    /// all NULL (and nullable in the batch's schema).
    pub outputs: Vec<RecordBatch>,
    /// What could not be decoded, in order.
    pub dead: Vec<DeadLetter>,
    /// Bytes held, as counted against the reader's bound.
    pub memory: usize,
}

impl SourceBatch {
    /// The rows of a source with one output.
    pub fn rows(&self) -> &RecordBatch {
        &self.outputs[0]
    }
}

/// How a reader is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Not yet in touch with the upstream.
    Starting,
    /// Reading, or waiting for something to read.
    Running,
    /// Out of touch with the upstream; it keeps trying.
    Stalled,
    /// Given up: see the error. Only a new reader can go on.
    Failed,
    /// Paused by the user.
    Paused,
    /// Everything that was asked for has been read (bounded readers).
    Done,
}

impl SourceState {
    /// The word shown in `headwater.sources`.
    pub fn as_str(&self) -> &'static str {
        match self {
            SourceState::Starting => "starting",
            SourceState::Running => "running",
            SourceState::Stalled => "stalled",
            SourceState::Failed => "failed",
            SourceState::Paused => "paused",
            SourceState::Done => "done",
        }
    }
}

/// Called, from a reader's thread, when there is something to take or the state changed. Must not block.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// What every source gives. All calls are quick and never wait for the upstream.
pub trait SourceReader: Send + Sync {
    /// Takes decoded batches, oldest first per partition, until `max_bytes` are reached; at least one where there is one.
    fn try_take(&self, max_bytes: usize) -> Vec<SourceBatch>;
    /// About how many decoded bytes wait to be taken; all there are where a reader cannot tell.
    fn buffered(&self) -> usize {
        usize::MAX
    }
    /// Per partition, the position after everything taken so far.
    fn positions(&self) -> BTreeMap<i32, i64>;
    /// Per partition, the end of the upstream when it was last asked. Lag is the difference.
    fn upstream_end(&self) -> BTreeMap<i32, i64>;
    /// How it is doing, and the last error while that is not well.
    fn state(&self) -> (SourceState, Option<SqlError>);
    /// Who is told when there is something to take.
    fn set_notify(&self, notify: Notify);
    /// Stops or continues reading. What is buffered can still be taken.
    fn set_paused(&self, paused: bool);
    /// True when a bounded reader has handed out everything it was asked for.
    fn is_done(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_digest_equals_digest_of_the_whole() {
        let parts: [&[u8]; 4] = [b"abc", b"", b"defgh", b"i"];
        let digest = |p: &[&[u8]]| {
            let mut d = RangeDigest::default();
            for m in p {
                d.update(m);
                d.message();
            }
            d
        };
        for cut in 0..=4 {
            assert_eq!(digest(&parts[..cut]).join(digest(&parts[cut..])), digest(&parts));
        }
        assert_ne!(digest(&parts[..3]).crc, digest(&parts).crc);
    }

    proptest::proptest! {
        #[test]
        fn any_two_ranges_join(a in proptest::collection::vec(0u8.., 0..300), b in proptest::collection::vec(0u8.., 0..70_000)) {
            let whole = crc32c::crc32c_append(crc32c::crc32c(&a), &b);
            proptest::prop_assert_eq!(times(crc32c::crc32c(&a), x_to_bytes(b.len() as u64)) ^ crc32c::crc32c(&b), whole);
        }
    }
}

//! A stable hash of a plan: equal plans of equal versions have equal fingerprints, across runs and machines.

use crate::FlowPlan;
use hw_repr::SqlError;

/// Raised whenever the meaning of a serialised plan changes.
pub const VERSION: u8 = 1;

/// 64-bit FNV-1a over the version and the plan's JSON.
pub fn fingerprint(plan: &FlowPlan) -> Result<u64, SqlError> {
    let bytes = serde_json::to_vec(plan).map_err(|e| SqlError::internal(format!("a plan does not serialise: {e}")))?;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in std::iter::once(VERSION).chain(bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    Ok(hash)
}

//! Saved state as it is read back.

use hw_repr::{SqlError, SqlState};

/// Bytes of saved state that are still to be read.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next `N` bytes. `XX001` where there are fewer.
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], SqlError> {
        let (first, rest) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(first)
    }

    /// An integer, little-endian.
    pub fn i64(&mut self) -> Result<i64, SqlError> {
        self.take().map(i64::from_le_bytes)
    }

    /// A length.
    pub fn length(&mut self) -> Result<usize, SqlError> {
        self.take().map(|b| u32::from_le_bytes(b) as usize)
    }

    /// What [`string`] wrote.
    pub fn string(&mut self) -> Result<&'a [u8], SqlError> {
        let len = self.length()?;
        self.bytes(len)
    }
}

/// Writes bytes after their length.
pub fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Writes an integer, little-endian.
pub fn int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// `XX001`: an entry is not what was saved.
pub fn damaged() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "the state of an operator in the checkpoint is damaged")
}

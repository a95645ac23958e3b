//! Byte strings that lie in place where they are short.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Bytes, in place up to 14 of them. Ordered and equal as the bytes are.
#[derive(Clone, Debug)]
pub enum Small {
    /// Length, then the bytes.
    Short(u8, [u8; 14]),
    /// More than 14.
    Long(Box<[u8]>),
}

impl Small {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Small {
        let mut short = [0; 14];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Small::Short(bytes.len() as u8, short)
            }
            None => Small::Long(bytes.into()),
        }
    }
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Small::Short(len, bytes) => &bytes[..usize::from(*len)],
            Small::Long(bytes) => bytes,
        }
    }
    /// Bytes on the heap.
    pub fn heap(&self) -> usize {
        match self {
            Small::Short(..) => 0,
            Small::Long(bytes) => bytes.len(),
        }
    }
}

impl Default for Small {
    fn default() -> Self {
        Small::Short(0, [0; 14])
    }
}

impl Borrow<[u8]> for Small {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Small {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Small {}

impl PartialOrd for Small {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Small {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl Hash for Small {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

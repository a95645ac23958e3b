//! Building blocks of state: arrays that grow without moving what they hold, so that growth never stalls a tick, and
//! byte strings that lie in place where they are short.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// log2 of the items a page holds.
const PAGE_BITS: usize = 12;
const PAGE: usize = 1 << PAGE_BITS;

/// Items by position, in pages.
pub struct Slab<T> {
    pages: Vec<Box<[T]>>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { pages: vec![], len: 0 }
    }
}

impl<T: Default> Slab<T> {
    /// Makes it `len` items long; new ones are the default. Never shrinks.
    pub fn grow(&mut self, len: usize) {
        while self.pages.len() * PAGE < len {
            self.pages.push((0..PAGE).map(|_| T::default()).collect());
        }
        self.len = self.len.max(len);
    }
    /// Appends an item.
    pub fn push(&mut self, item: T) {
        self.grow(self.len + 1);
        let last = self.len - 1;
        *self.get_mut(last) = item;
    }
    /// The item at `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &T {
        &self.pages[i >> PAGE_BITS][i & (PAGE - 1)]
    }
    /// The item at `i`.
    #[inline]
    pub fn get_mut(&mut self, i: usize) -> &mut T {
        &mut self.pages[i >> PAGE_BITS][i & (PAGE - 1)]
    }
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Forgets all items and gives the pages back.
    pub fn clear(&mut self) {
        self.pages = vec![];
        self.len = 0;
    }
    /// Bytes of the items themselves; the last page may have room for more.
    pub fn bytes(&self) -> usize {
        self.len * std::mem::size_of::<T>()
    }
}

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

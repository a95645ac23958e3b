//! Building blocks of state: arrays that grow without moving what they hold, so that growth never stalls a tick.

pub use hw_repr::small::Small;

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

//! Room for recursion over plans, which nest as deep as statements and the views they name.

/// Below this many bytes of stack the next step gets a new one.
const RED_ZONE: usize = 256 << 10;
/// Bytes of a new one.
const SEGMENT: usize = 4 << 20;

/// Runs one step of a recursion, on another stack where this one is nearly used up.
pub fn deep<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE, SEGMENT, step)
}

//! Sets of characters, as ranges.

use std::fmt::Write;

/// The greatest code point.
const LAST: u32 = 0x10_ffff;

/// Invariant: ranges are ascending, do not touch and are not empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct CharSet {
    ranges: Vec<(u32, u32)>,
    /// Membership of the first 128, where most text is.
    ascii: [u64; 2],
}

impl CharSet {
    /// Of these ranges, in any order.
    pub fn new(mut ranges: Vec<(u32, u32)>) -> CharSet {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = vec![];
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        let mut ascii = [0; 2];
        for code in 0..128u32 {
            if merged.iter().any(|(from, to)| (*from..=*to).contains(&code)) {
                ascii[code as usize / 64] |= 1u64 << (code % 64);
            }
        }
        CharSet { ranges: merged, ascii }
    }

    /// Every character.
    pub fn all() -> CharSet {
        CharSet::new(vec![(0, LAST)])
    }

    /// One character, or both of its cases.
    pub fn one(c: char, ignore_case: bool) -> CharSet {
        let single = |c: char| (c as u32, c as u32);
        match ignore_case {
            true => CharSet::new(vec![single(c.to_ascii_lowercase()), single(c.to_ascii_uppercase())]),
            false => CharSet::new(vec![single(c)]),
        }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// What is not in it.
    pub fn complement(&self) -> CharSet {
        let mut out = vec![];
        let mut next = 0;
        for (from, to) in &self.ranges {
            if *from > next {
                out.push((next, from - 1));
            }
            next = to + 1;
        }
        if next <= LAST {
            out.push((next, LAST));
        }
        CharSet::new(out)
    }

    /// Whether `c` is in it.
    #[inline]
    pub fn contains(&self, c: char) -> bool {
        let code = c as u32;
        if code < 128 {
            return self.ascii[code as usize / 64] >> (code % 64) & 1 == 1;
        }
        self.ranges
            .binary_search_by(|(from, to)| {
                if code < *from {
                    std::cmp::Ordering::Greater
                } else if code > *to {
                    std::cmp::Ordering::Less
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok()
    }

    /// Whether no character is in both.
    pub fn is_disjoint(&self, other: &CharSet) -> bool {
        self.ranges.iter().all(|(a, b)| other.ranges.iter().all(|(c, d)| b < c || d < a))
    }

    /// As a class of the `regex` crate.
    pub fn write_class(&self, out: &mut String) {
        // A range must not begin or end within the surrogates, which no text has.
        let low = |code: u32| if (0xd800..0xe000).contains(&code) { 0xe000 } else { code };
        let high = |code: u32| if (0xd800..0xe000).contains(&code) { 0xd7ff } else { code };
        out.push('[');
        for (from, to) in &self.ranges {
            let (from, to) = (low(*from), high(*to));
            if from <= to {
                write!(out, "\\x{{{from:x}}}-\\x{{{to:x}}}").expect("writing to a string does not fail");
            }
        }
        out.push(']');
    }
}

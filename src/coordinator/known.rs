//! From when on what a flow holds at a time is what was there at that time.
//!
//! Invariant: a flow knows no more than what it reads. What becomes unknown of one becomes unknown of all that read it,
//! so that a read looks at the relation itself only.

use crate::core::Core;
use hw_repr::{GlobalId, Timestamp};
use std::collections::BTreeSet;
use std::ops::Range;

/// The times at which a flow is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Nothing of it can be read before this time: it was created, filled or corrected then, or something that it reads.
    pub from: Timestamp,
    /// At these times it holds changes that came later: they were read together while it was being filled.
    except: Range<Timestamp>,
}

impl Known {
    /// At all times from `from` on.
    pub fn from(from: Timestamp) -> Known {
        Known { from, except: 0..0 }
    }

    /// At all times but these.
    pub fn except(except: Range<Timestamp>) -> Known {
        Known { from: 0, except }
    }

    /// The first time that is known, `at` or later.
    pub fn first(&self, at: Timestamp) -> Timestamp {
        let at = at.max(self.from);
        if self.except.contains(&at) { self.except.end } else { at }
    }

    /// All times from this one on are known.
    pub fn since(&self) -> Timestamp {
        self.from.max(self.except.end)
    }

    /// What is known of two things together. What lies between two gaps counts as unknown.
    pub fn and(&self, other: &Known) -> Known {
        let except = match (self.except.is_empty(), other.except.is_empty()) {
            (_, true) => self.except.clone(),
            (true, _) => other.except.clone(),
            _ => self.except.start.min(other.except.start)..self.except.end.max(other.except.end),
        };
        Known { from: self.from.max(other.from), except }
    }
}

impl Core {
    /// No more than this is known of a flow, and of all that reads it.
    pub(crate) fn limit_known(&mut self, id: GlobalId, known: &Known) {
        let (mut left, mut seen) = (vec![id], BTreeSet::new());
        while let Some(id) = left.pop() {
            if seen.insert(id) {
                self.flows.get_mut(&id).into_iter().for_each(|flow| flow.known = flow.known.and(known));
                left.extend(self.flows.iter().filter(|(_, f)| f.imports.contains(&id)).map(|(id, _)| *id));
            }
        }
    }

    /// From when on each relation whose history is kept is what it was, for a checkpoint.
    pub(crate) fn all_known(&self) -> Vec<(GlobalId, Timestamp)> {
        self.histories.keys().filter_map(|id| Some((*id, self.flows.get(id)?.known.since()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_know_what_both_know() {
        let known = Known::from(5).and(&Known::except(10..20));
        assert_eq!([0, 5, 9, 10, 19, 20].map(|at| known.first(at)), [5, 5, 9, 20, 20, 20]);
        assert_eq!((known.since(), Known::from(5).since()), (20, 5));
        assert_eq!(known.and(&Known::from(7)), Known { from: 7, except: 10..20 });
        assert_eq!(known.and(&Known::except(30..40)), Known { from: 5, except: 10..40 });
        assert_eq!(known.and(&Known::default()), known);
        // A time that is too early may fall into what is unknown.
        assert_eq!(Known::from(12).and(&Known::except(10..20)).first(3), 20);
    }
}

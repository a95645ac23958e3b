//! Which served arrangements the joins of a new flow read instead of keeping their own.
//!
//! A lender is a relation that the flow reads, or an index on it, with a key of the same columns. It has to tell what it held when
//! the flow begins from what changes later, and an index must hold what its relation does by then. A lender stays while it has
//! borrowers, dropped or not.

use super::{Engine, Entry, Flows};
use crate::flow::{FlowKind, FlowSpec, Lenders};
use hw_plan::FlowPlan;
use hw_plan::arranged::{arrangements, named, order_in};
use hw_repr::{GlobalId, SqlType, Timestamp};
use std::collections::BTreeSet;

impl Engine {
    /// The lenders of a flow that `reads` others.
    pub(super) fn lenders(&self, flows: &Flows, spec: &FlowSpec, reads: &BTreeSet<GlobalId>) -> Lenders {
        let mut lenders = Lenders::new();
        let FlowKind::View { plan, .. } = &spec.kind else { return lenders };
        // What it holds then was there before it.
        let begin = match &spec.restored {
            Some(restored) if restored.upper == 0 => return lenders,
            Some(restored) => restored.upper - 1,
            None => spec.as_of,
        };
        let named = named(plan);
        for by in arrangements(plan, self.assume_retractions).into_keys() {
            let Some(FlowPlan::Get { id, columns, desc, .. }) = named.get(&by.of).copied() else { continue };
            if !reads.contains(id) {
                continue;
            }
            let types = desc.types();
            let serves = |of: &GlobalId| {
                let by_key = |e: &Entry| order_in(&by.key, columns, &types, &e.layout.key).is_some();
                flows.entries.get(of).is_some_and(|e| e.can_lend(begin, columns, &types) && by_key(e))
            };
            let indexes = flows.entries.iter().filter(|(_, e)| e.index_on == Some(*id)).map(|(index, _)| *index);
            // The relation itself, else the oldest index.
            let lender = Some(*id).filter(serves).or_else(|| indexes.filter(serves).min());
            if let Some(lender) = lender {
                lenders.insert(by, lender);
            }
        }
        lenders
    }
}

impl Entry {
    /// True where a flow that begins at a time can read columns of these types.
    fn can_lend(&self, begin: Timestamp, columns: &[usize], types: &[SqlType]) -> bool {
        let exact = self.index_on.is_none() || self.exact_from <= begin;
        let same = |(c, ty): (&usize, &SqlType)| self.desc.columns.get(*c).is_some_and(|column| column.ty == *ty);
        !self.dropped
            && self.layout.apart().is_none()
            && exact
            && self.since <= begin
            && columns.iter().zip(types).all(same)
    }
}

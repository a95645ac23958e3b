//! What a statement makes of a table as it is at one time: the rows that leave and those that come.
//!
//! Used at the commit point, where the time is the last tick's, and inside a transaction, where it is that of its
//! snapshot with the transaction's own writes.

use super::lookup::{Constraint, Lookup, take};
use super::rules::{Rules, passing, project};
use super::{decode_published, first_error, open_desc, value_text, with_schema};
use crate::command::CopyLines;
use arrow::array::{Array, RecordBatch};
use arrow::compute::{concat_batches, interleave_record_batch};
use hw_plan::{Func, Object, OnConflict, OnConflictUpdate, ScalarExpr};
use hw_repr::{Datum, PublishedRelation, RelationDesc, SqlError, SqlState, Timestamp};
use hw_scalar::Mfp;
use std::collections::HashSet;
use std::sync::Arc;

/// Rows that leave a table and rows that come to it.
#[derive(Default)]
pub(crate) struct Change {
    /// Rows affected, for the command tag.
    pub count: u64,
    pub removed: Vec<RecordBatch>,
    pub added: Vec<RecordBatch>,
}

/// Keys that the writes of one tick have added to a table, for each constraint.
pub(crate) type Fresh = Vec<HashSet<Vec<u8>>>;

/// A table at one time.
pub(crate) struct TableState<'a> {
    pub object: &'a Arc<Object>,
    pub rules: Rules,
    /// Its arrangements: the table's own first, then those of its indexes. None where nothing was published yet.
    pub arrangements: Vec<Arc<PublishedRelation>>,
    pub as_of: Timestamp,
}

impl TableState<'_> {
    fn desc(&self) -> &RelationDesc {
        self.rules.desc()
    }

    /// INSERT of rows that [`Rules::complete`] has seen. `fresh` are keys that are there although the arrangements
    /// do not show them; those of the new rows are added.
    pub(crate) fn insert(
        &self,
        rows: &[RecordBatch],
        conflict: Option<&OnConflict>,
        lines: Option<&CopyLines>,
        fresh: &mut Fresh,
    ) -> Result<Change, SqlError> {
        match conflict {
            None => {
                self.check_unique(rows, fresh, &[], lines)?;
                let added: Vec<RecordBatch> = rows.iter().filter(|b| b.num_rows() > 0).cloned().collect();
                let count = added.iter().map(|b| b.num_rows() as u64).sum();
                Ok(Change { count, removed: vec![], added })
            }
            Some(conflict) => {
                let rows = concat_batches(&open_desc(self.desc()).schema(), rows)
                    .map_err(|e| SqlError::internal(e.to_string()))?;
                self.upsert(&rows, conflict, fresh)
            }
        }
    }

    /// DELETE
    pub(crate) fn delete(&self, filter: Option<&ScalarExpr>) -> Result<Change, SqlError> {
        let removed = self.matching(filter)?;
        Ok(Change { count: removed.num_rows() as u64, removed: vec![removed], added: vec![] })
    }

    /// UPDATE
    pub(crate) fn update(
        &self,
        filter: Option<&ScalarExpr>,
        set: &[(usize, ScalarExpr)],
        fresh: &mut Fresh,
    ) -> Result<Change, SqlError> {
        let old = self.matching(filter)?;
        let types = self.desc().types();
        let mut exprs: Vec<ScalarExpr> = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        for (column, value) in set {
            exprs[*column] = value.clone();
        }
        let new = project(&old, &exprs, &types, self.desc())?;
        self.replace(old, new, fresh)
    }

    /// Rows become others, one for one.
    pub(crate) fn replace(&self, old: RecordBatch, new: RecordBatch, fresh: &mut Fresh) -> Result<Change, SqlError> {
        let new = self.rules.complete(new)?;
        let leaving: Vec<HashSet<Vec<u8>>> =
            self.constraints().iter().map(|c| c.keys(self.desc(), &old).into_iter().flatten().collect()).collect();
        self.check_unique(std::slice::from_ref(&new), fresh, &leaving, None)?;
        Ok(Change { count: old.num_rows() as u64, removed: vec![old], added: vec![new] })
    }

    pub(crate) fn constraints(&self) -> Vec<Constraint> {
        Constraint::all_of(self.object, self.desc())
    }

    fn lookup(&self, constraint: &Constraint) -> Result<Lookup, SqlError> {
        Lookup::new(constraint, self.desc(), &self.arrangements, self.as_of)
    }

    /// Each new key must be new in the table (but for those `leaving`), in `fresh` and among the rows themselves.
    fn check_unique(
        &self,
        rows: &[RecordBatch],
        fresh: &mut Fresh,
        leaving: &[HashSet<Vec<u8>>],
        lines: Option<&CopyLines>,
    ) -> Result<(), SqlError> {
        let constraints = self.constraints();
        fresh.resize_with(constraints.len(), HashSet::new);
        let mut added: Fresh = vec![];
        for (n, constraint) in constraints.iter().enumerate() {
            let lookup = self.lookup(constraint)?;
            let total = rows.iter().map(RecordBatch::num_rows).sum();
            let mut own: HashSet<Vec<u8>> = HashSet::with_capacity(total);
            let mut before = 0;
            for batch in rows {
                for (row, key) in constraint.keys(self.desc(), batch).into_iter().enumerate() {
                    let Some(key) = key else { continue };
                    let stays = leaving.get(n).is_none_or(|l| !l.contains(&key));
                    if stays && (fresh[n].contains(&key) || lookup.contains(&key)) || own.contains(&key) {
                        let e = self.duplicate(constraint, batch, row);
                        return Err(match lines {
                            Some(lines) => e.context(lines.context(before + row)),
                            None => e,
                        });
                    }
                    own.insert(key);
                }
                before += batch.num_rows();
            }
            added.push(own);
        }
        for (all, own) in fresh.iter_mut().zip(added) {
            if all.is_empty() {
                *all = own;
            } else {
                all.extend(own);
            }
        }
        Ok(())
    }

    fn duplicate(&self, constraint: &Constraint, batch: &RecordBatch, row: usize) -> SqlError {
        let desc = self.desc();
        let names: Vec<&str> = constraint.columns.iter().map(|k| desc.columns[*k].name.as_str()).collect();
        let values: Vec<String> =
            constraint.columns.iter().map(|k| value_text(batch.column(*k), row, desc.columns[*k].ty)).collect();
        let message = format!("duplicate key value violates unique constraint \"{}\"", constraint.name);
        SqlError::new(SqlState::UNIQUE, message).detail(format!(
            "Key ({})=({}) already exists.",
            names.join(", "),
            values.join(", ")
        ))
    }

    /// `INSERT ... ON CONFLICT`: rows that meet another one are left out, or update it.
    fn upsert(&self, rows: &RecordBatch, conflict: &OnConflict, fresh: &mut Fresh) -> Result<Change, SqlError> {
        let constraints = self.constraints();
        fresh.resize_with(constraints.len(), HashSet::new);
        let mut decides = vec![];
        for (n, c) in constraints.iter().enumerate() {
            if conflict.target.as_ref().is_none_or(|t| *t == c.columns) {
                let (keys, lookup) = (c.keys(self.desc(), rows), self.lookup(c)?);
                decides.push(Decides { n, keys, lookup, own: HashSet::new() });
            }
        }
        let (inserted, met) = sort_out(rows.num_rows(), &mut decides, conflict.update.is_some(), fresh)?;
        let new = take(rows, inserted.clone())?;
        let mut change = Change { count: new.num_rows() as u64, removed: vec![], added: vec![new] };
        if let (Some(update), Some(arbiter)) = (&conflict.update, decides.first()) {
            let keys: Vec<Vec<u8>> = met.iter().map(|(_, k)| k.clone()).collect();
            let old = arbiter.lookup.rows(&keys, self.desc())?;
            let excluded = take(rows, met.iter().map(|(row, _)| *row).collect())?;
            let (updated, old, new) = self.updated_by(update, &old, &excluded, &met)?;
            change.count += old.num_rows() as u64;
            let new = self.rules.complete(new)?;
            // In the order of the rows that were given.
            let mut order: Vec<(u64, (usize, usize))> = vec![];
            order.extend(inserted.iter().enumerate().map(|(i, row)| (*row, (0, i))));
            order.extend(updated.iter().enumerate().map(|(i, row)| (*row, (1, i))));
            order.sort_unstable();
            let order: Vec<(usize, usize)> = order.into_iter().map(|(_, place)| place).collect();
            let all = interleave_record_batch(&[&change.added[0], &new], &order)
                .map_err(|e| SqlError::internal(e.to_string()))?;
            change.removed.push(old);
            change.added = vec![all];
        }
        // Constraints that do not decide, and those of updated rows, hold as always.
        let leaving: Vec<HashSet<Vec<u8>>> = constraints
            .iter()
            .map(|c| change.removed.iter().flat_map(|r| c.keys(self.desc(), r)).flatten().collect())
            .collect();
        self.check_unique(&change.added, fresh, &leaving, None)?;
        change.added.retain(|b| b.num_rows() > 0);
        Ok(change)
    }

    /// Of the given rows that have `met` one those that DO UPDATE takes, the rows that were there, and what they become.
    fn updated_by(
        &self,
        update: &OnConflictUpdate,
        old: &RecordBatch,
        excluded: &RecordBatch,
        met: &[(u64, Vec<u8>)],
    ) -> Result<(Vec<u64>, RecordBatch, RecordBatch), SqlError> {
        let desc = self.desc();
        let types: Vec<_> = desc.types().into_iter().chain(desc.types()).collect();
        let both = RelationDesc::new(desc.columns.iter().chain(&desc.columns).cloned().collect());
        let columns = old.columns().iter().chain(excluded.columns()).cloned().collect();
        let pairs = with_schema(columns, old.num_rows(), &both)?;
        let passes = update.filter.as_ref().map(|filter| passing(&pairs, filter, &both)).transpose()?;
        let (mut affected, mut kept) = (HashSet::new(), vec![]);
        for (at, (_, key)) in met.iter().enumerate() {
            if affected.contains(key.as_slice()) {
                return Err(second_time());
            }
            if passes.as_ref().is_none_or(|p| p.is_valid(at) && p.value(at)) {
                affected.insert(key.as_slice());
                kept.push(at as u64);
            }
        }
        let updated = kept.iter().map(|at| met[*at as usize].0).collect();
        let pairs = take(&pairs, kept)?;
        let mut exprs: Vec<ScalarExpr> =
            desc.types().iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        for (column, value) in &update.set {
            exprs[*column] = value.clone();
        }
        let new = project(&pairs, &exprs, &types, desc)?;
        let old = with_schema(pairs.columns()[..desc.arity()].to_vec(), pairs.num_rows(), desc)?;
        Ok((updated, old, new))
    }

    /// The rows for which `filter` is true.
    pub(crate) fn matching(&self, filter: Option<&ScalarExpr>) -> Result<RecordBatch, SqlError> {
        let desc = self.desc();
        let all = match (self.seek(filter)?, self.arrangements.first()) {
            (Some(rows), _) => rows,
            (None, Some(p)) => decode_published(p, desc, self.as_of)?,
            (None, None) => RecordBatch::new_empty(open_desc(desc).schema()),
        };
        let Some(filter) = filter else { return Ok(all) };
        let types = desc.types();
        let columns: Vec<ScalarExpr> = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        let out = Mfp::new(std::slice::from_ref(filter), &columns, &types)?.apply(&all);
        first_error(out.errors)?;
        with_schema(out.rows.columns().to_vec(), out.rows.num_rows(), desc)
    }

    /// The rows that can pass a filter that fixes the first columns of an arrangement's key.
    fn seek(&self, filter: Option<&ScalarExpr>) -> Result<Option<RecordBatch>, SqlError> {
        let mut fixed: Vec<(usize, Datum)> = vec![];
        equalities(filter, &mut fixed);
        let prefix = |p: &PublishedRelation| -> Vec<Datum> {
            let value = |c: &usize| fixed.iter().find(|(f, _)| f == c).map(|(_, d)| d.clone());
            p.key.iter().map_while(value).collect()
        };
        let best = self.arrangements.iter().map(|p| (prefix(p), p)).max_by_key(|(v, _)| v.len());
        let Some((values, published)) = best.filter(|(v, _)| !v.is_empty()) else { return Ok(None) };
        let open = open_desc(self.desc());
        match hw_query::point_read(&open, published, &values, self.as_of)? {
            None => Ok(None),
            Some(batches) => {
                let all = concat_batches(&open.schema(), &batches).map_err(|e| SqlError::internal(e.to_string()))?;
                Ok(Some(all))
            }
        }
    }
}

/// A constraint that decides what ON CONFLICT does.
struct Decides {
    /// Its number among those of the table.
    n: usize,
    /// The keys of the given rows.
    keys: Vec<Option<Vec<u8>>>,
    lookup: Lookup,
    /// The keys of given rows that are inserted.
    own: HashSet<Vec<u8>>,
}

/// `21000`
fn second_time() -> SqlError {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    let hint = "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.";
    SqlError::new(SqlState::CARDINALITY, message).hint(hint)
}

/// Of the given rows: those that are inserted, and those that meet one that is there, with its key.
#[allow(clippy::type_complexity)]
fn sort_out(
    rows: usize,
    decides: &mut [Decides],
    updates: bool,
    fresh: &Fresh,
) -> Result<(Vec<u64>, Vec<(u64, Vec<u8>)>), SqlError> {
    let (mut inserted, mut met) = (vec![], vec![]);
    for row in 0..rows {
        let meets = |d: &Decides| {
            let key = d.keys[row].as_ref()?;
            let own = d.own.contains(key);
            (own || fresh[d.n].contains(key) || d.lookup.contains(key)).then(|| (key.clone(), own))
        };
        match decides.iter().find_map(meets) {
            None => {
                inserted.push(row as u64);
                for d in decides.iter_mut() {
                    d.own.extend(d.keys[row].clone());
                }
            }
            Some((_, true)) if updates => return Err(second_time()),
            Some((key, _)) => met.push((row as u64, key)),
        }
    }
    Ok((inserted, met))
}

/// `column = constant` that must hold for an expression to be true.
fn equalities(expr: Option<&ScalarExpr>, out: &mut Vec<(usize, Datum)>) {
    match expr {
        Some(ScalarExpr::And(all)) => all.iter().for_each(|e| equalities(Some(e), out)),
        Some(ScalarExpr::Call { func: Func::Eq, args, .. }) => {
            if let [ScalarExpr::Column(c, a), ScalarExpr::Literal(d, b)]
            | [ScalarExpr::Literal(d, b), ScalarExpr::Column(c, a)] = args.as_slice()
                && a.arrow() == b.arrow()
            {
                out.push((*c, d.clone()));
            }
        }
        _ => {}
    }
}

//! Statements that write tables, on the session's side.
//!
//! Outside a transaction block what needs no more than the table's own rows is computed at the commit point and never
//! conflicts; anything else runs as a transaction of its own, which is run again where its input has changed. Inside a
//! block everything is computed here, over the block's snapshot with its own writes.

use super::{Session, done};
use crate::command::{Command, CopyLines, ReadAt, ReadTable, TableWrite, Written};
use crate::session::{Executed, Outcome};
use crate::tables::rules::{Rules, project};
use crate::tables::state::TableState;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use futures::{StreamExt, stream};
use hw_plan::{Object, OnConflict, Returning, ScalarExpr};
use hw_repr::{Datum, GlobalId, SqlError, SqlState, SqlType};
use hw_sql::Query;
use std::collections::HashMap;
use std::sync::Arc;

/// How often a statement is computed again because what it reads changes.
const ATTEMPTS_MAX: usize = 100;

/// An INSERT or a COPY, but for its rows.
pub(super) struct Insertion {
    pub table: GlobalId,
    pub identity: bool,
    pub conflict: Option<OnConflict>,
    pub returning: Option<Returning>,
}

fn dropped() -> SqlError {
    SqlError::new(SqlState::UNDEFINED_TABLE, "the table was dropped before the statement could write it")
}

impl Session {
    pub(super) fn table_object(&self, id: GlobalId) -> Result<Arc<Object>, SqlError> {
        self.object(id).ok_or_else(dropped)
    }

    pub(super) async fn run_insert(
        &mut self,
        insertion: Insertion,
        query: Option<Query>,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        let query = query.ok_or_else(|| SqlError::internal("an INSERT without a query"))?;
        let object = self.table_object(insertion.table)?;
        let rules = Rules::new(&object)?;
        let mut attempts = 0;
        loop {
            let depends_on = query.depends_on.clone();
            let (rows, at) = self.collect(query.clone(), params.clone()).await?;
            let mut complete = vec![];
            for batch in rows {
                let batch = self.with_identity(&object, &rules, batch, insertion.identity).await?;
                complete.push(rules.complete(batch)?);
            }
            let read = at.map(|hold| (hold.at, depends_on));
            match self.insert_rows(&insertion, complete, read, None).await {
                Err(e) if e.code == SqlState::SERIALIZATION && !self.in_block() && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                }
                Err(e) => return Err(e),
                Ok(written) => return finish(written, "INSERT 0", insertion.returning.as_ref(), &rules),
            }
        }
    }

    /// Rows that have passed the table's rules, on their way.
    pub(super) async fn insert_rows(
        &mut self,
        insertion: &Insertion,
        rows: Vec<RecordBatch>,
        read: Option<(hw_repr::Timestamp, Vec<GlobalId>)>,
        lines: Option<CopyLines>,
    ) -> Result<Written, SqlError> {
        let (table, conflict) = (insertion.table, insertion.conflict.clone());
        if self.in_block() {
            let (object, arrangements, as_of) = self.own_table(table).await?;
            let state = TableState { object: &object, rules: Rules::new(&object)?, arrangements, as_of };
            let change = state.insert(&rows, conflict.as_ref(), lines.as_ref(), &mut vec![])?;
            let written = Written { count: change.count, rows: change.added.clone() };
            self.tx.add(table, change)?;
            return Ok(written);
        }
        let returning = insertion.returning.is_some();
        self.write(TableWrite::Insert { table, rows, read, conflict, lines, returning }).await
    }

    pub(super) async fn run_update(
        &mut self,
        table: GlobalId,
        filter: Option<ScalarExpr>,
        set: Vec<(usize, ScalarExpr)>,
        returning: Option<Returning>,
    ) -> Result<Executed, SqlError> {
        let object = self.table_object(table)?;
        let written = if self.in_block() {
            let (object, arrangements, as_of) = self.own_table(table).await?;
            let state = TableState { object: &object, rules: Rules::new(&object)?, arrangements, as_of };
            let change = state.update(filter.as_ref(), &set, &mut vec![])?;
            let written = Written { count: change.count, rows: change.added.clone() };
            self.tx.add(table, change)?;
            written
        } else {
            let returning = returning.is_some();
            self.write(TableWrite::Update { table, filter, set, returning }).await?
        };
        finish(written, "UPDATE", returning.as_ref(), &Rules::new(&object)?)
    }

    pub(super) async fn run_delete(
        &mut self,
        table: GlobalId,
        filter: Option<ScalarExpr>,
        returning: Option<Returning>,
    ) -> Result<Executed, SqlError> {
        let object = self.table_object(table)?;
        let written = self.delete_rows(table, filter, returning.is_some()).await?;
        finish(written, "DELETE", returning.as_ref(), &Rules::new(&object)?)
    }

    async fn delete_rows(
        &mut self,
        table: GlobalId,
        filter: Option<ScalarExpr>,
        returning: bool,
    ) -> Result<Written, SqlError> {
        if !self.in_block() {
            return self.write(TableWrite::Delete { table, filter, returning }).await;
        }
        let (object, arrangements, as_of) = self.own_table(table).await?;
        let state = TableState { object: &object, rules: Rules::new(&object)?, arrangements, as_of };
        let change = state.delete(filter.as_ref())?;
        let written = Written { count: change.count, rows: change.removed.clone() };
        self.tx.add(table, change)?;
        Ok(written)
    }

    pub(super) async fn run_truncate(
        &mut self,
        tables: Vec<GlobalId>,
        restart_identity: bool,
    ) -> Result<Executed, SqlError> {
        if restart_identity && self.in_block() {
            return Err(SqlError::unsupported(
                "TRUNCATE ... RESTART IDENTITY in a transaction block is not supported yet",
            ));
        }
        self.truncate(&tables).await?;
        for table in tables.into_iter().filter(|_| restart_identity) {
            if self.table_object(table)?.rules.identity().is_some() {
                self.handle.request(|reply| Command::RestartIdentity { table, reply }).await?;
            }
        }
        Ok(done(Outcome::Complete { tag: "TRUNCATE TABLE".into() }))
    }

    async fn truncate(&mut self, tables: &[GlobalId]) -> Result<(), SqlError> {
        if self.in_block() || tables.len() == 1 {
            for table in tables {
                self.delete_rows(*table, None, false).await?;
            }
            return Ok(());
        }
        let mut attempts = 0;
        loop {
            self.begin_own();
            let mut result = Ok(());
            for table in tables {
                if result.is_ok() {
                    result = self.delete_rows(*table, None, false).await.map(drop);
                }
            }
            match self.end_own(result).await {
                Err(e) if e.code == SqlState::SERIALIZATION && attempts < ATTEMPTS_MAX => attempts += 1,
                other => return other,
            }
        }
    }

    /// UPDATE and DELETE of the rows that a query finds.
    pub(super) async fn run_modify(
        &mut self,
        table: GlobalId,
        set: Option<Vec<usize>>,
        returning: Option<Returning>,
        query: Option<Query>,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        let query = query.ok_or_else(|| SqlError::internal("an UPDATE without its query"))?;
        if self.in_block() {
            return self.modify(table, set.as_deref(), returning.as_ref(), query, params).await;
        }
        let mut attempts = 0;
        loop {
            self.begin_own();
            let result = self.modify(table, set.as_deref(), returning.as_ref(), query.clone(), params.clone()).await;
            match self.end_own(result).await {
                Err(e) if e.code == SqlState::SERIALIZATION && attempts < ATTEMPTS_MAX => attempts += 1,
                other => return other,
            }
        }
    }

    async fn modify(
        &mut self,
        table: GlobalId,
        set: Option<&[usize]>,
        returning: Option<&Returning>,
        query: Query,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        let shown = query.desc.clone();
        let (found, _) = self.collect(query, params).await?;
        let (object, arrangements, as_of) = self.own_table(table).await?;
        let state = TableState { object: &object, rules: Rules::new(&object)?, arrangements, as_of };
        let desc = state.rules.desc().clone();
        let open = crate::tables::open_desc(&shown);
        let found = concat_batches(&open.schema(), &crate::tables::opened(found, &open)?)
            .map_err(|e| SqlError::internal(e.to_string()))?;
        let values = set.map_or(0, <[usize]>::len);
        let old_columns = values..values + desc.arity();
        let found = once_each(found, old_columns.clone(), &state)?;
        let column = |i: usize| found.column(i).clone();
        let old: Vec<ArrayRef> = old_columns.clone().map(column).collect();
        let others: Vec<ArrayRef> = (old_columns.end..found.num_columns()).map(column).collect();
        let old = crate::tables::with_schema(old, found.num_rows(), &desc)?;
        let (change, now, tag) = match set {
            None => {
                let now = old.clone();
                let count = old.num_rows() as u64;
                let change = crate::tables::state::Change { count, removed: vec![old], added: vec![] };
                (change, now, "DELETE")
            }
            Some(set) => {
                let mut new: Vec<ArrayRef> = old.columns().to_vec();
                for (n, at) in set.iter().enumerate() {
                    new[*at] = column(n);
                }
                let new = crate::tables::with_schema(new, found.num_rows(), &desc)?;
                let change = state.replace(old, new, &mut vec![])?;
                let now = change.added.first().cloned();
                let now = now.ok_or_else(|| SqlError::internal("an UPDATE without new rows"))?;
                (change, now, "UPDATE")
            }
        };
        let count = change.count;
        self.tx.add(table, change)?;
        let Some(returning) = returning else {
            return Ok(done(Outcome::Complete { tag: format!("{tag} {count}") }));
        };
        let mut columns = now.columns().to_vec();
        columns.extend(others);
        let mut types = desc.types();
        types.extend(shown.columns.iter().skip(old_columns.end).map(|c| c.ty));
        let all = hw_repr::RelationDesc::new(
            desc.columns.iter().chain(shown.columns.iter().skip(old_columns.end)).cloned().collect(),
        );
        let rows = crate::tables::with_schema(columns, now.num_rows(), &all)?;
        returned(vec![rows], tag, returning, &types)
    }

    /// The table with what this transaction has done to it: its arrangements at the snapshot.
    async fn own_table(
        &mut self,
        table: GlobalId,
    ) -> Result<(Arc<Object>, Vec<Arc<hw_repr::PublishedRelation>>, hw_repr::Timestamp), SqlError> {
        let object = self.table_object(table)?;
        let at = self.tx.hold.clone().map_or(ReadAt::Now, ReadAt::Held);
        let snapshot = self.handle.request(|reply| Command::Read { ids: vec![table], at, reply }).await?;
        let as_of = snapshot.as_of.at;
        self.tx.hold.get_or_insert(snapshot.as_of);
        let Some((_, ReadTable::Arranged { desc, published, indexes, .. })) = snapshot.tables.into_iter().next() else {
            return Err(SqlError::internal("a table without an arrangement"));
        };
        let all = std::iter::once(published).chain(indexes);
        let arrangements = all.map(|p| self.tx.overlaid(table, &desc, &p, as_of)).collect();
        Ok((object, arrangements, as_of))
    }

    /// NULLs in the identity column become its next values.
    pub(super) async fn with_identity(
        &self,
        object: &Object,
        rules: &Rules,
        rows: RecordBatch,
        wanted: bool,
    ) -> Result<RecordBatch, SqlError> {
        let Some((column, rule)) = object.rules.identity().filter(|_| wanted) else { return Ok(rows) };
        let missing = rows.column(column).null_count();
        if missing == 0 {
            return Ok(rows);
        }
        let table = object.id;
        let mut next = self.handle.request(|reply| Command::Identity { table, count: missing as u64, reply }).await?;
        let ty = rules.desc().columns[column].ty;
        let mut values = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            if !rows.column(column).is_null(row) {
                values.push(Datum::from_array(rows.column(column), row, ty)?);
                continue;
            }
            values.push(identity_value(next, ty)?);
            next = next.saturating_add(rule.increment);
        }
        let mut columns = rows.columns().to_vec();
        columns[column] = hw_repr::datum::datums_to_array(ty, &values)?;
        crate::tables::with_schema(columns, rows.num_rows(), rules.desc())
    }

    pub(super) async fn write(&self, write: TableWrite) -> Result<Written, SqlError> {
        let commit = self.commit.clone();
        self.handle.request(|reply| Command::Write { write, commit, reply }).await
    }
}

impl Session {
    /// `CREATE TABLE ... AS`: the rows are computed first, so that a query that fails leaves no table.
    pub(super) async fn create_table_as(
        &mut self,
        statement: hw_plan::Statement,
        parsed: &hw_sql::ParsedStatement,
        query: Option<Query>,
        params: Vec<Datum>,
        filled: bool,
    ) -> Result<Executed, SqlError> {
        use hw_plan::{CatalogView, Statement};
        let query = query.ok_or_else(|| SqlError::internal("CREATE TABLE AS without a query"))?;
        let Statement::CreateTable { name, .. } = &statement else {
            return Err(SqlError::internal("CREATE TABLE AS creates no table"));
        };
        let name = name.clone();
        let there = self.handle.snapshot.load().resolve(Some(&name.schema), &name.name).is_some();
        let rows = if filled && !there { self.collect(query, params).await?.0 } else { vec![] };
        let created = self.run_ddl(statement, parsed).await?;
        if there || !filled {
            return Ok(Executed { outcome: Outcome::Complete { tag: "CREATE TABLE AS".into() }, ..created });
        }
        let object = self.handle.snapshot.load().resolve(Some(&name.schema), &name.name).ok_or_else(dropped)?;
        let rules = Rules::new(&object)?;
        let rows = crate::tables::opened(rows, &crate::tables::open_desc(rules.desc()))?;
        let insertion = Insertion { table: object.id, identity: false, conflict: None, returning: None };
        self.commit = Arc::default();
        match self.insert_rows(&insertion, rows, None, None).await {
            Ok(written) => {
                Ok(Executed { outcome: Outcome::Complete { tag: format!("SELECT {}", written.count) }, ..created })
            }
            Err(e) => {
                let ids = vec![object.id];
                let (schemas, skipped, kind) = (vec![], vec![], "DROP TABLE");
                let drop = Statement::Drop { ids, schemas, cascade: false, kind, skipped };
                self.run_ddl(drop, parsed).await?;
                Err(e)
            }
        }
    }
}

fn identity_value(next: i64, ty: SqlType) -> Result<Datum, SqlError> {
    let over = |limit: i64| {
        let message = format!("nextval: reached maximum value of sequence ({limit})");
        SqlError::new(SqlState::new("2200H"), message)
    };
    Ok(match ty {
        SqlType::Int2 => Datum::Int2(i16::try_from(next).map_err(|_| over(i16::MAX.into()))?),
        SqlType::Int4 => Datum::Int4(i32::try_from(next).map_err(|_| over(i32::MAX.into()))?),
        _ => Datum::Int8(next),
    })
}

/// One row found for each row of the table: a join may have found one several times, and PostgreSQL takes any of them.
fn once_each(found: RecordBatch, old: std::ops::Range<usize>, state: &TableState<'_>) -> Result<RecordBatch, SqlError> {
    let desc = state.rules.desc();
    let columns: Vec<usize> = old.collect();
    let codec = hw_repr::encoding::RowCodec::new(&desc.types());
    let keys = crate::tables::encode_keys(&codec, &found, &columns);
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    for key in &keys {
        *seen.entry(key).or_default() += 1;
    }
    if seen.values().all(|n| *n == 1) {
        return Ok(found);
    }
    let mut copies: HashMap<Vec<u8>, usize> = HashMap::new();
    if desc.keys.is_empty() {
        // Equal rows are several rows.
        let all = state.matching(None)?;
        let every: Vec<usize> = (0..desc.arity()).collect();
        for key in crate::tables::encode_keys(&codec, &all, &every) {
            *copies.entry(key).or_default() += 1;
        }
    }
    let mut taken: HashMap<&[u8], usize> = HashMap::new();
    let mut rows = vec![];
    for (row, key) in keys.iter().enumerate() {
        let n = taken.entry(key).or_default();
        if *n < copies.get(key.as_slice()).copied().unwrap_or(1) {
            *n += 1;
            rows.push(row as u64);
        }
    }
    crate::tables::lookup::take(&found, rows)
}

/// The result of a statement that has written.
fn finish(
    written: Written,
    tag: &'static str,
    returning: Option<&Returning>,
    rules: &Rules,
) -> Result<Executed, SqlError> {
    match returning {
        None => Ok(done(Outcome::Complete { tag: format!("{tag} {}", written.count) })),
        Some(returning) => returned(written.rows, tag, returning, &rules.desc().types()),
    }
}

fn returned(
    rows: Vec<RecordBatch>,
    tag: &'static str,
    returning: &Returning,
    types: &[SqlType],
) -> Result<Executed, SqlError> {
    let made: Vec<RecordBatch> =
        rows.iter().map(|b| project(b, &returning.exprs, types, &returning.desc)).collect::<Result<_, _>>()?;
    let rows = stream::iter(made.into_iter().map(Ok)).boxed();
    Ok(done(Outcome::Rows { desc: returning.desc.clone(), rows, tag, count_in_tag: true }))
}

//! Planned statements: what the coordinator executes.

use crate::{
    ConnectionDesc, CopyOptions, FlowPlan, FunctionDesc, OnConflict, OnError, Returning, ScalarExpr, SourceDesc,
    TableRules,
};
use hw_repr::types::RowField;
use hw_repr::{Datum, GlobalId, RelationDesc, SqlType};
use serde::{Deserialize, Serialize};

/// A resolved name of a new object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
}

/// What CREATE TYPE defines.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeDefinition {
    /// Labels in order.
    Enum(Vec<String>),
    /// Fields in order.
    Row(Vec<RowField>),
}

/// What ALTER TYPE changes of an enum.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeChange {
    /// `ADD VALUE`
    AddValue {
        /// The new label.
        label: String,
        /// Before (true) or behind which other; at the end where there is none.
        beside: Option<(bool, String)>,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
    },
    /// `RENAME VALUE`
    RenameValue {
        /// The label.
        from: String,
        /// Its new text.
        to: String,
    },
}

/// What ALTER changes of an object beside what it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Alteration {
    /// `RENAME TO`
    RenameTo(String),
    /// `RENAME COLUMN`
    RenameColumn {
        /// The column.
        from: String,
        /// Its new name.
        to: String,
    },
    /// `SET SCHEMA`
    SetSchema(String),
    /// `OWNER TO`
    OwnerTo(String),
}

/// What ALTER alters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterTarget {
    /// An object.
    Object(GlobalId),
    /// A schema.
    Schema(String),
}

/// A planned statement. `SELECT` and the like carry `query`, the opaque logical plan of the query layer, beside
/// this enum (see `hw_sql::Planned`), because this crate knows nothing of DataFusion.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE SCHEMA`
    CreateSchema {
        /// Its name.
        name: String,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
    },
    /// `CREATE CONNECTION`
    CreateConnection {
        /// Its name.
        name: QualifiedName,
        /// How to connect.
        desc: ConnectionDesc,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Normalised text.
        create_sql: String,
    },
    /// `CREATE SOURCE`
    CreateSource {
        /// Its name.
        name: QualifiedName,
        /// What it is. Output names of a generator include the prefix.
        desc: SourceDesc,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Normalised text.
        create_sql: String,
        /// Objects it needs.
        depends_on: Vec<GlobalId>,
    },
    /// `CREATE TABLE`
    CreateTable {
        /// Its name.
        name: QualifiedName,
        /// Columns and primary key (`keys[0]`).
        desc: RelationDesc,
        /// Defaults and constraints.
        rules: TableRules,
        /// Functions that its rules call.
        depends_on: Vec<GlobalId>,
        /// `RETAIN HISTORY`, ms.
        retain_ms: Option<u64>,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Normalised text.
        create_sql: String,
        /// `AS`: the query beside gives its first rows. With false (`WITH NO DATA`) it gives none.
        filled: Option<bool>,
    },
    /// `CREATE VIEW`
    CreateView {
        /// Its name.
        name: QualifiedName,
        /// Fully qualified query text.
        query: String,
        /// Columns.
        desc: RelationDesc,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `OR REPLACE`
        or_replace: bool,
        /// Normalised text.
        create_sql: String,
        /// What it reads.
        depends_on: Vec<GlobalId>,
    },
    /// `CREATE MATERIALIZED VIEW`
    CreateMaterializedView {
        /// Its name.
        name: QualifiedName,
        /// Fully qualified query text.
        query: String,
        /// Columns.
        desc: RelationDesc,
        /// What to maintain.
        plan: FlowPlan,
        /// `ON ERROR`
        on_error: OnError,
        /// `RETAIN HISTORY`, ms.
        retain_ms: Option<u64>,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `OR REPLACE`
        or_replace: bool,
        /// Normalised text.
        create_sql: String,
        /// What it reads.
        depends_on: Vec<GlobalId>,
    },
    /// `CREATE INDEX`
    CreateIndex {
        /// Its name (made up where the statement gives none).
        name: QualifiedName,
        /// The relation.
        on: GlobalId,
        /// See [`crate::ObjectKind::Index`].
        columns: Vec<usize>,
        /// What of its key is computed.
        expressions: Vec<crate::IndexExpr>,
        /// The relation, and what the expressions name.
        depends_on: Vec<GlobalId>,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Normalised text.
        create_sql: String,
    },
    /// `CREATE TYPE`
    CreateType {
        /// Its name.
        name: QualifiedName,
        /// What it is.
        definition: TypeDefinition,
        /// Normalised text.
        create_sql: String,
    },
    /// `CREATE [OR REPLACE] FUNCTION`
    CreateFunction {
        /// Its name.
        name: QualifiedName,
        /// What it is.
        desc: FunctionDesc,
        /// The function of that signature that it takes the place of.
        replaces: Option<GlobalId>,
        /// Normalised text.
        create_sql: String,
        /// What its body uses.
        depends_on: Vec<GlobalId>,
    },
    /// `ALTER TYPE`
    AlterType {
        /// The type.
        id: GlobalId,
        /// What changes.
        change: TypeChange,
    },
    /// `DROP <kind> name, ...`; ids already resolved, missing ones dropped under IF EXISTS.
    Drop {
        /// Objects.
        ids: Vec<GlobalId>,
        /// Schemas (DROP SCHEMA).
        schemas: Vec<String>,
        /// `CASCADE`
        cascade: bool,
        /// `DROP TABLE` and so on, for the command tag.
        kind: &'static str,
        /// Names that IF EXISTS skipped, for notices.
        skipped: Vec<String>,
    },
    /// `ALTER ... RENAME`, `SET SCHEMA`, `OWNER TO`
    Alter {
        /// What.
        target: AlterTarget,
        /// How.
        change: Alteration,
        /// Command tag.
        tag: &'static str,
    },
    /// `ALTER SOURCE s PAUSE | RESUME`
    AlterSourcePause {
        /// The source.
        id: GlobalId,
        /// Pause or resume.
        paused: bool,
    },
    /// `INSERT INTO t ... <query>`: the query's columns are already cast to the table's types and in its order.
    Insert {
        /// The table.
        table: GlobalId,
        /// A NULL in the identity column stands for its next value.
        identity: bool,
        /// `ON CONFLICT`
        conflict: Option<OnConflict>,
        /// `RETURNING`, over the table's columns.
        returning: Option<Returning>,
    },
    /// `UPDATE t SET ... WHERE ...`. The expressions read the table's columns.
    Update {
        /// The table.
        table: GlobalId,
        /// WHERE; `None`: all rows.
        filter: Option<ScalarExpr>,
        /// (column, new value already cast)
        set: Vec<(usize, ScalarExpr)>,
        /// `RETURNING`, over the table's columns.
        returning: Option<Returning>,
    },
    /// UPDATE and DELETE that read more than the table's row. The query beside gives a row for each row of the table
    /// that is found: the new values of the columns in `set`, then the row as it is, then the columns of the other relations.
    Modify {
        /// The table.
        table: GlobalId,
        /// The columns that are set; `None`: the rows are deleted.
        set: Option<Vec<usize>>,
        /// `RETURNING`, over the table's columns as they become and those of the other relations.
        returning: Option<Returning>,
    },
    /// `TRUNCATE`
    Truncate {
        /// The tables.
        tables: Vec<GlobalId>,
        /// `RESTART IDENTITY`
        restart_identity: bool,
    },
    /// `COPY t (columns) FROM STDIN`
    CopyFrom {
        /// The table.
        table: GlobalId,
        /// The columns that come, in order.
        columns: Vec<usize>,
        /// Each column of the table, over those that come.
        fill: Vec<ScalarExpr>,
        /// `WHERE`, over the table's columns.
        filter: Option<ScalarExpr>,
        /// A NULL in the identity column stands for its next value.
        identity: bool,
        /// How it is written.
        options: CopyOptions,
    },
    /// `COPY ... TO STDOUT` of the query beside
    CopyTo {
        /// How it is written.
        options: CopyOptions,
    },
    /// `DELETE FROM t WHERE ...`
    Delete {
        /// The table.
        table: GlobalId,
        /// WHERE; `None`: all rows.
        filter: Option<ScalarExpr>,
        /// `RETURNING`, over the table's columns.
        returning: Option<Returning>,
    },
    /// A query; its plan is beside this enum.
    Select {
        /// `AS OF`: a constant of type bigint (ms since 1970) or timestamptz.
        as_of: Option<ScalarExpr>,
    },
    /// `SUBSCRIBE`
    Subscribe {
        /// The relation.
        id: GlobalId,
        /// Send the contents at as_of first.
        snapshot: bool,
        /// Send progress rows.
        progress: bool,
        /// `AS OF`
        as_of: Option<u64>,
        /// `UP TO`, exclusive
        up_to: Option<u64>,
    },
    /// Rows already known at planning: EXPLAIN, SHOW of a setting, SHOW CREATE.
    Rows {
        /// Columns.
        desc: RelationDesc,
        /// Rows.
        rows: Vec<Vec<Datum>>,
        /// Command tag (`EXPLAIN`, `SHOW`).
        tag: &'static str,
    },
    /// `SET name = value` / `RESET`
    Set {
        /// Setting, lower case.
        name: String,
        /// Value, `None` to reset.
        value: Option<String>,
    },
    /// `SELECT set_config(name, value, is_local)` as a statement of its own
    SetConfig {
        /// Setting, lower case.
        name: String,
        /// Value.
        value: String,
    },
    /// `SHOW name`
    Show {
        /// Setting, lower case.
        name: String,
    },
    /// `BEGIN`
    Begin {
        /// `READ ONLY`, or `READ WRITE` with false.
        read_only: Option<bool>,
    },
    /// `SAVEPOINT name`
    Savepoint {
        /// Name.
        name: String,
    },
    /// `RELEASE SAVEPOINT name`
    Release {
        /// Name.
        name: String,
    },
    /// `ROLLBACK TO SAVEPOINT name`
    RollbackTo {
        /// Name.
        name: String,
    },
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
    /// `DISCARD ALL`, `DEALLOCATE name`
    Deallocate {
        /// `None`: all.
        name: Option<String>,
    },
    /// `PREPARE name (types) AS stmt`
    Prepare {
        /// Name.
        name: String,
        /// Declared parameter types.
        types: Vec<SqlType>,
        /// Statement text.
        sql: String,
    },
    /// `ALTER ROLE name PASSWORD '...'`
    AlterRolePassword {
        /// Role.
        role: String,
        /// New password, `None` removes it.
        password: Option<String>,
    },
    /// `SELECT headwater.compact()` as a statement of its own.
    Compact,
    /// `FLUSH`: waits until every earlier write is visible.
    Flush,
    /// `CHECKPOINT`: answered when a checkpoint that has everything before it is durable.
    Checkpoint,
}

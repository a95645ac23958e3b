//! What a statement says, before any name is looked up.

use sqlparser::ast as sql;

/// A possibly qualified name, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRef {
    /// Schema, where given.
    pub schema: Option<String>,
    /// Name.
    pub name: String,
    /// One-based position in the statement.
    pub position: usize,
}

/// One statement.
#[derive(Clone, Debug)]
pub enum Ast {
    /// What sqlparser knows.
    Sql(Box<sql::Statement>),
    /// `CREATE CONNECTION name TO KAFKA (...)`
    CreateConnection {
        /// Name.
        name: NameRef,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Options as written.
        options: Vec<Opt>,
    },
    /// `CREATE SOURCE name (...) FROM KAFKA ...`
    CreateKafkaSource {
        /// Name.
        name: NameRef,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Columns.
        columns: Vec<sql::ColumnDef>,
        /// Connection.
        connection: NameRef,
        /// Options as written.
        options: Vec<Opt>,
        /// `INCLUDE`: kind, upper case, and the column's name.
        include: Vec<(String, String)>,
        /// `WITH (PAUSED)`
        paused: bool,
    },
    /// `CREATE SOURCE name FROM GENERATOR NEXMARK (...)`
    CreateGenerator {
        /// Name.
        name: NameRef,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// Options as written.
        options: Vec<Opt>,
        /// `WITH (PAUSED)`
        paused: bool,
    },
    /// `query AS OF time`, or EXPLAIN of it
    AsOf {
        /// The statement without it.
        inner: Box<Ast>,
        /// The time.
        at: Box<sql::Expr>,
    },
    /// `CREATE TABLE ... WITH (...)`
    CreateTable {
        /// The statement without its options.
        statement: Box<sql::Statement>,
        /// Options as written.
        options: Vec<Opt>,
    },
    /// `CREATE [OR REPLACE] [MATERIALIZED] VIEW name [(columns)] [WITH (...)] AS query`
    CreateView {
        /// Name.
        name: NameRef,
        /// Whether it is maintained.
        materialized: bool,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `OR REPLACE`
        or_replace: bool,
        /// New column names.
        columns: Vec<String>,
        /// Options as written.
        options: Vec<Opt>,
        /// Query.
        query: Box<sql::Query>,
    },
    /// `DROP kind [IF EXISTS] a, b [CASCADE | RESTRICT]`
    Drop {
        /// What kind.
        kind: DropKind,
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        names: Vec<NameRef>,
        /// `CASCADE`
        cascade: bool,
    },
    /// `ALTER kind [IF EXISTS] name RENAME TO | RENAME COLUMN | SET SCHEMA | OWNER TO`
    Alter {
        /// What kind.
        kind: DropKind,
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        name: NameRef,
        /// What changes.
        change: hw_plan::statement::Alteration,
    },
    /// `ALTER SOURCE name PAUSE | RESUME`
    AlterSource {
        /// Name.
        name: NameRef,
        /// Pause or resume.
        paused: bool,
    },
    /// `CREATE TYPE name AS ENUM (...)` or `AS (...)`
    CreateType {
        /// Name.
        name: NameRef,
        /// What it is.
        definition: TypeBody,
    },
    /// `CREATE FUNCTION`
    CreateFunction(Box<CreateFunctionAst>),
    /// `DROP FUNCTION`
    DropFunction {
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        functions: Vec<FunctionRef>,
        /// `CASCADE`
        cascade: bool,
    },
    /// `ALTER TYPE name ADD VALUE ...`, `RENAME VALUE ...`
    AlterType {
        /// Name.
        name: NameRef,
        /// What changes.
        change: hw_plan::statement::TypeChange,
    },
    /// `ALTER ROLE name PASSWORD 'x' | NULL`
    AlterRole {
        /// Role.
        role: String,
        /// Password.
        password: Option<String>,
    },
    /// `SUBSCRIBE`
    Subscribe {
        /// Relation.
        name: NameRef,
        /// `SNAPSHOT`
        snapshot: bool,
        /// `PROGRESS`
        progress: bool,
        /// `AS OF`
        as_of: Option<u64>,
        /// `UP TO`
        up_to: Option<u64>,
    },
    /// `EXPLAIN [PLAN | FLOW] statement`
    Explain {
        /// FLOW rather than PLAN.
        flow: bool,
        /// What to explain.
        inner: Box<Ast>,
    },
    /// `EXPLAIN ANALYZE MATERIALIZED VIEW name`
    ExplainAnalyze(NameRef),
    /// `SHOW SOURCES` and the like.
    ShowObjects(ShowKind),
    /// `SHOW COLUMNS FROM x`
    ShowColumns(NameRef),
    /// `SHOW CREATE kind x`
    ShowCreate {
        /// `VIEW`, `TABLE` and so on.
        kind: DropKind,
        /// Name.
        name: NameRef,
    },
    /// `SHOW setting`
    ShowSetting(String),
    /// `SET setting = value`, `RESET setting`
    Set {
        /// Setting, lower case.
        name: String,
        /// Value; `None` resets.
        value: Option<String>,
    },
    /// `COPY`
    Copy(Box<CopyAst>),
    /// `TRUNCATE [TABLE] a, b [RESTART IDENTITY]`
    Truncate {
        /// The tables.
        names: Vec<NameRef>,
        /// `RESTART IDENTITY`
        restart_identity: bool,
    },
    /// `INSERT` with `OVERRIDING SYSTEM | USER VALUE`
    Overriding {
        /// The statement without it.
        inner: Box<Ast>,
        /// SYSTEM rather than USER.
        system: bool,
    },
    /// `SAVEPOINT name`
    Savepoint(String),
    /// `RELEASE [SAVEPOINT] name`
    Release(String),
    /// `ROLLBACK TO [SAVEPOINT] name`
    RollbackTo(String),
    /// `BEGIN`, `START TRANSACTION`
    Begin {
        /// `READ ONLY`
        read_only: Option<bool>,
    },
    /// `COMMIT`, `END`
    Commit,
    /// `ROLLBACK`, `ABORT`
    Rollback,
    /// `PREPARE name (types) AS statement`
    Prepare {
        /// Name.
        name: String,
        /// Declared types.
        types: Vec<sql::DataType>,
        /// Text of the statement.
        sql: String,
    },
    /// `EXECUTE name (values)`
    Execute {
        /// Name.
        name: String,
        /// Arguments.
        args: Vec<sql::Expr>,
    },
    /// `DEALLOCATE name | ALL`, `DISCARD ALL`
    Deallocate(Option<String>),
    /// `FLUSH`
    Flush,
    /// `CHECKPOINT`.
    Checkpoint,
}

/// `COPY`
#[derive(Clone, Debug)]
pub struct CopyAst {
    /// What is copied.
    pub what: CopyWhat,
    /// FROM rather than TO.
    pub from: bool,
    /// Options as written.
    pub options: Vec<CopyOption>,
    /// `WHERE` behind FROM.
    pub filter: Option<sql::Expr>,
}

/// What COPY copies.
#[derive(Clone, Debug)]
pub enum CopyWhat {
    /// A relation, and columns of it with their positions in the text.
    Table(NameRef, Vec<(String, usize)>),
    /// The rows of a query.
    Query(Box<sql::Query>),
}

/// An option of COPY.
#[derive(Clone, Debug)]
pub struct CopyOption {
    /// Lower case.
    pub name: String,
    /// Where it stands.
    pub position: usize,
    /// Its value, where it has one.
    pub value: Option<String>,
    /// Its columns; an empty list is `*`.
    pub columns: Option<Vec<(String, usize)>>,
}

/// `CREATE [OR REPLACE] FUNCTION`
#[derive(Clone, Debug)]
pub struct CreateFunctionAst {
    /// Name.
    pub name: NameRef,
    /// `OR REPLACE`
    pub replace: bool,
    /// Its parameters.
    pub parameters: Vec<ParameterAst>,
    /// `RETURNS`
    pub returns: Option<ReturnsAst>,
    /// `STRICT`
    pub strict: bool,
    /// As declared.
    pub volatility: hw_plan::function::Volatility,
    /// The body's text.
    pub body: String,
    /// It is the expression of `RETURN`, not statements.
    pub is_expression: bool,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct ParameterAst {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type.
    pub ty: sql::DataType,
    /// `DEFAULT`
    pub default: Option<sql::Expr>,
}

/// What a function gives.
#[derive(Clone, Debug)]
pub enum ReturnsAst {
    /// One value.
    Value(sql::DataType),
    /// `SETOF type`
    Set(sql::DataType),
    /// `TABLE (name type, ...)`
    Table(Vec<(String, sql::DataType)>),
}

/// A function as DROP FUNCTION names it.
#[derive(Clone, Debug)]
pub struct FunctionRef {
    /// Name.
    pub name: NameRef,
    /// The types of its parameters, where they are given.
    pub types: Option<Vec<sql::DataType>>,
}

/// What CREATE TYPE says.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeBody {
    /// Labels.
    Enum(Vec<String>),
    /// Fields.
    Row(Vec<(String, sql::DataType)>),
}

/// An option of a statement of our own.
#[derive(Clone, Debug, PartialEq)]
pub struct Opt {
    /// Upper-case words, one space between.
    pub name: String,
    /// Its value.
    pub value: OptValue,
    /// Position of the name.
    pub position: usize,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptValue {
    /// `'text'`
    Text(String),
    /// An integer.
    Number(i64),
    /// `TIMESTAMP 'text'`
    Timestamp(String),
    /// `OFFSETS (0 = 17, ...)`
    Offsets(Vec<(i32, i64)>),
    /// A bare word, upper case.
    Word(String),
}

/// Kinds of objects that DROP and SHOW CREATE name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropKind {
    /// SOURCE
    Source,
    /// CONNECTION
    Connection,
    /// TABLE
    Table,
    /// VIEW
    View,
    /// MATERIALIZED VIEW
    MaterializedView,
    /// INDEX
    Index,
    /// SCHEMA
    Schema,
    /// TYPE
    Type,
}

impl DropKind {
    /// The command tag of DROP.
    pub fn tag(self) -> &'static str {
        match self {
            DropKind::Source => "DROP SOURCE",
            DropKind::Connection => "DROP CONNECTION",
            DropKind::Table => "DROP TABLE",
            DropKind::View => "DROP VIEW",
            DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
            DropKind::Index => "DROP INDEX",
            DropKind::Schema => "DROP SCHEMA",
            DropKind::Type => "DROP TYPE",
        }
    }
    /// The command tag of ALTER.
    pub fn alter_tag(self) -> &'static str {
        match self {
            DropKind::Source => "ALTER SOURCE",
            DropKind::Connection => "ALTER CONNECTION",
            DropKind::Table => "ALTER TABLE",
            DropKind::View => "ALTER VIEW",
            DropKind::MaterializedView => "ALTER MATERIALIZED VIEW",
            DropKind::Index => "ALTER INDEX",
            DropKind::Schema => "ALTER SCHEMA",
            DropKind::Type => "ALTER TYPE",
        }
    }
    /// In messages.
    pub fn noun(self) -> &'static str {
        match self {
            DropKind::Source => "source",
            DropKind::Connection => "connection",
            DropKind::Table => "table",
            DropKind::View => "view",
            DropKind::MaterializedView => "materialized view",
            DropKind::Index => "index",
            DropKind::Schema => "schema",
            DropKind::Type => "type",
        }
    }
}

/// Lists that SHOW gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowKind {
    /// Sources
    Sources,
    /// Views
    Views,
    /// Materialized views
    MaterializedViews,
    /// Tables
    Tables,
    /// Indexes
    Indexes,
    /// Connections
    Connections,
    /// Schemas
    Schemas,
}

//! The catalog as planners read it.

use crate::{ConnectionDesc, FlowPlan, FunctionDesc, IndexExpr, SourceDesc, TableRules};
use hw_repr::{GlobalId, RelationDesc, SqlType};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One catalog object. Serialisable: this is what the catalog stores and the tick log carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// OID, never reused.
    pub id: GlobalId,
    /// Schema it lives in (`public` by default).
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Owner.
    pub owner: String,
    /// The normalised CREATE statement (fully qualified names), for SHOW CREATE and re-planning.
    pub create_sql: String,
    /// Objects that this one reads; they cannot be dropped without CASCADE.
    pub depends_on: Vec<GlobalId>,
    /// What it is.
    pub kind: ObjectKind,
    /// What a table demands of its rows; nothing for anything else.
    #[serde(default, skip_serializing_if = "TableRules::is_empty")]
    pub rules: TableRules,
}

/// What becomes of rows that a materialized view cannot compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnError {
    /// Reads of the view, and of what reads it, fail until the rows are gone.
    #[default]
    Fail,
    /// They are left out: of the view, and of what reads it.
    DeadLetter,
}

impl OnError {
    /// As `ON ERROR` names them.
    pub const NAMES: &'static [(&'static str, OnError)] =
        &[("DEAD LETTER", OnError::DeadLetter), ("FAIL", OnError::Fail)];

    /// What is not said.
    pub fn is_default(&self) -> bool {
        *self == OnError::default()
    }
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `CREATE CONNECTION`
    Connection(ConnectionDesc),
    /// `CREATE SOURCE`. A Kafka source is its own relation; a generator is not a relation, its outputs are `SourceOutput`s.
    Source(SourceDesc),
    /// A relation that a multi-output source feeds.
    SourceOutput {
        /// The source.
        source: GlobalId,
        /// Which of its outputs.
        output: usize,
        /// What it looks like.
        desc: RelationDesc,
    },
    /// `CREATE TABLE`; `desc.keys[0]` is its primary key where there is one.
    Table(RelationDesc),
    /// `CREATE VIEW`: inlined where it is used.
    View {
        /// The query text, fully qualified.
        query: String,
        /// Its columns.
        desc: RelationDesc,
    },
    /// `CREATE MATERIALIZED VIEW`.
    MaterializedView {
        /// The query text, fully qualified.
        query: String,
        /// Its columns.
        desc: RelationDesc,
        /// What is maintained.
        plan: FlowPlan,
        /// What becomes of rows that fail; catalogs of earlier versions do not say.
        #[serde(default, skip_serializing_if = "OnError::is_default")]
        on_error: OnError,
        /// Columns by which its rows are kept, see [`crate::transform::read_by`]; empty, and so in catalogs of earlier
        /// versions: those of the first unique key.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        read_by: Vec<usize>,
    },
    /// `CREATE TYPE`: an enum or a composite type, whose OID is the object's id.
    Type(SqlType),
    /// `CREATE FUNCTION`: inlined where it is called. Its name is no name of a relation.
    Function(FunctionDesc),
    /// `CREATE INDEX`: an arrangement of `on` by a key.
    Index {
        /// The relation.
        on: GlobalId,
        /// The key: columns of the relation and, counted on from its last one, `expressions`.
        columns: Vec<usize>,
        /// What is computed; catalogs of earlier versions have none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        expressions: Vec<IndexExpr>,
    },
}

impl Object {
    /// What becomes of its failing rows.
    pub fn on_error(&self) -> OnError {
        match self.kind {
            ObjectKind::MaterializedView { on_error, .. } => on_error,
            _ => OnError::Fail,
        }
    }

    /// Columns by which what is shown of it is kept; empty: all of them, or nothing is shown of it.
    pub fn kept_by(&self) -> Vec<usize> {
        match &self.kind {
            ObjectKind::MaterializedView { read_by, .. } if !read_by.is_empty() => read_by.clone(),
            ObjectKind::Table(desc) | ObjectKind::MaterializedView { desc, .. } => {
                desc.keys.first().cloned().unwrap_or_default()
            }
            ObjectKind::Index { columns, .. } => columns.clone(),
            _ => vec![],
        }
    }

    /// Its columns, where it is a relation.
    pub fn desc(&self) -> Option<&RelationDesc> {
        match &self.kind {
            ObjectKind::Source(SourceDesc { connector: crate::SourceConnector::Kafka(_), outputs, .. }) => {
                outputs.first().map(|(_, d)| d)
            }
            ObjectKind::SourceOutput { desc, .. }
            | ObjectKind::Table(desc)
            | ObjectKind::View { desc, .. }
            | ObjectKind::MaterializedView { desc, .. } => Some(desc),
            _ => None,
        }
    }
}

/// What PostgreSQL's catalog functions (`pg_get_viewdef` and the like) tell of objects, by OID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Relations, indexes and the indexes behind primary keys: OID, schema and name.
    pub relations: Vec<(u32, String, String)>,
    /// Schemas: OID and name.
    pub schemas: Vec<(u32, String)>,
    /// Roles: OID and name.
    pub roles: Vec<(u32, String)>,
    /// Views: OID and query.
    pub views: Vec<(u32, String)>,
    /// Indexes.
    pub indexes: Vec<IndexFacts>,
    /// Types that statements have defined: OID, schema and name.
    pub types: Vec<(u32, String, String)>,
    /// Functions that statements have defined: OID, schema and name.
    pub functions: Vec<(u32, String, String, FunctionDesc)>,
    /// Constraints: OID and definition.
    pub constraints: Vec<(u32, String)>,
    /// Tables that a publication could hold.
    pub publishable: Vec<u32>,
}

/// An index, the one behind a primary key included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexFacts {
    /// OID.
    pub oid: u32,
    /// Schema of the index and of its relation.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Name of the relation.
    pub on: String,
    /// Its name, ON and the relation, as they must be written.
    pub head: String,
    /// Its key's parts, columns and expressions, as they must be written.
    pub columns: Vec<String>,
    /// The same as PostgreSQL shows them where not asked to be pretty.
    pub spelt_out: Vec<String>,
    /// It is of a primary key or a unique constraint.
    pub unique: bool,
}

impl IndexFacts {
    /// As a `CREATE INDEX`, names written as they must be.
    pub fn definition(&self, pretty: bool) -> String {
        let kind = if self.unique { "UNIQUE INDEX" } else { "INDEX" };
        let parts = if pretty { &self.columns } else { &self.spelt_out };
        format!("CREATE {kind} {} USING btree ({})", self.head, parts.join(", "))
    }
}

/// An immutable snapshot of the catalog, for name resolution. Names in system schemas (`headwater`, `pg_catalog`,
/// `information_schema`) resolve here too, as tables that the coordinator fills at read time.
pub trait CatalogView: Send + Sync {
    /// The object of that name; without a schema, along the search path (public, pg_catalog, headwater).
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Arc<Object>>;
    /// By id.
    fn get(&self, id: GlobalId) -> Option<Arc<Object>>;
    /// Every user object, by id.
    fn objects(&self) -> Vec<Arc<Object>>;
    /// The functions of that name in a schema, the oldest first.
    fn functions(&self, schema: &str, name: &str) -> Vec<Arc<Object>> {
        let mut all = self.objects();
        all.retain(|o| matches!(o.kind, ObjectKind::Function(_)) && o.schema == schema && o.name == name);
        all
    }
    /// True where the schema exists.
    fn has_schema(&self, schema: &str) -> bool;
    /// What catalog functions tell of the objects; computed anew at each call.
    fn facts(&self) -> ObjectFacts {
        ObjectFacts::default()
    }
    /// True where the relation is a system relation that never has a row.
    fn is_always_empty(&self, _id: GlobalId) -> bool {
        false
    }
    /// True where the id is a built-in system relation (OID below 16384).
    fn is_system(&self, id: GlobalId) -> bool {
        id.0 < 16384
    }
}

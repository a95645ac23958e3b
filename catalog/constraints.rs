//! The constraints of a table, as PostgreSQL's catalogs list them: primary key, UNIQUE, CHECK.
//!
//! The OID of a unique constraint is that of its index; primary keys, which have no object of their own, and checks have
//! OIDs above those of all objects.

use crate::facts::columns;
use crate::snapshot::{CatalogSnapshot, PRIMARY_KEY_OIDS};
use hw_plan::{CatalogView, Object, ObjectKind};

/// OIDs of checks begin here; a table has [`CHECKS`] of them.
const CHECK_OIDS: u32 = 3 << 30;
const CHECKS: u32 = 1 << 8;

/// A constraint.
pub(crate) struct Constraint {
    pub oid: u32,
    pub name: String,
    /// `p`, `u` or `c`.
    pub kind: &'static str,
    /// Its columns; those that a check reads.
    pub columns: Vec<usize>,
    /// The OID of the index behind it; 0 for none.
    pub index: u32,
    /// As `pg_get_constraintdef` has it.
    pub definition: String,
}

impl Constraint {
    /// The kind in the words of `information_schema`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            "p" => "PRIMARY KEY",
            "u" => "UNIQUE",
            _ => "CHECK",
        }
    }
}

/// The constraints of an object; only tables have some.
pub(crate) fn of(snapshot: &CatalogSnapshot, object: &Object) -> Vec<Constraint> {
    let ObjectKind::Table(desc) = &object.kind else { return vec![] };
    let id = object.id.0;
    let list = |positions: &[usize]| columns(desc, positions).join(", ");
    let mut out = vec![];
    if let Some(key) = desc.keys.first() {
        let oid = PRIMARY_KEY_OIDS.saturating_add(id);
        let definition = format!("PRIMARY KEY ({})", list(key));
        let name = object.rules.key_name(&object.name);
        out.push(Constraint { oid, name, kind: "p", columns: key.clone(), index: oid, definition });
    }
    for unique in &object.rules.uniques {
        let Some(index) = snapshot.resolve(Some(&object.schema), &unique.name) else { continue };
        let nulls = if unique.nulls_equal { " NULLS NOT DISTINCT" } else { "" };
        let definition = format!("UNIQUE{nulls} ({})", list(&unique.columns));
        let (oid, columns) = (index.id.0, unique.columns.clone());
        out.push(Constraint { oid, name: unique.name.clone(), kind: "u", columns, index: oid, definition });
    }
    for (n, check) in (0..CHECKS).zip(&object.rules.checks) {
        let oid = CHECK_OIDS.saturating_add(id.saturating_mul(CHECKS)).saturating_add(n);
        let definition = format!("CHECK (({}))", check.expr.sql);
        let columns = check.expr.expr.columns();
        out.push(Constraint { oid, name: check.name.clone(), kind: "c", columns, index: 0, definition });
    }
    out
}

/// True for the index of a unique constraint of `on`.
pub(crate) fn is_unique_index(on: &Object, name: &str) -> bool {
    on.rules.uniques.iter().any(|u| u.name == name)
}

/// What a column is filled by, as `pg_get_expr` and `information_schema` have it.
pub(crate) fn default_of(object: &Object, column: usize) -> Option<&str> {
    let rule = object.rules.column(column)?;
    rule.default.as_deref().or(rule.generated.as_ref().map(|g| g.sql.as_str()))
}

/// `pg_attribute.attidentity`
pub(crate) fn identity_of(object: &Object, column: usize) -> &'static str {
    match object.rules.column(column).and_then(|r| r.identity.as_ref()) {
        Some(identity) if identity.always => "a",
        Some(_) => "d",
        None => "",
    }
}

/// True for a generated column.
pub(crate) fn is_generated(object: &Object, column: usize) -> bool {
    object.rules.column(column).is_some_and(|r| r.generated.is_some())
}

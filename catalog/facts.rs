//! What PostgreSQL's catalog functions tell of the objects of a snapshot.

use crate::builtin;
use crate::constraints;
use crate::snapshot::CatalogSnapshot;
use hw_plan::{CatalogView, IndexExpr, IndexFacts, Object, ObjectFacts, ObjectKind};
use hw_repr::RelationDesc;

/// An identifier as it must be written in a statement.
fn quote(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(i, c)| c.is_ascii_lowercase() || c == '_' || i > 0 && c.is_ascii_digit());
    if plain && !name.is_empty() { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

pub(crate) fn columns(desc: &RelationDesc, positions: &[usize]) -> Vec<String> {
    positions.iter().filter_map(|c| desc.columns.get(*c)).map(|c| quote(&c.name)).collect()
}

/// The parts of an index' key as they must be written, or spelt out.
fn parts(desc: &RelationDesc, positions: &[usize], expressions: &[IndexExpr], spelt_out: bool) -> Vec<String> {
    let part = |at: &usize| match desc.columns.get(*at) {
        Some(column) => Some(quote(&column.name)),
        None => expressions.get(at - desc.arity()).map(|e| if spelt_out { e.spelt_out() } else { e.written() }),
    };
    positions.iter().filter_map(part).collect()
}

fn index(oid: u32, unique: bool, name: &str, on: &Object, key: (&[usize], &[IndexExpr])) -> IndexFacts {
    let desc = on.desc().cloned().unwrap_or_default();
    IndexFacts {
        oid,
        schema: on.schema.clone(),
        name: name.into(),
        on: on.name.clone(),
        head: format!("{} ON {}.{}", quote(name), quote(&on.schema), quote(&on.name)),
        columns: parts(&desc, key.0, key.1, false),
        spelt_out: parts(&desc, key.0, key.1, true),
        unique,
    }
}

/// See [`CatalogView::facts`].
pub(crate) fn facts(snapshot: &CatalogSnapshot) -> ObjectFacts {
    let mut facts = ObjectFacts {
        schemas: snapshot.schemas().map(|s| (s.oid, s.name.clone())).collect(),
        roles: snapshot.roles().map(|r| (r.oid, r.name.clone())).collect(),
        ..ObjectFacts::default()
    };
    for built_in in builtin::all() {
        let object = &built_in.object;
        facts.relations.push((object.id.0, object.schema.clone(), object.name.clone()));
    }
    for object in snapshot.objects() {
        add(snapshot, &object, &mut facts);
    }
    facts
}

fn add(snapshot: &CatalogSnapshot, object: &Object, facts: &mut ObjectFacts) {
    let id = object.id.0;
    let relation = (id, object.schema.clone(), object.name.clone());
    match &object.kind {
        ObjectKind::Function(f) => {
            facts.functions.push((id, object.schema.clone(), object.name.clone(), f.clone()));
            return;
        }
        ObjectKind::Type(_) => {
            facts.types.push(relation);
            return;
        }
        ObjectKind::Connection(_) => return,
        ObjectKind::Source(_) if object.desc().is_none() => return,
        ObjectKind::Source(_) | ObjectKind::SourceOutput { .. } => facts.publishable.push(id),
        ObjectKind::Table(_) => {
            facts.publishable.push(id);
            for constraint in constraints::of(snapshot, object) {
                let oid = constraint.oid;
                if constraint.kind == "p" {
                    facts.relations.push((oid, object.schema.clone(), constraint.name.clone()));
                    facts.indexes.push(index(oid, true, &constraint.name, object, (&constraint.columns, &[])));
                }
                facts.constraints.push((oid, constraint.definition));
            }
        }
        ObjectKind::View { query, .. } | ObjectKind::MaterializedView { query, .. } => {
            facts.views.push((id, query.clone()));
        }
        ObjectKind::Index { on, columns, expressions } => {
            let Some(on) = snapshot.get(*on) else { return };
            let unique = constraints::is_unique_index(&on, &object.name);
            facts.indexes.push(index(id, unique, &object.name, &on, (columns, expressions)));
        }
    }
    facts.relations.push(relation);
}

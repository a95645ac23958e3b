//! DROP: what goes with what, and what the client is told of it.
//!
//! All that a statement drops goes with one tick. What belongs to an object (its indexes, the relations of a source) goes
//! with it without being mentioned; everything else that depends on it is mentioned in the order in which it could have
//! been made, or refuses the statement.

use crate::core::Core;
use crate::ddl::Effect;
use hw_catalog::{CatalogChange, CatalogSnapshot};
use hw_plan::{CatalogView, Object, ObjectKind};
use hw_repr::{Column, GlobalId, SqlError, SqlState};
use std::collections::BTreeSet;

/// Lines of a DETAIL, as in PostgreSQL.
const DETAIL_LINES_MAX: usize = 100;

/// What an object is called in messages: its kind and its name, with the schema where that is not `public`.
pub(crate) fn described(object: &Object) -> String {
    match &object.kind {
        ObjectKind::Function(f) => format!("function {}({})", shown_name(object), f.signature()),
        _ => format!("{} {}", noun(object), shown_name(object)),
    }
}

fn shown_name(object: &Object) -> String {
    match object.schema.as_str() {
        "public" => object.name.clone(),
        schema => format!("{schema}.{}", object.name),
    }
}

/// The kind of an object in messages.
pub(crate) fn noun(object: &Object) -> &'static str {
    match &object.kind {
        ObjectKind::Connection(_) => "connection",
        ObjectKind::Source(_) | ObjectKind::SourceOutput { .. } => "source",
        ObjectKind::Table(_) => "table",
        ObjectKind::View { .. } => "view",
        ObjectKind::MaterializedView { .. } => "materialized view",
        ObjectKind::Index { .. } => "index",
        ObjectKind::Type(_) => "type",
        ObjectKind::Function(_) => "function",
    }
}

/// What a statement drops beside what it names.
struct Dependants {
    /// What is used comes first.
    reported: Vec<Found>,
}

/// A dependant.
struct Found {
    id: GlobalId,
    /// What it depends on; `None` for the schema that it lives in.
    uses: Option<GlobalId>,
    /// The same in words.
    used: String,
}

struct Walk<'a> {
    catalog: &'a CatalogSnapshot,
    seen: BTreeSet<GlobalId>,
    /// Users first.
    found: Vec<Found>,
}

impl Walk<'_> {
    /// Notes all that depends on an object.
    fn users_of(&mut self, id: GlobalId) {
        let Some(used) = self.catalog.get(id) else { return };
        for user in self.catalog.direct_dependants(id).into_iter().rev() {
            self.visit(user, Some(id), described(&used));
        }
    }

    fn visit(&mut self, id: GlobalId, uses: Option<GlobalId>, used: String) {
        if self.seen.insert(id) {
            self.users_of(id);
            self.found.push(Found { id, uses, used });
        }
    }
}

impl Dependants {
    fn of(catalog: &CatalogSnapshot, roots: &BTreeSet<GlobalId>, schemas: &[String]) -> Dependants {
        let mut walk = Walk { catalog, seen: roots.clone(), found: vec![] };
        for root in roots.iter().rev() {
            walk.users_of(*root);
        }
        for schema in schemas.iter().rev() {
            for object in catalog.objects_in(schema).iter().rev() {
                walk.visit(object.id, None, format!("schema {schema}"));
            }
        }
        let gone = &walk.seen;
        let belongs = |id: &GlobalId| {
            catalog.get(*id).is_some_and(|o| match o.kind {
                ObjectKind::Index { on, .. } => gone.contains(&on),
                ObjectKind::SourceOutput { source, .. } => gone.contains(&source),
                _ => false,
            })
        };
        // An object names what is inlined in it as well as what that reads: it is said to depend on the former.
        for found in &mut walk.found {
            let Some(object) = catalog.get(found.id) else { continue };
            let youngest = object.depends_on.iter().filter(|id| gone.contains(id)).max().copied();
            if let (Some(id), Some(used)) = (youngest, youngest.and_then(|id| catalog.get(id))) {
                (found.uses, found.used) = (Some(id), described(&used));
            }
        }
        let reported = walk.found.into_iter().rev().filter(|f| !belongs(&f.id)).collect();
        Dependants { reported }
    }

    /// `2BP01`
    fn refusal(&self, catalog: &CatalogSnapshot, roots: &BTreeSet<GlobalId>, schemas: &[String]) -> SqlError {
        let named: Vec<String> = roots.iter().filter_map(|id| catalog.get(*id)).map(|o| described(&o)).collect();
        let named: Vec<String> = named.into_iter().chain(schemas.iter().map(|s| format!("schema {s}"))).collect();
        let message = match named.as_slice() {
            [one] => format!("cannot drop {one} because other objects depend on it"),
            _ => "cannot drop desired object(s) because other objects depend on them".to_string(),
        };
        let line = |found: &Found| {
            let user = catalog.get(found.id).map_or_else(|| found.id.to_string(), |o| in_words(&o, found.uses));
            format!("{user} depends on {}", found.used)
        };
        SqlError::new(SqlState::DEPENDENT_OBJECTS, message)
            .detail(lines(self.reported.iter().map(line).collect()))
            .hint("Use DROP ... CASCADE to drop the dependent objects too.")
    }

    /// What CASCADE tells.
    fn notice(&self, catalog: &CatalogSnapshot) -> Option<SqlError> {
        let line = |found: &Found| Some(format!("drop cascades to {}", described(&*catalog.get(found.id)?)));
        let all: Vec<String> = self.reported.iter().filter_map(line).collect();
        let notice = |message: String| SqlError::new(SqlState::new("00000"), message);
        match all.as_slice() {
            [] => None,
            [one] => Some(notice(one.clone())),
            _ => Some(notice(format!("drop cascades to {} other objects", all.len())).detail(lines(all))),
        }
    }
}

/// A user of something: where that is a type, the column that has it.
fn in_words(user: &Object, uses: Option<GlobalId>) -> String {
    let holds = matches!(user.kind, ObjectKind::Table(_) | ObjectKind::Source(_) | ObjectKind::SourceOutput { .. });
    let of_type = |c: &&Column| {
        let mut oids = vec![];
        c.ty.defined_types(&mut oids);
        uses.is_some_and(|id| oids.contains(&id.0))
    };
    let column = user.desc().filter(|_| holds).and_then(|d| d.columns.iter().find(of_type));
    match column {
        Some(column) => format!("column {} of {}", column.name, described(user)),
        None => described(user),
    }
}

fn lines(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(DETAIL_LINES_MAX);
    let mut shown: Vec<String> = all.into_iter().take(DETAIL_LINES_MAX).collect();
    if more > 0 {
        shown.push(format!("and {more} other objects (see server log for list)"));
    }
    shown.join("\n")
}

impl Core {
    /// `DROP`
    pub(crate) fn drop_objects(
        &self,
        ids: Vec<GlobalId>,
        mut schemas: Vec<String>,
        cascade: bool,
    ) -> Result<Effect, SqlError> {
        let catalog = self.snapshot.load();
        if let Some(gone) = ids.iter().find(|id| catalog.get(**id).is_none()) {
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("object {gone} was dropped meanwhile")));
        }
        let roots: BTreeSet<GlobalId> = ids.into_iter().collect();
        let mut seen = BTreeSet::new();
        schemas.retain(|s| seen.insert(s.clone()));
        self.refuse_constraint(&roots)?;
        let dependants = Dependants::of(&catalog, &roots, &schemas);
        if !dependants.reported.is_empty() && !cascade {
            return Err(dependants.refusal(&catalog, &roots, &schemas));
        }
        if schemas.is_empty() {
            let others: Vec<GlobalId> = dependants.reported.iter().map(|f| f.id).collect();
            self.check_drop_of_types(&roots.iter().copied().collect::<Vec<_>>(), &others)?;
            self.check_drop_of_functions(&roots.iter().copied().collect::<Vec<_>>(), &others)?;
        }
        let mut all = roots;
        all.extend(schemas.iter().flat_map(|s| catalog.objects_in(s)).map(|o| o.id));
        let mut order: Vec<GlobalId> = vec![];
        for root in &all {
            for id in catalog.dependants(*root).into_iter().chain([*root]) {
                if !order.contains(&id) {
                    order.push(id);
                }
            }
        }
        let mut changes: Vec<CatalogChange> = order.iter().map(|id| CatalogChange::DropObject(*id)).collect();
        changes.extend(schemas.into_iter().map(|name| CatalogChange::DropSchema { name }));
        let notices = dependants.notice(&catalog).into_iter().collect();
        Ok(Effect { changes, dropped: order, notices, ..Effect::default() })
    }

    /// The constraint that an index serves: it stays as long as its table does.
    fn refuse_constraint(&self, roots: &BTreeSet<GlobalId>) -> Result<(), SqlError> {
        let catalog = self.snapshot.load();
        for object in roots.iter().filter_map(|id| catalog.get(*id)) {
            let ObjectKind::Index { on, .. } = object.kind else { continue };
            let Some(table) = catalog.get(on).filter(|t| !roots.contains(&t.id)) else { continue };
            if table.rules.uniques.iter().any(|u| u.name == object.name) {
                let (index, table) = (&object.name, &table.name);
                let message =
                    format!("cannot drop index {index} because constraint {index} on table {table} requires it");
                return Err(SqlError::new(SqlState::DEPENDENT_OBJECTS, message)
                    .hint(format!("You can drop constraint {index} on table {table} instead.")));
            }
        }
        Ok(())
    }
}

//! ALTER ... RENAME, SET SCHEMA and OWNER TO: what an object is called, and who owns it.
//!
//! Everything refers to objects by id, and to columns by position, but for the texts of definitions: those of the object
//! and of what reads it are written anew with the same tick. Invariant: nothing that is maintained changes.

use crate::core::Core;
use crate::ddl::Effect;
use crate::drop::described;
use crate::types::redefine;
use hw_catalog::{CatalogChange, CatalogSnapshot};
use hw_plan::statement::{AlterTarget, Alteration, QualifiedName};
use hw_plan::{CatalogView, Object, ObjectKind, SourceConnector, Statement};
use hw_repr::{EnumType, GlobalId, RelationDesc, RowType, SqlError, SqlState, SqlType};
use hw_sql::Renaming;
use std::collections::{BTreeMap, BTreeSet};

fn name_of(object: &Object) -> QualifiedName {
    QualifiedName { schema: object.schema.clone(), name: object.name.clone() }
}

/// Objects that change, as they become.
struct Changing<'a> {
    catalog: &'a CatalogSnapshot,
    objects: BTreeMap<GlobalId, Object>,
    renamings: Vec<Renaming>,
}

impl Changing<'_> {
    fn of(catalog: &CatalogSnapshot) -> Changing<'_> {
        Changing { catalog, objects: BTreeMap::new(), renamings: vec![] }
    }

    fn object(&mut self, id: GlobalId) -> Result<&mut Object, SqlError> {
        let Some(object) = self.catalog.get(id) else {
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("object {id} was dropped meanwhile")));
        };
        Ok(self.objects.entry(id).or_insert_with(|| (*object).clone()))
    }

    /// Gives an object another name; what the name is part of follows.
    fn rename(&mut self, id: GlobalId, to: QualifiedName) -> Result<(), SqlError> {
        let object = self.object(id)?;
        let from = name_of(object);
        if let ObjectKind::Table(desc) = &object.kind
            && !desc.keys.is_empty()
        {
            // The constraint keeps its name.
            object.rules.key_name.get_or_insert_with(|| format!("{}_pkey", from.name));
        }
        if let ObjectKind::Source(desc) = &mut object.kind
            && matches!(desc.connector, SourceConnector::Kafka(_))
        {
            desc.outputs.iter_mut().for_each(|o| o.0.clone_from(&to.name));
        }
        (object.schema, object.name) = (to.schema.clone(), to.name.clone());
        let kind = object.kind.clone();
        match kind {
            ObjectKind::Type(ty) => self.rename_type(id, ty, &to)?,
            ObjectKind::Function(_) => {
                let message = format!("renaming the schema of function \"{}\" is not supported", from.name);
                return Err(SqlError::unsupported(message).hint("Drop the function first."));
            }
            ObjectKind::Index { on, .. } => {
                let table = self.object(on)?;
                table
                    .rules
                    .uniques
                    .iter_mut()
                    .filter(|u| u.name == from.name)
                    .for_each(|u| u.name.clone_from(&to.name));
            }
            _ => {}
        }
        self.renamings.push(Renaming { from, to, columns: None });
        Ok(())
    }

    /// A type's name is part of the type, which is part of what has columns of it.
    fn rename_type(&mut self, id: GlobalId, ty: SqlType, to: &QualifiedName) -> Result<(), SqlError> {
        let new = match ty {
            SqlType::Enum(e) => {
                let mut def = e.def().clone();
                (def.schema, def.name) = (to.schema.clone(), to.name.clone());
                SqlType::Enum(EnumType::new(def)?)
            }
            SqlType::Row(r) => {
                let mut def = r.def().clone();
                (def.schema, def.name) = (to.schema.clone(), to.name.clone());
                SqlType::Row(RowType::new(def)?)
            }
            other => other,
        };
        for id in self.catalog.dependants(id).into_iter().chain([id]) {
            let object = self.object(id)?;
            *object = redefine(object, new)?;
        }
        Ok(())
    }

    fn rename_column(&mut self, id: GlobalId, from: &str, to: &str) -> Result<(), SqlError> {
        let object = self.object(id)?;
        let name = name_of(object);
        let at = {
            let columns = object.desc().map(|d| d.columns.as_slice()).unwrap_or_default();
            let taken = columns.iter().any(|c| c.name == to);
            let at = columns.iter().position(|c| c.name == from).ok_or_else(|| {
                SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{from}\" does not exist"))
            })?;
            if taken {
                let message = format!("column \"{to}\" of relation \"{}\" already exists", name.name);
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            at
        };
        let columns = object.desc().map(|d| d.columns.iter().map(|c| c.name.clone()).collect());
        let desc: &mut RelationDesc = match &mut object.kind {
            ObjectKind::Table(desc) | ObjectKind::View { desc, .. } | ObjectKind::MaterializedView { desc, .. } => desc,
            _ => {
                let message = format!("renaming a column of {} is not supported", described(object));
                return Err(SqlError::unsupported(message).hint("Give it another name in a view."));
            }
        };
        to.clone_into(&mut desc.columns[at].name);
        crate::ddl::check_column_names(object)?;
        self.renamings.push(Renaming { from: name.clone(), to: name, columns });
        Ok(())
    }

    /// All changes, with texts that fit the new names.
    fn finish(mut self) -> Result<Vec<CatalogChange>, SqlError> {
        let ids: BTreeSet<GlobalId> = self.objects.keys().copied().collect();
        let users: BTreeSet<GlobalId> = ids.iter().flat_map(|id| self.catalog.direct_dependants(*id)).collect();
        for id in users {
            self.object(id)?;
        }
        let now = self.objects.clone();
        let by_id = |id: GlobalId| now.get(&id).cloned().or_else(|| Some((*self.catalog.get(id)?).clone()));
        let mut changes = vec![];
        for (id, new) in &now {
            let Some(old) = self.catalog.get(*id) else { continue };
            let restated = hw_sql::restated(&old, new.clone(), &self.renamings, &by_id)?;
            if restated != *old {
                changes.push(CatalogChange::UpdateObject(restated));
            }
        }
        Ok(changes)
    }
}

impl Core {
    /// `ALTER`
    pub(crate) fn alter(&self, target: AlterTarget, change: Alteration) -> Result<Effect, SqlError> {
        let catalog = self.snapshot.load();
        let changes = match target {
            AlterTarget::Schema(name) => alter_schema(&catalog, &name, change)?,
            AlterTarget::Object(id) => self.alter_object(&catalog, id, change)?,
        };
        let effect = Effect { changes, ..Effect::default() };
        check_texts(&catalog, &effect.changes)?;
        Ok(effect)
    }

    fn alter_object(
        &self,
        catalog: &CatalogSnapshot,
        id: GlobalId,
        change: Alteration,
    ) -> Result<Vec<CatalogChange>, SqlError> {
        let mut changing = Changing::of(catalog);
        let was = name_of(changing.object(id)?);
        let object = changing.object(id)?.clone();
        match change {
            Alteration::RenameTo(name) => {
                let to = QualifiedName { schema: was.schema, name };
                check_free(catalog, &object, &to, false)?;
                changing.rename(id, to)?;
            }
            Alteration::RenameColumn { from, to } => changing.rename_column(id, &from, &to)?,
            Alteration::SetSchema(schema) if schema == was.schema => return Ok(vec![]),
            Alteration::SetSchema(schema) => {
                if let ObjectKind::Index { .. } = object.kind {
                    return Err(SqlError::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("cannot set the schema of index \"{}\"", object.name),
                    )
                    .hint("It moves with its relation."));
                }
                for id in [id].into_iter().chain(belongings(catalog, id)) {
                    let object = changing.object(id)?.clone();
                    let to = QualifiedName { schema: schema.clone(), name: object.name.clone() };
                    check_free(catalog, &object, &to, true)?;
                    changing.rename(id, to)?;
                }
            }
            Alteration::OwnerTo(role) => {
                check_role(catalog, &role)?;
                let all = [id].into_iter().chain(belongings(catalog, id));
                let owned = all.filter_map(|id| catalog.get(id)).filter(|o| o.owner != role);
                let owned = owned.map(|o| CatalogChange::UpdateObject(Object { owner: role.clone(), ..(*o).clone() }));
                return Ok(owned.collect());
            }
        }
        changing.finish()
    }
}

fn alter_schema(catalog: &CatalogSnapshot, name: &str, change: Alteration) -> Result<Vec<CatalogChange>, SqlError> {
    let schema =
        |to: Option<String>, owner: Option<String>| CatalogChange::AlterSchema { name: name.into(), to, owner };
    match change {
        Alteration::OwnerTo(role) => {
            check_role(catalog, &role)?;
            Ok(vec![schema(None, Some(role))])
        }
        Alteration::RenameTo(to) => {
            if catalog.has_schema(&to) {
                return Err(SqlError::new(SqlState::DUPLICATE_SCHEMA, format!("schema \"{to}\" already exists")));
            }
            let mut changing = Changing::of(catalog);
            for object in catalog.objects_in(name) {
                changing.rename(object.id, QualifiedName { schema: to.clone(), name: object.name.clone() })?;
            }
            let mut changes = vec![schema(Some(to), None)];
            changes.extend(changing.finish()?);
            Ok(changes)
        }
        Alteration::RenameColumn { .. } | Alteration::SetSchema(_) => {
            Err(SqlError::internal("a schema has neither columns nor a schema"))
        }
    }
}

/// What moves with an object: indexes of a relation, relations of a source.
fn belongings(catalog: &CatalogSnapshot, id: GlobalId) -> Vec<GlobalId> {
    let belongs = |o: &Object| match o.kind {
        ObjectKind::Index { on, .. } => on == id,
        ObjectKind::SourceOutput { source, .. } => source == id,
        _ => false,
    };
    let users = catalog.direct_dependants(id);
    users.into_iter().filter(|user| catalog.get(*user).is_some_and(|o| belongs(&o))).collect()
}

fn check_role(catalog: &CatalogSnapshot, role: &str) -> Result<(), SqlError> {
    match catalog.role(role) {
        Some(_) => Ok(()),
        None => Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{role}\" does not exist"))),
    }
}

/// `42P07` (of types `42710`) where a name is taken.
fn check_free(catalog: &CatalogSnapshot, object: &Object, to: &QualifiedName, elsewhere: bool) -> Result<(), SqlError> {
    if catalog.has_schema(&to.schema) && catalog.resolve(Some(&to.schema), &to.name).is_some() {
        let place = if elsewhere { format!(" in schema \"{}\"", to.schema) } else { String::new() };
        let (code, what) = match object.kind {
            ObjectKind::Type(_) => (SqlState::DUPLICATE_OBJECT, "type"),
            _ => (SqlState::DUPLICATE_TABLE, "relation"),
        };
        return Err(SqlError::new(code, format!("{what} \"{}\" already exists{place}", to.name)));
    }
    catalog.validate_new_name(&to.schema, &to.name)
}

/// The texts of views must mean what they meant; one that cannot be planned any more refuses the statement.
fn check_texts(catalog: &CatalogSnapshot, changes: &[CatalogChange]) -> Result<(), SqlError> {
    let after = catalog.with_changes(changes)?;
    for change in changes {
        let CatalogChange::UpdateObject(object) = change else { continue };
        if !matches!(object.kind, ObjectKind::View { .. } | ObjectKind::MaterializedView { .. }) {
            continue;
        }
        let same =
            replanned(object, &after).is_ok_and(|(desc, _)| Some(&desc.columns) == object.desc().map(|d| &d.columns));
        if !same {
            let message = format!("the definition of {} cannot be written with the new name", described(object));
            return Err(SqlError::unsupported(message).hint("Drop it first, and create it again then."));
        }
    }
    Ok(())
}

/// The statement that made a view, planned again.
pub(crate) fn replanned(object: &Object, catalog: &CatalogSnapshot) -> Result<(RelationDesc, Statement), SqlError> {
    planned_text(&object.create_sql, catalog)
}

/// An index with expressions, as the statement that made it makes it now.
pub(crate) fn replanned_index(index: &Object, catalog: &CatalogSnapshot) -> Result<Object, SqlError> {
    match planned_statement(&index.create_sql, catalog)? {
        Statement::CreateIndex { on, columns, expressions, depends_on, .. } => {
            Ok(Object { kind: ObjectKind::Index { on, columns, expressions }, depends_on, ..index.clone() })
        }
        _ => Err(SqlError::internal("an index' text makes no index")),
    }
}

/// A statement that makes a view, planned, and the columns of the view.
pub(crate) fn planned_text(text: &str, catalog: &CatalogSnapshot) -> Result<(RelationDesc, Statement), SqlError> {
    let statement = planned_statement(text, catalog)?;
    let desc = match &statement {
        Statement::CreateView { desc, .. } | Statement::CreateMaterializedView { desc, .. } => desc.clone(),
        _ => return Err(SqlError::internal("a view's text makes no view")),
    };
    Ok((desc, statement))
}

fn planned_statement(text: &str, catalog: &CatalogSnapshot) -> Result<Statement, SqlError> {
    let mut parsed = hw_sql::parse(text)?;
    let Some(parsed) = parsed.pop() else { return Err(SqlError::internal("a view without a text")) };
    let session = hw_sql::SessionContextInfo {
        search_path: vec!["public".into()],
        user: "headwater".into(),
        database: "headwater".into(),
        now_us: 0,
        settings: BTreeMap::new(),
        prepared: BTreeMap::new(),
        backend_pid: 0,
        inline: BTreeSet::new(),
    };
    Ok(hw_sql::plan(&parsed, catalog, &session, &hw_sql::ParamTypes::default())?.statement)
}

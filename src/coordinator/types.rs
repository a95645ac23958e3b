//! Types that statements define: CREATE TYPE, ALTER TYPE, and what depends on them.
//!
//! A new value of an enum reaches the descriptions of everything that has a column of the type, so that statements from then
//! on know it. Plans that are maintained keep the labels they were made with: what a view has computed from a row it must
//! compute again when the row goes.

use crate::core::Core;
use crate::ddl::Effect;
use hw_catalog::CatalogChange;
use hw_plan::function::{DeclaredType, Returns};
use hw_plan::statement::{QualifiedName, TypeChange, TypeDefinition};
use hw_plan::{CatalogView, FunctionDesc, Object, ObjectKind};
use hw_repr::types::{EnumDef, EnumLabel, LABEL_STEP, RowDef};
use hw_repr::{EnumType, GlobalId, RelationDesc, RowType, SqlError, SqlState, SqlType};

/// The defined types among the columns of relations, as objects.
pub(crate) fn types_in<'a>(descs: impl IntoIterator<Item = &'a RelationDesc>) -> Vec<GlobalId> {
    let mut oids = vec![];
    descs.into_iter().flat_map(|d| &d.columns).for_each(|c| c.ty.defined_types(&mut oids));
    oids.sort_unstable();
    oids.dedup();
    oids.into_iter().map(GlobalId).collect()
}

fn error(code: SqlState, message: String) -> SqlError {
    SqlError::new(code, message)
}

impl Core {
    pub(crate) fn create_type(
        &self,
        owner: &str,
        name: QualifiedName,
        definition: TypeDefinition,
        create_sql: String,
    ) -> Result<Effect, SqlError> {
        let found = self.snapshot.load().resolve(Some(&name.schema), &name.name);
        if found.is_some_and(|o| matches!(o.kind, ObjectKind::Type(_))) {
            return Err(error(SqlState::DUPLICATE_OBJECT, format!("type \"{}\" already exists", name.name)));
        }
        let oid = self.catalog.next_oid();
        let (schema, type_name) = (name.schema.clone(), name.name.clone());
        let mut depends_on = vec![];
        let ty = match definition {
            TypeDefinition::Enum(labels) => {
                let label = |(at, name): (i64, String)| EnumLabel { name, order: at * LABEL_STEP };
                let labels = (0..).zip(labels).map(label).collect();
                SqlType::Enum(EnumType::new(EnumDef { oid, schema, name: type_name, labels })?)
            }
            TypeDefinition::Row(fields) => {
                fields.iter().for_each(|f| f.ty.defined_types(&mut depends_on));
                SqlType::Row(RowType::new(RowDef { oid, schema, name: type_name, fields })?)
            }
        };
        depends_on.sort_unstable();
        depends_on.dedup();
        let depends_on = depends_on.into_iter().map(GlobalId).collect();
        self.create_as(|| GlobalId(oid), owner, name, false, create_sql, depends_on, ObjectKind::Type(ty))
    }

    pub(crate) fn alter_type(&self, id: GlobalId, change: TypeChange) -> Result<Effect, SqlError> {
        let catalog = self.snapshot.load();
        let object =
            catalog.get(id).ok_or_else(|| error(SqlState::UNDEFINED_OBJECT, "the type does not exist".into()))?;
        let ObjectKind::Type(SqlType::Enum(old)) = object.kind else {
            return Err(error(SqlState::WRONG_OBJECT_TYPE, format!("{} is not an enum", object.name)));
        };
        let mut def = old.def().clone();
        match change {
            TypeChange::AddValue { label, beside, if_not_exists } => {
                if old.label(&label).is_some() {
                    let e = error(SqlState::DUPLICATE_OBJECT, format!("enum label \"{label}\" already exists"));
                    return crate::ddl::exists(e, if_not_exists);
                }
                let at = place(&def, beside)?;
                let order = order_at(&def, at)?;
                def.labels.insert(at, EnumLabel { name: label, order });
            }
            TypeChange::RenameValue { from, to } => {
                if old.label(&from).is_none() {
                    return Err(not_a_label(&from));
                }
                if old.label(&to).is_some() {
                    return Err(error(SqlState::DUPLICATE_OBJECT, format!("enum label \"{to}\" already exists")));
                }
                if !catalog.dependants(id).is_empty() {
                    return Err(SqlError::unsupported(format!(
                        "renaming a value of type {} is not supported while something depends on the type",
                        object.name
                    ))
                    .hint("Rows hold the label. Add a value and update the rows instead."));
                }
                def.labels.iter_mut().filter(|l| l.name == from).for_each(|l| l.name.clone_from(&to));
            }
        }
        let new = SqlType::Enum(EnumType::new(def)?);
        let mut changes = vec![CatalogChange::UpdateObject(redefine(&object, new)?)];
        for user in catalog.dependants(id) {
            if let Some(user) = catalog.get(user) {
                let redefined = redefine(&user, new)?;
                changes.push(CatalogChange::UpdateObject(redefined));
            }
        }
        Ok(Effect { changes, ..Effect::default() })
    }

    /// `2BP01` where a type goes that columns of tables or sources have: these would have to go with it.
    pub(crate) fn check_drop_of_types(&self, roots: &[GlobalId], others: &[GlobalId]) -> Result<(), SqlError> {
        let catalog = self.snapshot.load();
        let is_type = |id: &GlobalId| catalog.get(*id).is_some_and(|o| matches!(o.kind, ObjectKind::Type(_)));
        if !roots.iter().any(is_type) {
            return Ok(());
        }
        let holds = |o: &Object| {
            matches!(o.kind, ObjectKind::Table(_) | ObjectKind::Source(_) | ObjectKind::SourceOutput { .. })
        };
        match others.iter().filter_map(|id| catalog.get(*id)).find(|o| holds(o)) {
            None => Ok(()),
            Some(user) => {
                let message = "cannot drop a type that columns have".to_string();
                Err(error(SqlState::DEPENDENT_OBJECTS, message)
                    .detail(format!("\"{}\" has a column of it.", user.name))
                    .hint("Drop the relation first."))
            }
        }
    }
}

fn not_a_label(label: &str) -> SqlError {
    error(SqlState::INVALID_PARAMETER, format!("\"{label}\" is not an existing enum label"))
}

/// Where a new label goes among the others.
fn place(def: &EnumDef, beside: Option<(bool, String)>) -> Result<usize, SqlError> {
    let Some((before, neighbour)) = beside else { return Ok(def.labels.len()) };
    let found = def.labels.iter().position(|l| l.name == neighbour);
    let at = found.ok_or_else(|| not_a_label(&neighbour))?;
    Ok(if before { at } else { at + 1 })
}

/// An order between those of the neighbours; `54000` where there is none left.
fn order_at(def: &EnumDef, at: usize) -> Result<i64, SqlError> {
    let before = at.checked_sub(1).and_then(|at| def.labels.get(at)).map(|l| l.order);
    let after = def.labels.get(at).map(|l| l.order);
    let found = match (before, after) {
        (None, None) => Some(0),
        (Some(low), None) => low.checked_add(LABEL_STEP),
        (None, Some(high)) => high.checked_sub(LABEL_STEP),
        (Some(low), Some(high)) => Some(low + (high - low) / 2).filter(|middle| *middle > low),
    };
    found.ok_or_else(|| {
        error(SqlState::PROGRAM_LIMIT, format!("no more values can be added to type {} at this place", def.name))
    })
}

/// An object as it is with the new definition of a type.
pub(crate) fn redefine(object: &Object, new: SqlType) -> Result<Object, SqlError> {
    let mut object = object.clone();
    let columns = |desc: &mut RelationDesc| {
        desc.columns.iter_mut().try_for_each(|c| {
            c.ty = c.ty.redefined(new)?;
            Ok::<_, SqlError>(())
        })
    };
    match &mut object.kind {
        ObjectKind::Type(ty) => *ty = ty.redefined(new)?,
        ObjectKind::Table(desc)
        | ObjectKind::SourceOutput { desc, .. }
        | ObjectKind::View { desc, .. }
        | ObjectKind::MaterializedView { desc, .. } => columns(desc)?,
        ObjectKind::Source(source) => source.outputs.iter_mut().try_for_each(|(_, desc)| columns(desc))?,
        ObjectKind::Function(f) => redefine_function(f, new)?,
        ObjectKind::Connection(_) | ObjectKind::Index { .. } => {}
    }
    Ok(object)
}

fn redefine_function(f: &mut FunctionDesc, new: SqlType) -> Result<(), SqlError> {
    let declared = |ty: &mut DeclaredType| {
        if let DeclaredType::Of(ty) = ty {
            *ty = ty.redefined(new)?;
        }
        Ok::<_, SqlError>(())
    };
    f.parameters.iter_mut().try_for_each(|p| declared(&mut p.ty))?;
    match &mut f.returns {
        Returns::Value(ty) | Returns::Set(ty) => declared(ty),
        Returns::Table(columns) => columns.iter_mut().try_for_each(|(_, ty)| {
            *ty = ty.redefined(new)?;
            Ok(())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{order_at, place};
    use hw_repr::types::{EnumDef, EnumLabel, LABEL_STEP};

    fn def(labels: &[(&str, i64)]) -> EnumDef {
        let labels = labels.iter().map(|(n, order)| EnumLabel { name: (*n).into(), order: *order }).collect();
        EnumDef { oid: 1, schema: "public".into(), name: "mood".into(), labels }
    }

    #[test]
    fn labels_go_between_others_until_there_is_no_room() {
        let mut mood = def(&[("a", 0), ("b", LABEL_STEP)]);
        assert_eq!(order_at(&mood, place(&mood, None).unwrap()).unwrap(), 2 * LABEL_STEP);
        assert_eq!(order_at(&mood, place(&mood, Some((true, "a".into()))).unwrap()).unwrap(), -LABEL_STEP);
        assert!(place(&mood, Some((true, "z".into()))).is_err());
        let mut added = 0;
        while let Ok(order) = order_at(&mood, 1) {
            assert!(mood.labels[0].order < order && order < mood.labels[1].order);
            mood.labels.insert(1, EnumLabel { name: format!("x{added}"), order });
            added += 1;
        }
        assert_eq!(added, 32);
    }
}

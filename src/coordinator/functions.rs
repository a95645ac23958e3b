//! Functions that statements define: CREATE FUNCTION, and what depends on them.
//!
//! A function is inlined where it is called. What is planned anew at each use (views that are not materialized, defaults,
//! other functions) follows a replaced definition; what has been planned for good (materialized views, checks and generated
//! columns of tables, indexes) would go on with the old one, so a function that these use cannot be replaced.

use crate::core::Core;
use crate::ddl::Effect;
use crate::drop::noun;
use hw_catalog::CatalogChange;
use hw_catalog::snapshot::duplicate_function;
use hw_plan::function::{FunctionDesc, Returns};
use hw_plan::statement::QualifiedName;
use hw_plan::{CatalogView, Object, ObjectKind, TableRules};
use hw_repr::{GlobalId, SqlError, SqlState};

fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::new("42P13"), message)
}

impl Core {
    pub(crate) fn create_function(
        &self,
        owner: &str,
        name: QualifiedName,
        desc: FunctionDesc,
        replaces: Option<GlobalId>,
        create_sql: String,
        depends_on: Vec<GlobalId>,
    ) -> Result<Effect, SqlError> {
        self.check_dependencies(&depends_on)?;
        let catalog = self.snapshot.load();
        let signature = desc.signature();
        let same =
            |o: &&std::sync::Arc<Object>| matches!(&o.kind, ObjectKind::Function(f) if f.signature() == signature);
        let found = catalog.functions(&name.schema, &name.name).iter().find(same).cloned();
        let Some(old) = found else {
            let object = Object {
                id: GlobalId(self.catalog.next_oid()),
                schema: name.schema,
                name: name.name,
                owner: owner.into(),
                create_sql,
                depends_on,
                kind: ObjectKind::Function(desc),
                rules: TableRules::default(),
            };
            let changes = vec![CatalogChange::CreateObject(object.clone())];
            return Ok(Effect { changes, created: vec![object], ..Effect::default() });
        };
        if replaces.is_none() {
            return Err(duplicate_function(&name.name));
        }
        self.check_replaced(&old, &desc)?;
        let object = Object { create_sql, depends_on, kind: ObjectKind::Function(desc), ..old.as_ref().clone() };
        Ok(Effect { changes: vec![CatalogChange::UpdateObject(object)], ..Effect::default() })
    }

    /// What may become of a function that exists.
    fn check_replaced(&self, old: &Object, new: &FunctionDesc) -> Result<(), SqlError> {
        let ObjectKind::Function(was) = &old.kind else { return Ok(()) };
        let full = format!("{}({})", old.name, was.signature());
        let hint = format!("Use DROP FUNCTION {full} first.");
        let types = |r: &Returns| match r {
            Returns::Table(columns) => Returns::Table(columns.iter().map(|(_, t)| (String::new(), *t)).collect()),
            other => other.clone(),
        };
        if types(&was.returns) != types(&new.returns) {
            return Err(invalid("cannot change return type of existing function".into()).hint(hint));
        }
        for (before, after) in was.parameters.iter().zip(&new.parameters) {
            if let Some(name) = before.name.as_ref().filter(|n| after.name.as_ref() != Some(n)) {
                return Err(invalid(format!("cannot change name of input parameter \"{name}\"")).hint(hint));
            }
            if before.default.is_some() && after.default.is_none() {
                return Err(invalid("cannot remove parameter defaults from existing function".into()).hint(hint));
            }
        }
        let catalog = self.snapshot.load();
        let keeps = |o: &std::sync::Arc<Object>| match &o.kind {
            ObjectKind::MaterializedView { .. } | ObjectKind::Table(_) => true,
            ObjectKind::Index { expressions, .. } => !expressions.is_empty(),
            _ => false,
        };
        match catalog.dependants(old.id).iter().filter_map(|id| catalog.get(*id)).find(keeps) {
            None => Ok(()),
            Some(user) => {
                let what = noun(&user);
                let message = format!("cannot replace function {full} because other objects depend on it");
                Err(SqlError::new(SqlState::DEPENDENT_OBJECTS, message)
                    .detail(format!("{what} {} was made with its definition", user.name))
                    .hint(format!("Drop the {what} and create it again behind the function.")))
            }
        }
    }

    /// `2BP01` where a function goes that tables call: the tables would have to go with it.
    pub(crate) fn check_drop_of_functions(&self, roots: &[GlobalId], others: &[GlobalId]) -> Result<(), SqlError> {
        let catalog = self.snapshot.load();
        let is_function = |id: &GlobalId| catalog.get(*id).is_some_and(|o| matches!(o.kind, ObjectKind::Function(_)));
        if !roots.iter().any(is_function) {
            return Ok(());
        }
        match others.iter().filter_map(|id| catalog.get(*id)).find(|o| matches!(o.kind, ObjectKind::Table(_))) {
            None => Ok(()),
            Some(user) => {
                let message = "cannot drop a function that a table calls".to_string();
                Err(SqlError::new(SqlState::DEPENDENT_OBJECTS, message)
                    .detail(format!("A default, a check or a generated column of \"{}\" calls it.", user.name))
                    .hint("Drop the table first."))
            }
        }
    }
}

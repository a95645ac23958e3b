//! ALTER of objects: which one, and whether the statement is for its kind.

use super::{Planning, is_system_schema, kind_of, plain, wrong_kind};
use crate::Planned;
use crate::parse::ast::{DropKind, NameRef};
use hw_plan::Statement;
use hw_plan::statement::{AlterTarget, Alteration};
use hw_repr::{SqlError, SqlState};

impl Planning<'_> {
    pub(super) fn alter(
        &self,
        kind: DropKind,
        if_exists: bool,
        name: &NameRef,
        change: &Alteration,
    ) -> Result<Planned, SqlError> {
        let tag = kind.alter_tag();
        let change = self.alteration(change);
        if kind == DropKind::Schema {
            if !self.catalog.has_schema(&name.name) {
                let message = format!("schema \"{}\" does not exist", name.name);
                return Err(SqlError::new(SqlState::UNDEFINED_SCHEMA, message).at(name.position));
            }
            if is_system_schema(&name.name) {
                let message = format!("permission denied for schema {}", name.name);
                return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
            }
            return plain(Statement::Alter { target: AlterTarget::Schema(name.name.clone()), change, tag });
        }
        let object = match self.object(name) {
            Ok(object) => object,
            Err(_) if if_exists => {
                let skipped = vec![name.name.clone()];
                return plain(Statement::Drop { ids: vec![], schemas: vec![], cascade: false, kind: tag, skipped });
            }
            Err(e) if matches!(kind, DropKind::Type | DropKind::Connection) => {
                let message = format!("{} \"{}\" does not exist", kind.noun(), name.name);
                return Err(SqlError { code: SqlState::UNDEFINED_OBJECT, message, ..e });
            }
            Err(e) => return Err(e),
        };
        let is = kind_of(&object.kind);
        // As in PostgreSQL, ALTER TABLE is for whatever has rows.
        let relation = [DropKind::View, DropKind::MaterializedView, DropKind::Index];
        if is != Some(kind) && !(kind == DropKind::Table && is.is_some_and(|is| relation.contains(&is))) {
            return Err(wrong_kind(&object.name, kind).at(name.position));
        }
        if self.catalog.is_system(object.id) {
            let message = format!("permission denied: \"{}\" is a system catalog", object.name);
            return Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
        }
        if matches!(change, Alteration::RenameColumn { .. }) && object.desc().is_none() {
            return Err(wrong_kind(&object.name, DropKind::Table).at(name.position));
        }
        plain(Statement::Alter { target: AlterTarget::Object(object.id), change, tag })
    }

    /// `CURRENT_USER` and its kin by the name that they stand for.
    fn alteration(&self, change: &Alteration) -> Alteration {
        match change {
            Alteration::OwnerTo(role) if matches!(role.as_str(), "current_user" | "session_user" | "current_role") => {
                Alteration::OwnerTo(self.session.user.clone())
            }
            other => other.clone(),
        }
    }
}

//! CREATE TYPE and ALTER TYPE.

use super::create::{qualified, quote};
use super::{Planning, plain, wrong_kind};
use crate::Planned;
use crate::parse::ast::{DropKind, NameRef, TypeBody};
use hw_plan::statement::{TypeChange, TypeDefinition};
use hw_plan::{ObjectKind, Statement};
use hw_repr::types::RowField;
use hw_repr::{SqlError, SqlState};
use std::collections::BTreeSet;

/// Bytes of a label, as of every name.
const LABEL_BYTES_MAX: usize = 63;

fn check_label(label: &str) -> Result<(), SqlError> {
    if label.len() <= LABEL_BYTES_MAX {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INVALID_NAME, format!("invalid enum label \"{label}\""))
        .detail(format!("Labels must be {LABEL_BYTES_MAX} bytes or less.")))
}

impl Planning<'_> {
    pub(super) fn create_type(&self, name: &NameRef, body: &TypeBody) -> Result<Planned, SqlError> {
        let name = self.new_name(name)?;
        let (definition, shown) = match body {
            TypeBody::Enum(labels) => {
                let mut seen = BTreeSet::new();
                for label in labels {
                    check_label(label)?;
                    if !seen.insert(label) {
                        let message = format!("enum label \"{label}\" used more than once");
                        return Err(SqlError::new(SqlState::UNIQUE, message));
                    }
                }
                let quoted: Vec<String> = labels.iter().map(|l| format!("'{}'", l.replace('\'', "''"))).collect();
                (TypeDefinition::Enum(labels.clone()), format!("ENUM ({})", quoted.join(", ")))
            }
            TypeBody::Row(fields) => {
                let env = self.env(false);
                let mut seen = BTreeSet::new();
                let mut all: Vec<RowField> = vec![];
                for (field, ty) in fields {
                    if !seen.insert(field) {
                        let message = format!("column \"{field}\" specified more than once");
                        return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
                    }
                    all.push(RowField { name: field.clone(), ty: crate::types::named_type(&env, ty)? });
                }
                let shown: Vec<String> = all.iter().map(|f| format!("{} {}", quote(&f.name), f.ty)).collect();
                (TypeDefinition::Row(all), format!("({})", shown.join(", ")))
            }
        };
        let create_sql = format!("CREATE TYPE {} AS {shown}", qualified(&name));
        plain(Statement::CreateType { name, definition, create_sql })
    }

    pub(super) fn alter_type(&self, name: &NameRef, change: &TypeChange) -> Result<Planned, SqlError> {
        let missing = |e: SqlError| {
            let message = format!("type \"{}\" does not exist", name.name);
            SqlError { code: SqlState::UNDEFINED_OBJECT, message, ..e }
        };
        let object = self.object(name).map_err(missing)?;
        if !matches!(object.kind, ObjectKind::Type(_)) {
            return Err(wrong_kind(&object.name, DropKind::Type).at(name.position));
        }
        let (TypeChange::AddValue { label, .. } | TypeChange::RenameValue { to: label, .. }) = change;
        check_label(label)?;
        plain(Statement::AlterType { id: object.id, change: change.clone() })
    }
}

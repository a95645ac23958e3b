//! Changes of the catalog, as the tick log carries them, and the entries they are stored as.
//!
//! Everything is JSON with names for variants, so that a new variant never changes the meaning of stored bytes.

use crate::nested;
use crate::snapshot::{CatalogSnapshot, Role, SchemaEntry};
use crate::{ScramVerifierData, meta};
use hw_plan::Object;
use hw_repr::{GlobalId, SqlError, SqlState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    /// `CREATE SCHEMA`, owned by the superuser. Its OID follows from the schemas and roles made before it.
    CreateSchema {
        /// Its name.
        name: String,
    },
    /// `DROP SCHEMA`; it must be empty.
    DropSchema {
        /// Its name.
        name: String,
    },
    /// `ALTER SCHEMA`: a new name, a new owner. With the name, the objects in it follow as changes of their own.
    AlterSchema {
        /// Its name.
        name: String,
        /// Its new name.
        to: Option<String>,
        /// Its new owner.
        owner: Option<String>,
    },
    /// Any `CREATE` of an object. What it depends on must exist.
    CreateObject(Object),
    /// `DROP`; nothing may depend on it any more (drop dependants first).
    DropObject(GlobalId),
    /// The object of this id becomes this one: by other names, but it holds what it held.
    UpdateObject(Object),
    /// The object of this id becomes this one, from this tick on: it is computed in another way, or has other columns.
    ReplaceObject(Object),
    /// `CREATE ROLE`
    CreateRole {
        /// Its name.
        name: String,
        /// `SUPERUSER`
        superuser: bool,
    },
    /// `DROP ROLE`
    DropRole {
        /// Its name.
        name: String,
    },
    /// `ALTER ROLE ... PASSWORD`
    SetRolePassword {
        /// The role.
        role: String,
        /// What is kept of the password; `None` removes it.
        verifier: Option<ScramVerifierData>,
    },
    /// The first `SUBSCRIBE` to a relation: from here on its history is kept for those who come back, restarts included.
    KeepHistory(GlobalId),
    /// `RETAIN HISTORY` of a relation: how far back it can be read.
    RetainHistory {
        /// The relation.
        id: GlobalId,
        /// Milliseconds.
        ms: u64,
    },
    /// A setting of the whole server.
    SetSetting {
        /// Its name.
        name: String,
        /// Its value; `None` resets it.
        value: Option<String>,
    },
}

/// Names of entries.
pub(crate) mod keys {
    pub(crate) const DIGEST: &str = "meta/digest";
    pub(crate) const FORMAT: &str = "meta/format";
    pub(crate) const HISTORY: &str = "history/";
    pub(crate) const INSTALLATION: &str = "meta/installation";
    pub(crate) const LAST_APPLIED: &str = "meta/last_applied";
    pub(crate) const NEXT_OID: &str = "meta/next_oid";
    pub(crate) const NAMED_OIDS: &str = "meta/named_oids";
    pub(crate) const OBJECT: &str = "object/";
    pub(crate) const RETENTION: &str = "retention/";
    pub(crate) const ROLE: &str = "role/";
    pub(crate) const SCHEMA: &str = "schema/";
    pub(crate) const SETTING: &str = "setting/";
}

/// The bytes of a value. Refuses what would not come back as it was (JSON knows no NaN; nesting is limited).
pub(crate) fn encode<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<Vec<u8>, SqlError> {
    let bytes = nested::to_vec(value).map_err(|e| e.refusal())?;
    let back: T = nested::from_slice(&bytes).map_err(|e| e.refusal())?;
    if back != *value {
        return Err(SqlError::unsupported("the definition cannot be stored")
            .detail("it would be read back differently")
            .hint("It holds a constant that is no finite number; simplify the statement."));
    }
    Ok(bytes)
}

/// The value of bytes; `XX001` where they hold none.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SqlError> {
    nested::from_slice(bytes)
        .map_err(|e| SqlError::new(SqlState::DATA_CORRUPTED, format!("an entry of the catalog cannot be read: {e}")))
}

impl CatalogChange {
    /// Its bytes for the tick log. `0A000` or `54001` where the definition cannot be stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SqlError> {
        encode(self)
    }

    /// The change of [`CatalogChange::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<CatalogChange, SqlError> {
        decode(bytes)
    }

    /// The entries this change leaves, given the catalog after it.
    pub(crate) fn writes(&self, after: &CatalogSnapshot, out: &mut Vec<meta::Write1>) -> Result<(), SqlError> {
        if matches!(self, CatalogChange::CreateSchema { .. } | CatalogChange::CreateRole { .. }) {
            out.push((keys::NAMED_OIDS.into(), Some(encode(&after.named_oids())?)));
        }
        let (key, value) = match self {
            CatalogChange::CreateSchema { name } | CatalogChange::DropSchema { name } => {
                (format!("{}{name}", keys::SCHEMA), after.schema(name).map(encode::<SchemaEntry>).transpose()?)
            }
            CatalogChange::AlterSchema { name, to, .. } => {
                let entry = |name: &str| after.schema(name).map(encode::<SchemaEntry>).transpose();
                if let Some(to) = to {
                    out.push((format!("{}{to}", keys::SCHEMA), entry(to)?));
                }
                (format!("{}{name}", keys::SCHEMA), entry(name)?)
            }
            CatalogChange::CreateObject(object)
            | CatalogChange::UpdateObject(object)
            | CatalogChange::ReplaceObject(object) => object_entry(object.id, after)?,
            CatalogChange::DropObject(id) => {
                out.push(history_entry(*id, after)?);
                out.push(retention_entry(*id, after)?);
                object_entry(*id, after)?
            }
            CatalogChange::KeepHistory(id) => history_entry(*id, after)?,
            CatalogChange::RetainHistory { id, .. } => retention_entry(*id, after)?,
            CatalogChange::CreateRole { name, .. }
            | CatalogChange::DropRole { name }
            | CatalogChange::SetRolePassword { role: name, .. } => {
                (format!("{}{name}", keys::ROLE), after.role(name).map(encode::<Role>).transpose()?)
            }
            CatalogChange::SetSetting { name, .. } => {
                let value = after.settings().get(name).map(encode::<String>).transpose()?;
                (format!("{}{name}", keys::SETTING), value)
            }
        };
        out.push((key, value));
        Ok(())
    }
}

fn history_entry(id: GlobalId, after: &CatalogSnapshot) -> Result<meta::Write1, SqlError> {
    let value = after.keeps_history(id).then(|| encode::<GlobalId>(&id)).transpose()?;
    Ok((format!("{}{:010}", keys::HISTORY, id.0), value))
}

fn retention_entry(id: GlobalId, after: &CatalogSnapshot) -> Result<meta::Write1, SqlError> {
    let value = after.retentions().get(&id).map(|ms| encode::<(GlobalId, u64)>(&(id, *ms))).transpose()?;
    Ok((format!("{}{:010}", keys::RETENTION, id.0), value))
}

fn object_entry(id: GlobalId, after: &CatalogSnapshot) -> Result<meta::Write1, SqlError> {
    let value = after.user_object(id).map(|o| encode::<Object>(o)).transpose()?;
    Ok((format!("{}{:010}", keys::OBJECT, id.0), value))
}

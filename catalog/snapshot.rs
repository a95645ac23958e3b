//! An immutable snapshot of the catalog: name resolution, dependencies, and what a change makes of it.

use crate::builtin;
use crate::change::{CatalogChange, decode, keys};
use crate::{FIRST_USER_OID, SUPERUSER, ScramVerifierData};
use hw_plan::{CatalogView, Object, ObjectKind};
use hw_repr::{GlobalId, SqlError, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Where a name without a schema is looked for.
pub const SEARCH_PATH: [&str; 4] = ["public", "pg_catalog", "headwater", "information_schema"];
/// Schemas that hold no user objects.
pub const SYSTEM_SCHEMAS: [(&str, u32); 3] = [("pg_catalog", 11), ("headwater", 9000), ("information_schema", 13183)];
/// OID of the schema `public`, PostgreSQL's.
pub const PUBLIC_OID: u32 = 2200;
/// OID of the superuser, PostgreSQL's.
pub const SUPERUSER_OID: u32 = 10;
/// Primary keys are no objects: in `pg_index` the key of table n has this OID plus n. Objects stay below [`NAMED_OIDS`].
pub const PRIMARY_KEY_OIDS: u32 = 1 << 30;
/// Schemas and roles made by users get OIDs from here on, counted by a counter of their own, so that their OIDs follow
/// from the log alone.
pub const NAMED_OIDS: u32 = 1 << 29;
/// The longest name, in bytes, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaEntry {
    /// OID.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Owner.
    pub owner: String,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// OID.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// What is kept of its password.
    pub verifier: Option<ScramVerifierData>,
}

/// The catalog at one instant. Cloning shares the objects.
#[derive(Clone, Debug)]
pub struct CatalogSnapshot {
    installation: Uuid,
    schemas: BTreeMap<String, SchemaEntry>,
    roles: BTreeMap<String, Role>,
    settings: BTreeMap<String, String>,
    /// Relations that have been subscribed to.
    histories: BTreeSet<GlobalId>,
    /// `RETAIN HISTORY`, ms.
    retentions: BTreeMap<GlobalId, u64>,
    /// The next OID of a schema or role.
    named_oids: u32,
    /// User objects.
    objects: BTreeMap<GlobalId, Arc<Object>>,
    /// User objects by schema and name.
    names: HashMap<String, HashMap<String, GlobalId>>,
    /// Object -> those that name it in `depends_on` or by their kind.
    used_by: HashMap<GlobalId, BTreeSet<GlobalId>>,
}

fn error(state: SqlState, message: String) -> SqlError {
    SqlError::new(state, message)
}

/// An empty catalog of no installation, until the real one is read.
impl Default for CatalogSnapshot {
    fn default() -> Self {
        Self::initial(Uuid::nil())
    }
}

impl CatalogSnapshot {
    /// What a new data directory has: schema `public`, the system schemas, the superuser.
    pub(crate) fn initial(installation: Uuid) -> CatalogSnapshot {
        let schema = |name: &str, oid| SchemaEntry { oid, name: name.into(), owner: SUPERUSER.into() };
        let mut schemas = BTreeMap::from([("public".into(), schema("public", PUBLIC_OID))]);
        schemas.extend(SYSTEM_SCHEMAS.iter().map(|(name, oid)| ((*name).to_owned(), schema(name, *oid))));
        let role = Role { oid: SUPERUSER_OID, name: SUPERUSER.into(), superuser: true, verifier: None };
        CatalogSnapshot {
            installation,
            schemas,
            roles: BTreeMap::from([(SUPERUSER.into(), role)]),
            settings: BTreeMap::new(),
            histories: BTreeSet::new(),
            retentions: BTreeMap::new(),
            named_oids: NAMED_OIDS,
            objects: BTreeMap::new(),
            names: HashMap::new(),
            used_by: HashMap::new(),
        }
    }

    /// Where stored entries are loaded into: `public` is an entry, as it can be dropped.
    pub(crate) fn without_public(installation: Uuid) -> CatalogSnapshot {
        let mut snapshot = Self::initial(installation);
        snapshot.schemas.remove("public");
        snapshot
    }

    /// Names this installation.
    pub fn installation(&self) -> Uuid {
        self.installation
    }
    /// A schema by name.
    pub fn schema(&self, name: &str) -> Option<&SchemaEntry> {
        self.schemas.get(name)
    }
    /// Every schema, by name.
    pub fn schemas(&self) -> impl Iterator<Item = &SchemaEntry> {
        self.schemas.values()
    }
    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }
    /// Every role, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }
    /// True where some role has a password: then nobody is trusted.
    pub fn has_password(&self) -> bool {
        self.roles.values().any(|r| r.verifier.is_some())
    }
    /// Settings of the whole server that were changed.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }
    /// Relations that have been subscribed to: their history is kept for those who come back.
    pub fn histories(&self) -> &BTreeSet<GlobalId> {
        &self.histories
    }
    /// True where a relation is one of [`CatalogSnapshot::histories`].
    pub fn keeps_history(&self, id: GlobalId) -> bool {
        self.histories.contains(&id)
    }
    /// Relations that can be read as they were, and how far back, in ms.
    pub fn retentions(&self) -> &BTreeMap<GlobalId, u64> {
        &self.retentions
    }
    /// A user object.
    pub fn user_object(&self, id: GlobalId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }
    /// User objects of a schema, by id.
    pub fn objects_in(&self, schema: &str) -> Vec<Arc<Object>> {
        self.objects.values().filter(|o| o.schema == schema).cloned().collect()
    }
    /// The objects that name this one directly, by id.
    pub fn direct_dependants(&self, id: GlobalId) -> Vec<GlobalId> {
        self.used_by.get(&id).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// Everything that depends on an object, directly or not, without itself, in the order in which it can be dropped.
    pub fn dependants(&self, id: GlobalId) -> Vec<GlobalId> {
        let mut wanted = BTreeSet::new();
        let mut open = vec![id];
        while let Some(at) = open.pop() {
            open.extend(self.direct_dependants(at).into_iter().filter(|user| wanted.insert(*user)));
        }
        // Users first; of those that can go, the youngest.
        let users = |id: &GlobalId| self.used_by.get(id).map_or(0, BTreeSet::len);
        let mut left: BTreeMap<GlobalId, usize> = wanted.iter().map(|id| (*id, users(id))).collect();
        let mut out = Vec::with_capacity(wanted.len());
        while let Some(id) = left.iter().rev().find(|(_, users)| **users == 0).map(|(id, _)| *id) {
            left.remove(&id);
            for used in self.objects.get(&id).map(|o| uses(o)).unwrap_or_default() {
                if let Some(users) = left.get_mut(&used) {
                    *users -= 1;
                }
            }
            out.push(id);
        }
        debug_assert!(left.is_empty(), "dependencies have no cycle");
        out
    }

    /// User objects, what is used before what uses it; else by id.
    pub fn in_order(&self) -> Vec<Arc<Object>> {
        let (mut out, mut seen) = (Vec::with_capacity(self.objects.len()), BTreeSet::new());
        // Not by recursion: chains of dependencies may be long.
        for id in self.objects.keys() {
            let mut stack = vec![(*id, false)];
            while let Some((id, used_are_out)) = stack.pop() {
                let Some(object) = self.objects.get(&id) else { continue };
                if used_are_out {
                    out.push(Arc::clone(object));
                } else if seen.insert(id) {
                    stack.push((id, true));
                    stack.extend(uses(object).into_iter().rev().filter(|u| !seen.contains(u)).map(|u| (u, false)));
                }
            }
        }
        out
    }

    /// Checks that an object may get this name: the schema exists and is not the system's, the name is free and not
    /// too long. Errors: `3F000`, `42501`, `42P07`, `42602`.
    pub fn validate_new_name(&self, schema: &str, name: &str) -> Result<(), SqlError> {
        validate_identifier(name)?;
        if !self.schemas.contains_key(schema) {
            return Err(error(SqlState::UNDEFINED_SCHEMA, format!("schema \"{schema}\" does not exist")));
        }
        if is_system_schema(schema) {
            return Err(error(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for schema {schema}"))
                .detail("System schemas hold only built-in relations."));
        }
        if self.resolve(Some(schema), name).is_some() {
            return Err(error(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
        }
        Ok(())
    }

    fn validate_new(&self, object: &Object) -> Result<(), SqlError> {
        let ObjectKind::Function(_) = &object.kind else {
            return self.validate_new_name(&object.schema, &object.name);
        };
        validate_identifier(&object.name)?;
        if !self.schemas.contains_key(&object.schema) || is_system_schema(&object.schema) {
            return Err(error(
                SqlState::UNDEFINED_SCHEMA,
                format!("schema \"{}\" holds no functions of users", object.schema),
            ));
        }
        if self.names.get(&object.schema).is_some_and(|n| n.contains_key(&key_of(object))) {
            return Err(duplicate_function(&object.name));
        }
        Ok(())
    }

    /// The catalog after these changes, in order. On an error none is made.
    pub fn with_changes(&self, changes: &[CatalogChange]) -> Result<CatalogSnapshot, SqlError> {
        let mut next = self.clone();
        changes.iter().try_for_each(|change| next.change(change))?;
        Ok(next)
    }

    fn change(&mut self, change: &CatalogChange) -> Result<(), SqlError> {
        match change {
            CatalogChange::CreateSchema { name } => self.create_schema(name),
            CatalogChange::DropSchema { name } => self.drop_schema(name),
            CatalogChange::CreateObject(object) => self.create_object(object),
            CatalogChange::DropObject(id) => self.drop_object(*id),
            CatalogChange::AlterSchema { name, to, owner } => self.alter_schema(name, to.as_deref(), owner.as_deref()),
            CatalogChange::UpdateObject(object) | CatalogChange::ReplaceObject(object) => self.update_object(object),
            CatalogChange::CreateRole { name, superuser } => self.create_role(name, *superuser),
            CatalogChange::DropRole { name } => self.drop_role(name),
            CatalogChange::SetRolePassword { role, verifier } => {
                let found = self.roles.get_mut(role);
                found.ok_or_else(|| undefined_role(role))?.verifier.clone_from(verifier);
                Ok(())
            }
            CatalogChange::KeepHistory(id) if self.objects.contains_key(id) => {
                self.histories.insert(*id);
                Ok(())
            }
            CatalogChange::RetainHistory { id, ms } if self.objects.contains_key(id) => {
                self.retentions.insert(*id, *ms);
                Ok(())
            }
            CatalogChange::KeepHistory(id) | CatalogChange::RetainHistory { id, .. } => {
                Err(error(SqlState::UNDEFINED_TABLE, format!("relation {id} does not exist")))
            }
            CatalogChange::SetSetting { name, value } => {
                match value {
                    Some(value) => self.settings.insert(name.clone(), value.clone()),
                    None => self.settings.remove(name),
                };
                Ok(())
            }
        }
    }

    fn create_schema(&mut self, name: &str) -> Result<(), SqlError> {
        validate_identifier(name)?;
        if name.starts_with("pg_") {
            return Err(error(SqlState::new("42939"), format!("unacceptable schema name \"{name}\""))
                .detail("The prefix \"pg_\" is reserved for system schemas."));
        }
        if self.schemas.contains_key(name) {
            return Err(error(SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists")));
        }
        let oid = self.take_named_oid();
        self.schemas.insert(name.into(), SchemaEntry { oid, name: name.into(), owner: SUPERUSER.into() });
        Ok(())
    }

    fn take_named_oid(&mut self) -> u32 {
        self.named_oids += 1;
        self.named_oids - 1
    }

    pub(crate) fn named_oids(&self) -> u32 {
        self.named_oids
    }

    fn drop_schema(&mut self, name: &str) -> Result<(), SqlError> {
        if is_system_schema(name) {
            let message = format!("cannot drop schema {name} because it is required by the database system");
            return Err(error(SqlState::DEPENDENT_OBJECTS, message));
        }
        if self.names.get(name).is_some_and(|n| !n.is_empty()) {
            let message = format!("cannot drop schema {name} because other objects depend on it");
            return Err(error(SqlState::DEPENDENT_OBJECTS, message)
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        let dropped = self.schemas.remove(name);
        dropped
            .map(|_| ())
            .ok_or_else(|| error(SqlState::UNDEFINED_SCHEMA, format!("schema \"{name}\" does not exist")))
    }

    fn alter_schema(&mut self, name: &str, to: Option<&str>, owner: Option<&str>) -> Result<(), SqlError> {
        if is_system_schema(name) {
            let message = format!("permission denied for schema {name}");
            return Err(error(SqlState::INSUFFICIENT_PRIVILEGE, message));
        }
        if let Some(role) = owner.filter(|role| !self.roles.contains_key(*role)) {
            return Err(undefined_role(role));
        }
        let undefined = || error(SqlState::UNDEFINED_SCHEMA, format!("schema \"{name}\" does not exist"));
        if let Some(to) = to {
            let (oid, at) = (self.schemas.get(name).ok_or_else(undefined)?.oid, self.named_oids);
            self.create_schema(to)?;
            self.named_oids = at;
            let moved = self.schemas.remove(name).ok_or_else(undefined)?;
            self.schemas.insert(to.into(), SchemaEntry { oid, name: to.into(), owner: moved.owner });
        }
        let entry = self.schemas.get_mut(to.unwrap_or(name)).ok_or_else(undefined)?;
        if let Some(owner) = owner {
            entry.owner = owner.into();
        }
        Ok(())
    }

    fn create_object(&mut self, object: &Object) -> Result<(), SqlError> {
        self.validate_new(object)?;
        if object.id.0 < FIRST_USER_OID || object.id.0 >= NAMED_OIDS || self.objects.contains_key(&object.id) {
            return Err(SqlError::internal(format!("{} cannot be the identifier of a new object", object.id)));
        }
        self.check_uses(object)?;
        self.insert(Arc::new(object.clone()));
        Ok(())
    }

    fn check_uses(&self, object: &Object) -> Result<(), SqlError> {
        match uses(object).into_iter().find(|id| self.get(*id).is_none()) {
            Some(id) => Err(error(
                SqlState::UNDEFINED_OBJECT,
                format!("\"{}\" depends on object {}, which does not exist", object.name, id.0),
            )),
            None => Ok(()),
        }
    }

    fn insert(&mut self, object: Arc<Object>) {
        for used in uses(&object) {
            self.used_by.entry(used).or_default().insert(object.id);
        }
        let names = self.names.entry(object.schema.clone()).or_default();
        names.insert(key_of(&object), object.id);
        self.objects.insert(object.id, object);
    }

    fn remove(&mut self, id: GlobalId) -> Result<Arc<Object>, SqlError> {
        let object = self
            .objects
            .remove(&id)
            .ok_or_else(|| error(SqlState::UNDEFINED_OBJECT, format!("object {} does not exist", id.0)))?;
        if let Some(names) = self.names.get_mut(&object.schema) {
            names.remove(&key_of(&object));
        }
        for used in uses(&object) {
            if let Some(users) = self.used_by.get_mut(&used) {
                users.remove(&id);
            }
        }
        Ok(object)
    }

    fn drop_object(&mut self, id: GlobalId) -> Result<(), SqlError> {
        if let Some(user) = self.direct_dependants(id).first().and_then(|u| self.objects.get(u)) {
            let name = self.objects.get(&id).map_or("the object", |o| &o.name);
            let message = format!("cannot drop {name} because other objects depend on it");
            return Err(error(SqlState::DEPENDENT_OBJECTS, message)
                .detail(format!("{}.{} depends on {name}", user.schema, user.name))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.used_by.remove(&id);
        self.histories.remove(&id);
        self.retentions.remove(&id);
        self.remove(id).map(|_| ())
    }

    fn update_object(&mut self, object: &Object) -> Result<(), SqlError> {
        let old = self.remove(object.id)?;
        if (&old.schema, key_of(&old)) != (&object.schema, key_of(object)) {
            self.validate_new(object)?;
        }
        self.check_uses(object)?;
        if uses(object).contains(&object.id) || uses(object).iter().any(|u| self.dependants(object.id).contains(u)) {
            let message = format!("\"{}\" would depend on itself", object.name);
            return Err(error(SqlState::INVALID_DEFINITION, message));
        }
        self.insert(Arc::new(object.clone()));
        Ok(())
    }

    fn create_role(&mut self, name: &str, superuser: bool) -> Result<(), SqlError> {
        validate_identifier(name)?;
        if self.roles.contains_key(name) {
            return Err(error(SqlState::DUPLICATE_OBJECT, format!("role \"{name}\" already exists")));
        }
        let oid = self.take_named_oid();
        self.roles.insert(name.into(), Role { oid, name: name.into(), superuser, verifier: None });
        Ok(())
    }

    fn drop_role(&mut self, name: &str) -> Result<(), SqlError> {
        let owns = self.objects.values().any(|o| o.owner == name) || self.schemas.values().any(|s| s.owner == name);
        if name == SUPERUSER || owns {
            let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
            return Err(error(SqlState::DEPENDENT_OBJECTS, message));
        }
        self.roles.remove(name).map(|_| ()).ok_or_else(|| undefined_role(name))
    }

    /// Takes in a stored entry.
    pub(crate) fn load_entry(&mut self, key: &str, value: &[u8]) -> Result<(), SqlError> {
        if key.starts_with(keys::OBJECT) {
            self.insert(Arc::new(decode::<Object>(value)?));
        } else if key.starts_with(keys::SCHEMA) {
            let schema: SchemaEntry = decode(value)?;
            self.schemas.insert(schema.name.clone(), schema);
        } else if key.starts_with(keys::ROLE) {
            let role: Role = decode(value)?;
            self.roles.insert(role.name.clone(), role);
        } else if let Some(name) = key.strip_prefix(keys::SETTING) {
            self.settings.insert(name.to_owned(), decode(value)?);
        } else if key.starts_with(keys::HISTORY) {
            self.histories.insert(decode(value)?);
        } else if key.starts_with(keys::RETENTION) {
            let (id, ms) = decode::<(GlobalId, u64)>(value)?;
            self.retentions.insert(id, ms);
        } else if key == keys::NAMED_OIDS {
            self.named_oids = decode(value)?;
        } else if !key.starts_with("meta/") {
            return Err(error(SqlState::DATA_CORRUPTED, format!("the catalog has an unknown entry {key:?}")));
        }
        Ok(())
    }

    /// `XX001` where a stored object lacks what it needs.
    pub(crate) fn check_references(&self) -> Result<(), SqlError> {
        for object in self.objects.values() {
            self.check_uses(object).map_err(|e| error(SqlState::DATA_CORRUPTED, e.message))?;
            if !self.schemas.contains_key(&object.schema) {
                let message = format!("the catalog lacks schema \"{}\" of \"{}\"", object.schema, object.name);
                return Err(error(SqlState::DATA_CORRUPTED, message));
            }
        }
        Ok(())
    }

    /// An OID above those of all objects.
    pub(crate) fn oid_bound(&self) -> u32 {
        self.objects.keys().next_back().map_or(FIRST_USER_OID, |id| id.0 + 1)
    }
}

/// `42723`
pub fn duplicate_function(name: &str) -> SqlError {
    let message = format!("function \"{name}\" already exists with same argument types");
    error(SqlState::new("42723"), message)
}

/// Under which key of its schema an object is found: its name, or of a function, its name behind a NUL (which no name has)
/// with the types of its parameters.
fn key_of(object: &Object) -> String {
    match &object.kind {
        ObjectKind::Function(f) => format!("\0{}({})", object.name, f.signature()),
        _ => object.name.clone(),
    }
}

/// What an object needs: `depends_on` and what its kind names.
fn uses(object: &Object) -> BTreeSet<GlobalId> {
    let mut ids: BTreeSet<GlobalId> = object.depends_on.iter().copied().collect();
    match &object.kind {
        ObjectKind::SourceOutput { source, .. } => ids.insert(*source),
        ObjectKind::Index { on, .. } => ids.insert(*on),
        _ => false,
    };
    ids
}

fn is_system_schema(name: &str) -> bool {
    SYSTEM_SCHEMAS.iter().any(|(n, _)| *n == name)
}

fn undefined_role(name: &str) -> SqlError {
    error(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
}

fn validate_identifier(name: &str) -> Result<(), SqlError> {
    if name.is_empty() {
        return Err(error(SqlState::SYNTAX, "zero-length delimited identifier".into()));
    }
    if name.contains('\0') {
        return Err(error(SqlState::INVALID_NAME, "a name must not contain NUL".into()));
    }
    if name.len() > NAME_BYTES_MAX {
        let begin: String = name.chars().take(40).collect();
        return Err(error(SqlState::new("42622"), format!("the name \"{begin}...\" is too long"))
            .detail(format!("It has {} bytes; a name has at most {NAME_BYTES_MAX}.", name.len())));
    }
    Ok(())
}

impl CatalogView for CatalogSnapshot {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Arc<Object>> {
        let in_schema = |schema: &str| match self.names.get(schema).and_then(|n| n.get(name)) {
            Some(id) => self.objects.get(id).cloned(),
            None => builtin::resolve(schema, name),
        };
        match schema {
            Some(schema) => in_schema(schema),
            None => SEARCH_PATH.iter().find_map(|schema| in_schema(schema)),
        }
    }
    fn get(&self, id: GlobalId) -> Option<Arc<Object>> {
        self.objects.get(&id).cloned().or_else(|| builtin::get(id))
    }
    fn objects(&self) -> Vec<Arc<Object>> {
        self.objects.values().cloned().collect()
    }
    fn has_schema(&self, schema: &str) -> bool {
        self.schemas.contains_key(schema)
    }
    fn facts(&self) -> hw_plan::ObjectFacts {
        crate::facts::facts(self)
    }
    fn is_always_empty(&self, id: GlobalId) -> bool {
        let rows = builtin::get(id).and_then(|o| builtin::rows_static(&o.schema, &o.name));
        rows.is_some_and(|rows| rows.is_empty())
    }
}

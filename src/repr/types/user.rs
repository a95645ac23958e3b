//! Types that statements define, and types of rows.
//!
//! [`SqlType`] is small and is copied everywhere, so a definition is kept once for the process and a type points at it. A
//! definition never changes: `ALTER TYPE` makes another one with the same OID, and two types of one OID are equal whatever
//! they define. What is kept of a type (in the catalog, in plans) is the whole definition, so nothing has to be looked up to
//! read it back, and a plan goes on with the labels that it was made with. Positions in the registry stand in the metadata of
//! Arrow fields alone, and never leave the process.
//!
//! Bounded: more than [`DEFINITIONS_MAX`] definitions are refused.

use super::SqlType;
use crate::error::{SqlError, SqlState};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, PoisonError, RwLock};

/// OID of `record`, which rows without a named type have.
pub const RECORD_OID: u32 = 2249;
/// OID of `record[]`.
const RECORD_ARRAY_OID: u32 = 2287;
/// The type of arrays of the type with OID n has this OID plus n: it is no object of the catalog.
pub const ARRAY_TYPE_OIDS: u32 = 0x6000_0000;
/// Definitions that one process keeps.
pub const DEFINITIONS_MAX: usize = 1 << 16;
/// Between the orders of two labels that are declared one behind the other.
pub const LABEL_STEP: i64 = 1 << 32;

/// A label of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumLabel {
    /// Its text.
    pub name: String,
    /// Where it stands among the others. It never changes, whatever is added: values hold it.
    pub order: i64,
}

/// `CREATE TYPE name AS ENUM (...)`
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumDef {
    /// OID.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Labels, by their order.
    pub labels: Vec<EnumLabel>,
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowField {
    /// Its name; `f1` and so on where it has none.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
}

/// `CREATE TYPE name AS (...)`, or the type of a row that has no named one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowDef {
    /// OID; [`RECORD_OID`] where it has no name.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Fields, in order.
    pub fields: Vec<RowField>,
}

/// A definition and its position in the registry.
struct Kept<T> {
    position: usize,
    def: T,
}

/// An enum.
#[derive(Clone, Copy)]
pub struct EnumType(&'static Kept<EnumDef>);

/// A composite type, or the type of a row without one.
#[derive(Clone, Copy)]
pub struct RowType(&'static Kept<RowDef>);

#[derive(Default)]
struct Registry {
    by_signature: HashMap<String, SqlType>,
    by_oid: HashMap<u32, SqlType>,
    all: Vec<SqlType>,
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(RwLock::default);

/// The type that is kept under a signature, made where there is none.
fn keep(signature: String, oid: u32, make: impl FnOnce(usize) -> SqlType) -> Result<SqlType, SqlError> {
    if let Some(found) = REGISTRY.read().unwrap_or_else(PoisonError::into_inner).by_signature.get(&signature) {
        return Ok(*found);
    }
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = registry.by_signature.get(&signature) {
        return Ok(*found);
    }
    let position = registry.all.len();
    if position >= DEFINITIONS_MAX {
        return Err(SqlError::new(SqlState::PROGRAM_LIMIT, "too many types of rows are in use")
            .detail(format!("A server keeps no more than {DEFINITIONS_MAX} until it is started again.")));
    }
    let ty = make(position);
    registry.all.push(ty);
    registry.by_signature.insert(signature, ty);
    if oid != RECORD_OID {
        registry.by_oid.insert(oid, ty);
    }
    Ok(ty)
}

/// The type at a position of the registry.
pub(super) fn at(position: usize) -> Option<SqlType> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).all.get(position).copied()
}

/// The newest definition of an OID.
pub(super) fn by_oid(oid: u32) -> Option<SqlType> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).by_oid.get(&oid).copied()
}

/// A text that tells definitions apart, down to the labels and fields of the types within.
fn signature(ty: SqlType, out: &mut String) {
    match ty {
        SqlType::Enum(e) => out.push_str(&format!("#{}", e.0.position)),
        SqlType::Row(r) => out.push_str(&format!("#{}", r.0.position)),
        SqlType::Array(element) => {
            out.push_str("[]");
            signature(element.ty(), out);
        }
        other => out.push_str(&format!("{}:{}", other.oid(), other.typmod())),
    }
}

impl EnumType {
    /// The type of a definition. `54000` where too many are kept.
    pub fn new(def: EnumDef) -> Result<EnumType, SqlError> {
        let mut text = format!("enum {} {:?} {:?}", def.oid, def.schema, def.name);
        def.labels.iter().for_each(|l| text.push_str(&format!(" {:?}={}", l.name, l.order)));
        let oid = def.oid;
        let ty = keep(text, oid, |position| SqlType::Enum(EnumType(Box::leak(Box::new(Kept { position, def })))))?;
        match ty {
            SqlType::Enum(e) => Ok(e),
            other => Err(SqlError::internal(format!("{other} is no enum"))),
        }
    }

    /// What it is.
    pub fn def(self) -> &'static EnumDef {
        &self.0.def
    }

    /// Its place in the registry.
    pub(super) fn position(self) -> usize {
        self.0.position
    }

    /// The label with this text.
    pub fn label(self, name: &str) -> Option<&'static EnumLabel> {
        self.def().labels.iter().find(|l| l.name == name)
    }

    /// The label with this text; `22P02` where there is none.
    pub fn parse(self, name: &str) -> Result<&'static EnumLabel, SqlError> {
        self.label(name).ok_or_else(|| {
            let message = format!("invalid input value for enum {}: \"{name}\"", SqlType::Enum(self));
            SqlError::new(SqlState::INVALID_TEXT, message)
        })
    }
}

impl RowType {
    /// The type of a definition. `54000` where too many are kept.
    pub fn new(def: RowDef) -> Result<RowType, SqlError> {
        let mut text = format!("row {} {:?} {:?}", def.oid, def.schema, def.name);
        for field in &def.fields {
            text.push_str(&format!(" {:?}=", field.name));
            signature(field.ty, &mut text);
        }
        let oid = def.oid;
        let ty = keep(text, oid, |position| SqlType::Row(RowType(Box::leak(Box::new(Kept { position, def })))))?;
        match ty {
            SqlType::Row(r) => Ok(r),
            other => Err(SqlError::internal(format!("{other} is no row"))),
        }
    }

    /// The type of `ROW(...)` of values of these types.
    pub fn of_types(types: &[SqlType]) -> Result<RowType, SqlError> {
        let field = |(i, ty): (usize, &SqlType)| RowField { name: format!("f{}", i + 1), ty: *ty };
        RowType::record(types.iter().enumerate().map(field).collect())
    }

    /// The type of a row without a named one.
    pub fn record(fields: Vec<RowField>) -> Result<RowType, SqlError> {
        RowType::new(RowDef { oid: RECORD_OID, schema: "pg_catalog".into(), name: "record".into(), fields })
    }

    /// What it is.
    pub fn def(self) -> &'static RowDef {
        &self.0.def
    }

    /// Its place in the registry.
    pub(super) fn position(self) -> usize {
        self.0.position
    }

    /// True where it has no name of its own.
    pub fn is_record(self) -> bool {
        self.def().oid == RECORD_OID
    }

    /// Types of the fields.
    pub fn types(self) -> Vec<SqlType> {
        self.def().fields.iter().map(|f| f.ty).collect()
    }
}

impl PartialEq for EnumType {
    fn eq(&self, o: &Self) -> bool {
        self.def().oid == o.def().oid
    }
}
impl Eq for EnumType {}
impl Hash for EnumType {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.def().oid.hash(h);
    }
}
impl fmt::Debug for EnumType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnumType({} {})", self.def().oid, self.def().name)
    }
}
impl Serialize for EnumType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.def().serialize(to)
    }
}
impl<'de> Deserialize<'de> for EnumType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        EnumType::new(EnumDef::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl PartialEq for RowType {
    fn eq(&self, o: &Self) -> bool {
        match (self.is_record(), o.is_record()) {
            (true, true) => self.def().name == o.def().name && self.def().fields == o.def().fields,
            (false, false) => self.def().oid == o.def().oid,
            _ => false,
        }
    }
}
impl Eq for RowType {}
impl Hash for RowType {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.def().oid.hash(h);
        if self.is_record() {
            self.def().fields.hash(h);
        }
    }
}
impl fmt::Debug for RowType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowType({} {} {:?})", self.def().oid, self.def().name, self.def().fields)
    }
}
impl Serialize for RowType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.def().serialize(to)
    }
}
impl<'de> Deserialize<'de> for RowType {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RowType::new(RowDef::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// An enum or a row, as [`super::ElementType`] holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum UserType {
    Enum(EnumType),
    Row(RowType),
}

impl UserType {
    pub fn of(ty: SqlType) -> Option<UserType> {
        match ty {
            SqlType::Enum(e) => Some(UserType::Enum(e)),
            SqlType::Row(r) => Some(UserType::Row(r)),
            _ => None,
        }
    }

    pub fn ty(self) -> SqlType {
        match self {
            UserType::Enum(e) => SqlType::Enum(e),
            UserType::Row(r) => SqlType::Row(r),
        }
    }
}

/// The OID of arrays of the type with this OID.
pub fn array_oid(oid: u32) -> u32 {
    if oid == RECORD_OID { RECORD_ARRAY_OID } else { ARRAY_TYPE_OIDS + oid }
}

/// A name as messages and `format_type` have it: with its schema where that is not `public`, quoted where it must be.
pub(super) fn write_name(schema: &str, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quoted = |f: &mut fmt::Formatter<'_>, part: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let plain = part.starts_with(letter) && part.chars().all(|c| letter(c) || c.is_ascii_digit());
        if plain { f.write_str(part) } else { write!(f, "\"{}\"", part.replace('"', "\"\"")) }
    };
    if !matches!(schema, "public" | "pg_catalog") {
        quoted(f, schema)?;
        f.write_str(".")?;
    }
    quoted(f, name)
}

impl SqlType {
    /// The OIDs of the types that statements have defined within this one, itself included.
    pub fn defined_types(self, out: &mut Vec<u32>) {
        match self {
            SqlType::Enum(e) => out.push(e.def().oid),
            SqlType::Row(r) => {
                if !r.is_record() {
                    out.push(r.def().oid);
                }
                r.def().fields.iter().for_each(|f| f.ty.defined_types(out));
            }
            SqlType::Array(element) => element.ty().defined_types(out),
            _ => {}
        }
    }

    /// The type with `new` in the place of the type of its OID, within it too.
    pub fn redefined(self, new: SqlType) -> Result<SqlType, SqlError> {
        Ok(match self {
            SqlType::Enum(_) if self == new => new,
            SqlType::Row(r) => {
                let mut def = r.def().clone();
                for field in &mut def.fields {
                    field.ty = field.ty.redefined(new)?;
                }
                SqlType::Row(RowType::new(def)?)
            }
            SqlType::Array(element) => element.ty().redefined(new)?.array_of().unwrap_or(self),
            other => other,
        })
    }
}

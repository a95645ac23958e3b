//! Functions that statements define: their signature and their body, as the catalog keeps them.
//!
//! Names of functions are no names of relations: several functions of a schema have one name, told apart by the types of
//! their parameters. A body is the text of a query whose relations are qualified; it is planned where it is called.

use hw_repr::SqlType;
use serde::{Deserialize, Serialize};

/// A type of a parameter or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeclaredType {
    /// This type, without a modifier.
    Of(SqlType),
    /// `anyelement`: any type, the same for all.
    AnyElement,
    /// `anyarray`: an array of that type.
    AnyArray,
}

impl DeclaredType {
    /// The type, where `anyelement` is `element`; `None` where that is not known, or has no arrays.
    pub fn with(self, element: Option<SqlType>) -> Option<SqlType> {
        match self {
            DeclaredType::Of(ty) => Some(ty),
            DeclaredType::AnyElement => element,
            DeclaredType::AnyArray => element?.array_of(),
        }
    }

    /// OID in `pg_type`.
    pub fn oid(self) -> u32 {
        match self {
            DeclaredType::Of(ty) => ty.oid(),
            DeclaredType::AnyElement => 2283,
            DeclaredType::AnyArray => 2277,
        }
    }
}

impl std::fmt::Display for DeclaredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeclaredType::Of(ty) => ty.fmt(f),
            DeclaredType::AnyElement => f.write_str("anyelement"),
            DeclaredType::AnyArray => f.write_str("anyarray"),
        }
    }
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type.
    pub ty: DeclaredType,
    /// What it is where a call does not give it: SQL text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What a function gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returns {
    /// One value.
    Value(DeclaredType),
    /// `SETOF type`
    Set(DeclaredType),
    /// `TABLE (name type, ...)`, and `SETOF` of a relation or a composite type.
    Table(Vec<(String, SqlType)>),
}

/// How far the result of a function follows from its arguments, as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volatility {
    /// `IMMUTABLE`
    Immutable,
    /// `STABLE`
    Stable,
    /// `VOLATILE`
    Volatile,
}

/// `CREATE FUNCTION`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDesc {
    /// Its parameters, all of them IN.
    pub parameters: Vec<Parameter>,
    /// What it gives.
    pub returns: Returns,
    /// `STRICT`: NULL where an argument is.
    pub strict: bool,
    /// As declared.
    pub volatility: Volatility,
    /// The query, its relations qualified.
    pub body: String,
    /// The query as it was written.
    pub source: String,
}

impl FunctionDesc {
    /// Whether it gives rows.
    pub fn is_set(&self) -> bool {
        !matches!(self.returns, Returns::Value(_))
    }

    /// The types of the parameters, as a signature shows them: what tells functions of one name apart.
    pub fn signature(&self) -> String {
        self.parameters.iter().map(|p| p.ty.to_string()).collect::<Vec<_>>().join(", ")
    }
}

//! Names of types.

use crate::planner::Env;
use hw_repr::{AliasType, SqlError, SqlState, SqlType};
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

/// The type a name in a statement stands for. `42704` where there is none, `0A000` where it is not supported.
pub(crate) fn sql_type(ty: &DataType) -> Result<SqlType, SqlError> {
    Ok(match ty {
        DataType::Boolean | DataType::Bool => SqlType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => SqlType::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => SqlType::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => SqlType::Int8,
        DataType::Real | DataType::Float4 => SqlType::Float4,
        DataType::DoublePrecision | DataType::Float8 => SqlType::Float8,
        DataType::Float(ExactNumberInfo::None) => SqlType::Float8,
        DataType::Float(ExactNumberInfo::Precision(p)) => match p {
            1..=24 => SqlType::Float4,
            25..=53 => SqlType::Float8,
            _ => return Err(SqlError::new(SqlState::INVALID_PARAMETER, "precision for type float must be 1 to 53")),
        },
        DataType::Numeric(n) | DataType::Decimal(n) | DataType::Dec(n) => numeric(n)?,
        DataType::Text => SqlType::Text,
        DataType::Varchar(n) | DataType::CharacterVarying(n) | DataType::CharVarying(n) => varchar(n)?,
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            limited(*p, SqlType::Time, AliasType::Time)
        }
        DataType::Time(p, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            limited(*p, SqlType::TimeTz, AliasType::TimeTz)
        }
        DataType::Timestamp(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            limited(*p, SqlType::Timestamp, AliasType::Timestamp)
        }
        DataType::Timestamp(p, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            limited(*p, SqlType::TimestampTz, AliasType::TimestampTz)
        }
        DataType::Interval { fields: None, precision: None } => SqlType::Interval,
        DataType::Interval { fields, precision } => {
            interval(fields.as_ref().map(|f| f.to_string().to_ascii_lowercase()), *precision)?
        }
        DataType::Uuid => SqlType::Uuid,
        DataType::JSONB => SqlType::Jsonb,
        DataType::JSON => SqlType::Json,
        DataType::Char(n) | DataType::Character(n) => character(n)?,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => array_of(sql_type(element)?)?,
        DataType::Regclass => return Err(no_reg_column("regclass")),
        DataType::Custom(name, args) => return custom(&spelled(name), args),
        DataType::Bit(n) => SqlType::Bit(Some(bit_length("bit", n.unwrap_or(1))?)),
        DataType::BitVarying(n) | DataType::VarBit(n) => {
            SqlType::Varbit(n.map(|n| bit_length("varbit", n)).transpose()?)
        }
        DataType::TsVector | DataType::TsQuery | DataType::GeometricType(_) => {
            return Err(SqlError::unsupported(format!("type {} is not supported", ty.to_string().to_lowercase())));
        }
        other => {
            let name = other.to_string().to_lowercase();
            return Err(undefined(name.split('(').next().unwrap_or(&name)));
        }
    })
}

/// As [`sql_type`], where types that statements have defined are known too.
pub(crate) fn named_type(env: &Env, ty: &DataType) -> Result<SqlType, SqlError> {
    match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => array_of(named_type(env, element)?),
        DataType::Custom(name, args) if args.is_empty() => match sql_type(ty) {
            Err(e) if e.code == SqlState::UNDEFINED_OBJECT => env.defined_type(name).ok_or(e),
            found => found,
        },
        other => sql_type(other),
    }
}

/// Of arrays of arrays, PostgreSQL keeps no more than the type of the elements.
fn array_of(element: SqlType) -> Result<SqlType, SqlError> {
    if let SqlType::Array(_) = element {
        return Ok(element);
    }
    element.array_of().ok_or_else(|| SqlError::unsupported(format!("type {element}[] is not supported")))
}

/// A name for the type within function names: what [`type_by_name`] reads.
pub(crate) fn plan_name(ty: SqlType, written: &DataType) -> String {
    let position = |ty: SqlType| ty.position().map(|p| format!("#{p}"));
    match ty {
        SqlType::Array(element) => position(element.ty()).map(|p| format!("[]{p}")),
        ty => position(ty),
    }
    .unwrap_or_else(|| written.to_string())
}

/// As [`plan_name`], of a type that no statement has written.
pub(crate) fn name_of(ty: SqlType) -> String {
    let position = |ty: SqlType| ty.position().map(|p| format!("#{p}"));
    let found = match ty {
        SqlType::Array(element) => position(element.ty()).map(|p| format!("[]{p}")),
        ty => position(ty),
    };
    found.unwrap_or_else(|| ty.to_string())
}

/// The types of PostgreSQL that print an OID as a name; here, only casts to them exist.
const REG_TYPES: &[&str] = &["regclass", "regtype", "regnamespace", "regrole", "regproc", "regprocedure"];

fn no_reg_column(name: &str) -> SqlError {
    SqlError::unsupported(format!("type {name} is not supported here")).hint("Use bigint for OIDs, text for names.")
}

/// Which of the types that print an OID as a name it is.
pub(crate) fn reg_type(ty: &DataType) -> Option<&'static str> {
    let name = match ty {
        DataType::Regclass => return Some("regclass"),
        DataType::Custom(name, args) if args.is_empty() => name.to_string().to_ascii_lowercase(),
        _ => return None,
    };
    let bare = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    REG_TYPES.iter().find(|r| **r == bare).copied()
}

/// A name as the catalog has it; `"char"` keeps its quotes, which tell it from `char`.
fn spelled(name: &sqlparser::ast::ObjectName) -> String {
    let part = |i: &sqlparser::ast::Ident| match i.quote_style {
        Some(_) if i.value == "char" => "\"char\"".to_string(),
        _ => crate::parse::ast_fold(i),
    };
    name.0.iter().filter_map(|p| p.as_ident()).map(part).collect::<Vec<_>>().join(".")
}

/// Types of PostgreSQL that are not here.
const MISSING: &[&str] = &[
    "money",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "tsvector",
    "tsquery",
    "xml",
    "jsonpath",
    "pg_lsn",
    "pg_snapshot",
    "refcursor",
];

fn custom(name: &str, args: &[String]) -> Result<SqlType, SqlError> {
    let bare = name.strip_prefix("pg_catalog.").unwrap_or(name);
    Ok(match bare {
        "nchar" => match args {
            [] => SqlType::Char(Some(1)),
            [n] => SqlType::Char(Some(char_length(n.parse().ok())?)),
            _ => return Err(undefined(bare)),
        },
        "bpchar" => match args {
            [] => SqlType::Char(None),
            [n] => SqlType::Char(Some(char_length(n.parse().ok())?)),
            _ => return Err(undefined(bare)),
        },
        "json" => SqlType::Json,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "bool" => SqlType::Bool,
        "text" => SqlType::Text,
        "varchar" if args.is_empty() => SqlType::Varchar(None),
        "bit" if args.is_empty() => SqlType::Bit(None),
        "varbit" if args.is_empty() => SqlType::Varbit(None),
        "numeric" if args.is_empty() => SqlType::Numeric(None),
        "timestamptz" if args.is_empty() => SqlType::TimestampTz,
        "timetz" if args.is_empty() => SqlType::TimeTz,
        "timestamp" if args.is_empty() => SqlType::Timestamp,
        "jsonb" => SqlType::Jsonb,
        "uuid" => SqlType::Uuid,
        "bytea" => SqlType::Bytea,
        "interval" if args.is_empty() => SqlType::Interval,
        reg if REG_TYPES.contains(&reg) => return Err(no_reg_column(reg)),
        named => match AliasType::NAMED.iter().find(|a| a.name() == named) {
            Some(alias) => SqlType::Alias(*alias),
            None if MISSING.contains(&bare) => {
                return Err(SqlError::unsupported(format!("type {bare} is not supported")));
            }
            None => return Err(undefined(bare)),
        },
    })
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

/// A type of times with digits of a second; more than six are six, as in PostgreSQL.
fn limited(precision: Option<u64>, plain: SqlType, alias: fn(u8) -> AliasType) -> SqlType {
    precision.map_or(plain, |p| SqlType::Alias(alias(p.min(6) as u8)))
}

/// `interval` with fields (`year`, `day to second`) and digits of its seconds.
fn interval(fields: Option<String>, precision: Option<u64>) -> Result<SqlType, SqlError> {
    let ends = fields.as_deref().map(|f| f.split_once(" to ").unwrap_or((f, f)));
    let found = AliasType::interval(ends, precision.map(|p| p.min(6) as u8));
    found.map(SqlType::Alias).ok_or_else(|| SqlError::new(SqlState::SYNTAX, "invalid fields of an interval"))
}

fn char_length(length: Option<u64>) -> Result<u32, SqlError> {
    match length.and_then(|n| u32::try_from(n).ok()) {
        Some(n @ 1..=10_485_760) => Ok(n),
        Some(0) => Err(SqlError::new(SqlState::INVALID_PARAMETER, "length for type char must be at least 1")),
        _ => Err(SqlError::new(SqlState::INVALID_PARAMETER, "length for type char cannot exceed 10485760")),
    }
}

/// The length of a bit string.
fn bit_length(name: &str, length: u64) -> Result<u32, SqlError> {
    let invalid =
        |what: &str| Err(SqlError::new(SqlState::INVALID_PARAMETER, format!("length for type {name} {what}")));
    match u32::try_from(length) {
        Ok(n @ 1..=83_886_080) => Ok(n),
        Ok(0) => invalid("must be at least 1"),
        _ => invalid("cannot exceed 83886080"),
    }
}

/// `char` is `char(1)`.
fn character(length: &Option<CharacterLength>) -> Result<SqlType, SqlError> {
    match length {
        None => Ok(SqlType::Char(Some(1))),
        Some(CharacterLength::IntegerLength { length, .. }) => Ok(SqlType::Char(Some(char_length(Some(*length))?))),
        Some(CharacterLength::Max) => Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"MAX\"")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType, SqlError> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(SqlType::Numeric(None)),
        ExactNumberInfo::Precision(p) => (p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (p, s),
    };
    let invalid = |what: String| SqlError::new(SqlState::INVALID_PARAMETER, what);
    let p = i32::try_from(precision).ok().filter(|p| (1..=1000).contains(p));
    let p = p.ok_or_else(|| invalid(format!("NUMERIC precision {precision} must be between 1 and 1000")))?;
    let s = i32::try_from(scale).ok().filter(|s| (-1000..=1000).contains(s));
    let s = s.ok_or_else(|| invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")))?;
    Ok(SqlType::numeric(p, s))
}

fn varchar(length: &Option<CharacterLength>) -> Result<SqlType, SqlError> {
    match length {
        None => Ok(SqlType::Varchar(None)),
        Some(CharacterLength::IntegerLength { length, .. }) => match u32::try_from(*length) {
            Ok(n @ 1..=10_485_760) => Ok(SqlType::Varchar(Some(n))),
            _ => Err(SqlError::new(
                SqlState::INVALID_PARAMETER,
                "length for type varchar must be between 1 and 10485760",
            )),
        },
        Some(CharacterLength::Max) => Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"MAX\"")),
    }
}

/// The type of that name, for the names that [`crate::prepare`] puts into function names.
pub(crate) fn type_by_name(name: &str) -> Option<SqlType> {
    if let Some(position) = name.strip_prefix('#') {
        return SqlType::at(position);
    }
    if let Some(position) = name.strip_prefix("[]#") {
        return SqlType::at(position)?.array_of();
    }
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let parsed = sqlparser::parser::Parser::new(&dialect).try_with_sql(name).ok()?.parse_data_type().ok()?;
    sql_type(&parsed).ok()
}

//! SQL types and their mapping to Arrow and to PostgreSQL's OIDs.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;

mod alias;
mod element;
mod user;

pub use alias::AliasType;
pub use element::ElementType;
pub use user::{
    ARRAY_TYPE_OIDS, EnumDef, EnumLabel, EnumType, LABEL_STEP, RECORD_OID, RowDef, RowField, RowType, array_oid,
};

/// A SQL type in scope. `Varchar(None)` and `Text` differ only in name and OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric(p,s)` with 1..=38 digits, or bare `numeric` (`None`, every value carries its scale).
    Numeric(Option<(u8, i8)>),
    /// `text`
    Text,
    /// `varchar(n)`, n in characters
    Varchar(Option<u32>),
    /// `bytea`
    Bytea,
    /// `date`, days since 1970-01-01
    Date,
    /// `time`, µs since midnight
    Time,
    /// `timestamp`, µs since 1970-01-01
    Timestamp,
    /// `timestamptz`, µs since 1970-01-01 UTC
    TimestampTz,
    /// `interval`: months, days, µs (carried as ns in Arrow)
    Interval,
    /// `uuid`
    Uuid,
    /// `jsonb`, carried as its canonical text
    Jsonb,
    /// `json`, carried as the text it was given as
    Json,
    /// `char(n)`, carried without the spaces at its end, which do not count; bare `bpchar` where there is no length
    Char(Option<u32>),
    /// An array, carried as [`crate::array`]'s ordered bytes
    Array(ElementType),
    /// A type that is carried and computed as another one, under a name (and with a modifier) of its own
    Alias(AliasType),
    /// `timetz`, carried as a bigint: see [`crate::datum::TimeTzValue`]
    TimeTz,
    /// An enum, carried as the bytes of its value: see [`crate::row::EnumValue`]
    Enum(EnumType),
    /// A row or a composite type, carried as [`crate::row`]'s ordered bytes
    Row(RowType),
    /// `bit(n)`, carried as text of 0 and 1, whose order is that of bit strings; without a length, any
    Bit(Option<u32>),
    /// `bit varying(n)`, carried likewise
    Varbit(Option<u32>),
}

/// The key of the metadata of an Arrow field that says of which SQL type its column is.
const TYPE_KEY: &str = "sql_type";

impl SqlType {
    /// `numeric(precision, scale)`: fixed-point where 38 digits hold its values.
    pub fn numeric(precision: i32, scale: i32) -> SqlType {
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(p @ 1..=38), Ok(s)) if s >= 0 && scale <= precision => SqlType::Numeric(Some((p, s))),
            _ => SqlType::Alias(AliasType::Numeric((precision << 16 | scale & 0x7ff) + 4)),
        }
    }

    /// The type whose values carry those of this one, in memory, in encoded rows and as a [`crate::Datum`] (but for
    /// arrays, whose values are [`crate::Datum::Array`]).
    #[inline]
    pub fn carrier(self) -> SqlType {
        match self {
            SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json => SqlType::Text,
            SqlType::Bit(_) | SqlType::Varbit(_) => SqlType::Text,
            SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) => SqlType::Bytea,
            SqlType::TimeTz => SqlType::Int8,
            SqlType::Alias(AliasType::TimeTz(_)) => SqlType::Int8,
            SqlType::Alias(alias) => alias.carrier(),
            other => other,
        }
    }

    /// Without lengths, precisions and fields.
    pub fn without_modifier(self) -> SqlType {
        match self {
            SqlType::Numeric(_) => SqlType::Numeric(None),
            SqlType::Varchar(_) => SqlType::Varchar(None),
            SqlType::Char(_) => SqlType::Char(None),
            SqlType::Bit(_) => SqlType::Bit(None),
            SqlType::Varbit(_) => SqlType::Varbit(None),
            SqlType::Array(element) => element.ty().without_modifier().array_of().unwrap_or(self),
            SqlType::Alias(alias) if alias.typmod() >= 0 => alias.carrier(),
            other => other,
        }
    }

    /// An Arrow field for a column of this type. Where the Arrow type does not tell, its metadata does.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        Field::new(name, self.arrow(), nullable).with_metadata(self.metadata().into_iter().collect())
    }

    /// What the metadata of a field or literal of this type has to say: nothing where the Arrow type tells.
    pub fn metadata(&self) -> Option<(String, String)> {
        let told = *self == self.carrier();
        let text = match self {
            SqlType::Array(element) => match element.ty().position() {
                Some(position) => format!("[]#{position}"),
                None => format!("{}:{}", self.oid(), self.typmod()),
            },
            _ => match self.position() {
                Some(position) => format!("#{position}"),
                None => format!("{}:{}", self.oid(), self.typmod()),
            },
        };
        (!told).then(|| (TYPE_KEY.to_string(), text))
    }

    /// The type of a column with this Arrow type and a value of the metadata for each key.
    pub fn from_parts<'a>(ty: &DataType, metadata: impl Fn(&str) -> Option<&'a String>) -> Option<SqlType> {
        let carrier = SqlType::from_arrow(ty)?;
        let told = metadata(TYPE_KEY).and_then(|text| {
            if let Some(position) = text.strip_prefix('#') {
                return SqlType::at(position);
            }
            if let Some(position) = text.strip_prefix("[]#") {
                return SqlType::at(position)?.array_of();
            }
            let (oid, typmod) = text.split_once(':')?;
            SqlType::from_oid(oid.parse().ok()?, typmod.parse().ok()?)
        });
        // Metadata can travel further than the column it was made for.
        Some(told.filter(|t| t.carrier() == carrier).unwrap_or(carrier))
    }

    /// Where the process keeps the definition of an enum or a row.
    pub fn position(self) -> Option<usize> {
        match self {
            SqlType::Enum(e) => Some(e.position()),
            SqlType::Row(r) => Some(r.position()),
            _ => None,
        }
    }

    /// The type whose definition is kept there.
    pub fn at(position: &str) -> Option<SqlType> {
        user::at(position.parse().ok()?)
    }

    /// The SQL type of a column; `None` where the Arrow type carries none.
    pub fn from_field(field: &Field) -> Option<SqlType> {
        SqlType::from_parts(field.data_type(), |key| field.metadata().get(key))
    }

    /// The Arrow type that carries this SQL type: that of its [`SqlType::carrier`]. Bare numeric is `LargeBinary` holding [`crate::numeric`]'s ordered
    /// bytes; jsonb is `LargeUtf8`; bytea `Binary`; text `Utf8`; uuid `FixedSizeBinary(16)`.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Bool => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric(Some((p, s))) => DataType::Decimal128(*p, *s),
            SqlType::Numeric(None) => DataType::LargeBinary,
            SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json => DataType::Utf8,
            SqlType::Bit(_) | SqlType::Varbit(_) => DataType::Utf8,
            SqlType::Bytea | SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) => DataType::Binary,
            SqlType::TimeTz => DataType::Int64,
            SqlType::Alias(alias) => alias.carrier().arrow(),
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Jsonb => DataType::LargeUtf8,
        }
    }

    /// The carrier that an Arrow type belongs to, or `None` where it carries no SQL type.
    pub fn from_arrow(ty: &DataType) -> Option<SqlType> {
        Some(match ty {
            DataType::Boolean => SqlType::Bool,
            DataType::Int16 => SqlType::Int2,
            DataType::Int32 => SqlType::Int4,
            DataType::Int64 => SqlType::Int8,
            DataType::Float32 => SqlType::Float4,
            DataType::Float64 => SqlType::Float8,
            DataType::Decimal128(p, s) => SqlType::Numeric(Some((*p, *s))),
            DataType::LargeBinary => SqlType::Numeric(None),
            DataType::Utf8 => SqlType::Text,
            DataType::Binary => SqlType::Bytea,
            DataType::Date32 => SqlType::Date,
            DataType::Time64(TimeUnit::Microsecond) => SqlType::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => SqlType::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => SqlType::TimestampTz,
            DataType::Interval(IntervalUnit::MonthDayNano) => SqlType::Interval,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::LargeUtf8 => SqlType::Jsonb,
            _ => return None,
        })
    }

    /// PostgreSQL's type OID (`pg_type.oid`).
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Bool => 16,
            SqlType::Int2 => 21,
            SqlType::Int4 => 23,
            SqlType::Int8 => 20,
            SqlType::Float4 => 700,
            SqlType::Float8 => 701,
            SqlType::Numeric(_) => 1700,
            SqlType::Text => 25,
            SqlType::Varchar(_) => 1043,
            SqlType::Bytea => 17,
            SqlType::Date => 1082,
            SqlType::Time => 1083,
            SqlType::Timestamp => 1114,
            SqlType::TimestampTz => 1184,
            SqlType::Interval => 1186,
            SqlType::Uuid => 2950,
            SqlType::Jsonb => 3802,
            SqlType::Json => 114,
            SqlType::Char(_) => 1042,
            SqlType::Bit(_) => 1560,
            SqlType::Varbit(_) => 1562,
            SqlType::Array(element) => element.array_oid(),
            SqlType::Alias(alias) => alias.oid(),
            SqlType::TimeTz => 1266,
            SqlType::Enum(e) => e.def().oid,
            SqlType::Row(r) => r.def().oid,
        }
    }

    /// PostgreSQL's `atttypmod`: precision and scale of numeric, length of varchar, else -1.
    pub fn typmod(&self) -> i32 {
        match self {
            SqlType::Numeric(Some((p, s))) => ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4,
            SqlType::Varchar(Some(n)) | SqlType::Char(Some(n)) => *n as i32 + 4,
            SqlType::Bit(Some(n)) | SqlType::Varbit(Some(n)) => *n as i32,
            SqlType::Array(element) => element.typmod,
            SqlType::Alias(alias) => alias.typmod(),
            _ => -1,
        }
    }

    /// The type of an OID with a type modifier (-1 for none); `None` where there is no such type here.
    pub fn from_oid(oid: u32, typmod: i32) -> Option<SqlType> {
        let length = || u32::try_from(typmod - 4).ok();
        Some(match oid {
            16 => SqlType::Bool,
            21 => SqlType::Int2,
            23 => SqlType::Int4,
            20 => SqlType::Int8,
            700 => SqlType::Float4,
            701 => SqlType::Float8,
            1700 if typmod < 4 => SqlType::Numeric(None),
            1700 => {
                let (precision, scale) = alias::numeric_of_typmod(typmod);
                SqlType::numeric(precision, scale)
            }
            25 => SqlType::Text,
            1043 => SqlType::Varchar(length()),
            1042 => SqlType::Char(length()),
            1560 => SqlType::Bit(u32::try_from(typmod).ok()),
            1562 => SqlType::Varbit(u32::try_from(typmod).ok()),
            17 => SqlType::Bytea,
            1082 => SqlType::Date,
            1083 | 1114 | 1184 | 1186 | 1266 if typmod >= 0 => SqlType::Alias(AliasType::of_time(oid, typmod)?),
            1083 => SqlType::Time,
            1266 => SqlType::TimeTz,
            1114 => SqlType::Timestamp,
            1184 => SqlType::TimestampTz,
            1186 => SqlType::Interval,
            2950 => SqlType::Uuid,
            3802 => SqlType::Jsonb,
            114 => SqlType::Json,
            other => match AliasType::NAMED.iter().find(|a| a.oid() == other) {
                Some(alias) => SqlType::Alias(*alias),
                None => match user::by_oid(other) {
                    Some(defined) => defined,
                    None => SqlType::Array(ElementType::of_array(other, typmod)?),
                },
            },
        })
    }

    /// Bytes of a fixed-width value as `pg_type.typlen` has it, or -1.
    pub fn typlen(&self) -> i16 {
        match self {
            SqlType::Bool => 1,
            SqlType::Int2 => 2,
            SqlType::Int4 | SqlType::Float4 | SqlType::Date => 4,
            SqlType::Int8 | SqlType::Float8 | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
            SqlType::Interval | SqlType::Uuid => 16,
            SqlType::Alias(alias) => alias.typlen(),
            SqlType::TimeTz => 12,
            SqlType::Enum(_) => 4,
            _ => -1,
        }
    }
}

/// PostgreSQL's `format_type` spelling.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Bool => f.write_str("boolean"),
            SqlType::Int2 => f.write_str("smallint"),
            SqlType::Int4 => f.write_str("integer"),
            SqlType::Int8 => f.write_str("bigint"),
            SqlType::Float4 => f.write_str("real"),
            SqlType::Float8 => f.write_str("double precision"),
            SqlType::Numeric(Some((p, s))) => write!(f, "numeric({p},{s})"),
            SqlType::Numeric(None) => f.write_str("numeric"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(Some(n)) => write!(f, "character varying({n})"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Time => f.write_str("time without time zone"),
            SqlType::Timestamp => f.write_str("timestamp without time zone"),
            SqlType::TimestampTz => f.write_str("timestamp with time zone"),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Jsonb => f.write_str("jsonb"),
            SqlType::Json => f.write_str("json"),
            SqlType::Char(Some(n)) => write!(f, "character({n})"),
            SqlType::Char(None) => f.write_str("bpchar"),
            SqlType::Bit(Some(n)) => write!(f, "bit({n})"),
            SqlType::Bit(None) => f.write_str("bit"),
            SqlType::Varbit(Some(n)) => write!(f, "bit varying({n})"),
            SqlType::Varbit(None) => f.write_str("bit varying"),
            SqlType::Array(element) => write!(f, "{}[]", element.ty()),
            SqlType::Alias(alias) => alias.fmt(f),
            SqlType::TimeTz => f.write_str("time with time zone"),
            SqlType::Enum(e) => user::write_name(&e.def().schema, &e.def().name, f),
            SqlType::Row(r) => user::write_name(&r.def().schema, &r.def().name, f),
        }
    }
}

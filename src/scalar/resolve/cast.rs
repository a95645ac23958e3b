//! Which casts exist, in which context, and the common type of several expressions.

use hw_repr::{AliasType, RowType, SqlError, SqlState, SqlType};

/// Where a cast stands, from the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// Inside an expression, unasked.
    Implicit,
    /// Storing into a column.
    Assignment,
    /// `CAST(a AS t)` or `a::t`.
    Explicit,
}

/// What calls take it as: without typmod, and as what it is coercible to without conversion (varchar and char as text).
pub(crate) fn base(t: SqlType) -> SqlType {
    match t {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) | SqlType::Char(_) => SqlType::Text,
        SqlType::Alias(alias) => alias.carrier(),
        SqlType::Bit(_) => SqlType::Bit(None),
        SqlType::Varbit(_) => SqlType::Varbit(None),
        SqlType::Array(element) => base(element.ty()).array_of().unwrap_or(t),
        other => other,
    }
}

/// PostgreSQL's `pg_type.typcategory`.
pub(crate) fn category(t: SqlType) -> char {
    match base(t) {
        SqlType::Bool => 'B',
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_) => 'N',
        SqlType::Text => 'S',
        SqlType::Date | SqlType::Time | SqlType::TimeTz | SqlType::Timestamp | SqlType::TimestampTz => 'D',
        SqlType::Interval => 'T',
        SqlType::Bit(_) | SqlType::Varbit(_) => 'V',
        SqlType::Array(_) => 'A',
        SqlType::Enum(_) => 'E',
        SqlType::Row(row) if row.is_record() => 'P',
        SqlType::Row(_) => 'C',
        _ => 'U',
    }
}

/// PostgreSQL's `pg_type.typispreferred`.
pub(crate) fn is_preferred(t: SqlType) -> bool {
    use SqlType::*;
    matches!(t, Bool | Float8 | Text | TimestampTz | Interval | Varbit(_))
}

fn numeric_rank(t: SqlType) -> Option<u8> {
    Some(match t {
        SqlType::Int2 => 0,
        SqlType::Int4 => 1,
        SqlType::Int8 => 2,
        SqlType::Numeric(_) => 3,
        SqlType::Float4 => 4,
        SqlType::Float8 => 5,
        _ => return None,
    })
}

/// Whether a cast exists in a context (`pg_cast`, plus the I/O casts from and to text).
pub fn can_cast(from: SqlType, to: SqlType, context: CastContext) -> bool {
    use SqlType::*;
    let (f, t) = (base(from), base(to));
    if matches!(to, Alias(AliasType::Oid | AliasType::Xid)) && matches!(f, Float4 | Float8 | Numeric(_)) {
        return false;
    }
    if f == t {
        return true;
    }
    if let (Some(a), Some(b)) = (numeric_rank(f), numeric_rank(t)) {
        return a < b || context >= CastContext::Assignment;
    }
    let needs = match (f, t) {
        (Date, Timestamp | TimestampTz) | (Timestamp, TimestampTz) | (Time, Interval | TimeTz) => CastContext::Implicit,
        (Timestamp | TimestampTz, Date | Time) | (TimestampTz, Timestamp) | (Interval, Time) => CastContext::Assignment,
        (TimeTz, Time) | (TimestampTz, TimeTz) => CastContext::Assignment,
        (Bit(_), Varbit(_)) | (Varbit(_), Bit(_)) => CastContext::Implicit,
        (Int4 | Int8, Bit(_)) | (Bit(_), Int4 | Int8) => CastContext::Explicit,
        (_, Text) => CastContext::Assignment,
        (Json, Jsonb) | (Jsonb, Json) => CastContext::Assignment,
        (Text, Array(_)) => CastContext::Explicit,
        (Array(a), Array(b)) => return can_cast(a.ty(), b.ty(), context),
        (Row(a), Row(b)) => return can_cast_row(a, b, context),
        (Bool, Int4) | (Int4, Bool) => CastContext::Explicit,
        (Text, _) => CastContext::Explicit,
        (Jsonb, Bool | Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(_)) => CastContext::Explicit,
        (Int2 | Int4 | Int8, Bytea) | (Bytea, Int2 | Int4 | Int8) => return false,
        _ => return false,
    };
    context >= needs
}

/// A row is one of another type where that is `record`, or where it is `record` itself, as each field casts.
fn can_cast_row(from: RowType, to: RowType, context: CastContext) -> bool {
    let (a, b) = (&from.def().fields, &to.def().fields);
    let fits = || a.len() == b.len() && a.iter().zip(b).all(|(a, b)| can_cast(a.ty, b.ty, context));
    match (from.is_record(), to.is_record()) {
        (_, true) => fits(),
        (true, false) => context >= CastContext::Assignment && fits(),
        (false, false) => false,
    }
}

/// The type that CASE, COALESCE, UNION, VALUES and GREATEST give operands of these types; `None` is `unknown`.
/// `context` names the construct in the message of 42804. A modifier stays where all operands have it.
pub fn common_type(context: &str, types: &[Option<SqlType>]) -> Result<SqlType, SqlError> {
    let mut known = types.iter().flatten().copied();
    let Some(mut best) = known.next() else { return Ok(SqlType::Text) };
    for t in known.map(SqlType::without_modifier) {
        let found = best.without_modifier();
        if t == found {
            continue;
        }
        if category(t) != category(found) {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("{context} types {found} and {t} cannot be matched"),
            ));
        }
        // Between types that are coercible to each other the first stays.
        let (there, back) = (can_cast(found, t, CastContext::Implicit), can_cast(t, found, CastContext::Implicit));
        let preferred = is_preferred(found) && base(found) == found;
        if !preferred && there && !back {
            best = t;
        }
    }
    let plain = best.without_modifier();
    match types.iter().flatten().find(|t| !can_cast(**t, plain, CastContext::Implicit)) {
        Some(t) => Err(SqlError::new(
            SqlState::new("42846"),
            format!("{context} could not convert type {} to {plain}", t.without_modifier()),
        )),
        None if types.iter().any(|t| *t != Some(best)) => Ok(plain),
        None => Ok(best),
    }
}

/// A fixed-point type that holds every value of these types exactly, if 38 digits suffice.
pub(crate) fn common_decimal(types: &[Option<SqlType>]) -> Option<SqlType> {
    let (mut whole, mut scale) = (0i16, 0i16);
    let mut constrained = false;
    for t in types {
        let (p, s) = match (*t)? {
            SqlType::Int2 => (5, 0),
            SqlType::Int4 => (10, 0),
            SqlType::Int8 => (19, 0),
            SqlType::Numeric(Some((p, s))) if s >= 0 => {
                constrained = true;
                (i16::from(p), i16::from(s))
            }
            _ => return None,
        };
        whole = whole.max(p - s);
        scale = scale.max(s);
    }
    let fits = constrained && whole + scale <= 38;
    fits.then(|| SqlType::Numeric(Some(((whole + scale) as u8, scale as i8))))
}

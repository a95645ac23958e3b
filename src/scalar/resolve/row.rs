//! What calls on rows and enums mean: PostgreSQL's `record`, `anyenum` and `anyarray` of `array_to_json`.

use super::cast::base;
use hw_plan::Func;
use hw_repr::{RowType, SqlError, SqlState, SqlType};

type Resolved = (Vec<SqlType>, SqlType);

/// The types of a call of a function of rows or enums; `None` where the function is another kind, or nothing fits.
pub(super) fn resolve(func: Func, args: &[Option<SqlType>]) -> Result<Option<Resolved>, SqlError> {
    Ok(match (func, args) {
        (Func::EnumFirst | Func::EnumLast | Func::EnumRange, []) => None,
        (Func::EnumFirst | Func::EnumLast | Func::EnumRange, all) if all.iter().all(Option::is_none) => {
            let message = "could not determine polymorphic type because input has type unknown";
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
        (Func::EnumFirst | Func::EnumLast, [Some(ty @ SqlType::Enum(_))]) => Some((vec![*ty], *ty)),
        (Func::EnumRange, [_] | [_, _]) => {
            let known: Vec<SqlType> = args.iter().flatten().copied().collect();
            match known.as_slice() {
                [ty @ SqlType::Enum(_), rest @ ..] if rest.iter().all(|t| t == ty) => {
                    ty.array_of().map(|array| (vec![*ty; args.len()], array))
                }
                _ => None,
            }
        }
        (Func::RowToJson, [Some(ty @ SqlType::Row(_)), rest @ ..]) => json(*ty, rest),
        (Func::ArrayToJson, [Some(ty @ SqlType::Array(_)), rest @ ..]) => json(*ty, rest),
        _ => None,
    })
}

/// Whether the function is one of [`resolve`].
pub(super) fn is_row_function(func: Func) -> bool {
    use Func::*;
    matches!(func, EnumFirst | EnumLast | EnumRange | RowToJson | ArrayToJson)
}

fn json(ty: SqlType, rest: &[Option<SqlType>]) -> Option<Resolved> {
    match rest {
        [] => Some((vec![ty], SqlType::Json)),
        [None | Some(SqlType::Bool)] => Some((vec![ty, SqlType::Bool], SqlType::Json)),
        _ => None,
    }
}

/// The operands of a comparison where one is an enum or a row; `None` where neither is. `42804` for rows whose fields
/// are not of the same types.
pub(super) fn comparable(a: Option<SqlType>, b: Option<SqlType>) -> Result<Option<Vec<SqlType>>, SqlError> {
    Ok(match (a, b) {
        (Some(t @ (SqlType::Enum(_) | SqlType::Row(_))), None)
        | (None, Some(t @ (SqlType::Enum(_) | SqlType::Row(_)))) => Some(vec![t; 2]),
        (Some(x @ SqlType::Enum(_)), Some(y)) if x == y => Some(vec![x; 2]),
        (Some(SqlType::Row(x)), Some(SqlType::Row(y))) => {
            same_fields(x, y)?;
            Some(vec![SqlType::Row(x), SqlType::Row(y)])
        }
        _ => None,
    })
}

fn same_fields(x: RowType, y: RowType) -> Result<(), SqlError> {
    let mismatch = |message: String| Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
    let (x, y) = (&x.def().fields, &y.def().fields);
    if x.len() != y.len() {
        return mismatch("cannot compare record types with different numbers of columns".into());
    }
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        if let (SqlType::Row(x), SqlType::Row(y)) = (x.ty, y.ty) {
            same_fields(x, y)?;
        } else if base(x.ty) != base(y.ty) {
            let (x, y) = (x.ty.without_modifier(), y.ty.without_modifier());
            return mismatch(format!("cannot compare dissimilar column types {x} and {y} at record column {}", i + 1));
        }
    }
    Ok(())
}

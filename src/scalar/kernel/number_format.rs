//! `to_char` of numbers and `to_number`: PostgreSQL's template language of numbers, in the C locale.
//!
//! A template is read once ([`template`]), then applied to each value by [`write`] or read back by [`read`].

use super::arithmetic::Numbers;
use super::string::{Str, build_text};
use super::{Kernel, Prim, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, LargeBinaryBuilder};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

mod read;
mod template;
mod write;

use template::Template;

/// Whether `to_char` of these arguments formats a number.
pub(super) fn formats(types: &[SqlType]) -> bool {
    use SqlType::*;
    matches!(types.first(), Some(Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(_)))
}

/// The templates of a column, each read when it differs from the one before.
struct Templates<'a> {
    texts: Str<'a>,
    last: Option<(&'a str, Template)>,
}

impl<'a> Templates<'a> {
    fn of(v: &'a Val) -> Result<Self, SqlError> {
        Ok(Templates { texts: Str::of(v)?, last: None })
    }

    fn get(&mut self, row: usize) -> Result<&Template, SqlError> {
        let text = self.texts.get(row);
        if self.last.as_ref().is_none_or(|(known, _)| *known != text) {
            self.last = None;
        }
        match &mut self.last {
            Some((_, template)) => Ok(template),
            last => Ok(&last.insert((text, Template::parse(text)?)).1),
        }
    }
}

/// The kernel of `to_char(number, text)`.
pub(super) fn to_char(types: &[SqlType]) -> Result<Kernel, SqlError> {
    macro_rules! primitive {
        ($t:ty, $write:path) => {
            Box::new(|args: &[Val], rows: usize| {
                let (a, mut templates) = (Prim::<$t>::of(&args[0])?, Templates::of(&args[1])?);
                build_text(args, rows, |i, out| $write(a.get(i).into(), templates.get(i)?, out))
            })
        };
    }
    Ok(match types.first() {
        Some(SqlType::Int4) => primitive!(Int32Type, write::integer),
        Some(SqlType::Int8) => primitive!(Int64Type, write::bigint),
        Some(SqlType::Float8) => primitive!(Float64Type, write::double),
        Some(SqlType::Float4) => primitive!(Float32Type, write::real),
        Some(SqlType::Numeric(_)) => Box::new(|args, rows| {
            let (a, mut templates) = (Numbers::of(&args[0])?, Templates::of(&args[1])?);
            build_text(args, rows, |i, out| write::numeric(&a.get(i)?, templates.get(i)?, out))
        }),
        _ => return Err(unsupported(Func::ToChar, types)),
    })
}

/// The kernel of `to_number(text, text)`.
pub(super) fn to_number() -> Kernel {
    Box::new(|args, rows| -> Result<ArrayRef, SqlError> {
        let (text, mut templates) = (Str::of(&args[0])?, Templates::of(&args[1])?);
        let nulls = strict_nulls(args);
        let mut out = LargeBinaryBuilder::with_capacity(rows, rows * 12);
        for row in 0..rows {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                out.append_null();
                continue;
            }
            match read::number(text.get(row), templates.get(row)?)? {
                Some(number) => out.append_value(number.to_bytes()),
                None => out.append_null(),
            }
        }
        let out = out.finish();
        debug_assert_eq!(out.len(), rows);
        Ok(Arc::new(out))
    })
}

/// `42601` of a template.
fn malformed(message: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX, message)
}

#[cfg(test)]
mod tests;

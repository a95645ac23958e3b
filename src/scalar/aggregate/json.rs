//! Values as JSON, as PostgreSQL's to_jsonb writes them.

use hw_repr::array::Dimension;
use hw_repr::text::write_json_string;
use hw_repr::{Datum, SqlType};

/// Appends a value of a type.
pub fn write_value(value: &Datum, ty: SqlType, out: &mut String) {
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Bool(_) | Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) => {
            write_key(value, ty, out);
        }
        Datum::Float4(v) | Datum::Float8(v) if v.0.is_finite() => write_key(value, ty, out),
        Datum::Jsonb(json) => out.push_str(json),
        Datum::Text(json) if ty == SqlType::Json => out.push_str(json),
        Datum::Array(array) if array.dimensions.is_empty() => out.push_str("[]"),
        Datum::Array(array) => {
            let mut values = array.values.iter();
            write_dimension(&array.dimensions, array.element, &mut values, out);
        }
        Datum::Row(row) => {
            out.push('{');
            for (i, (value, field)) in row.values.iter().zip(&row.ty.def().fields).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json_string(&field.name, out);
                out.push(':');
                write_value(value, field.ty, out);
            }
            out.push('}');
        }
        other => {
            let mut text = String::new();
            write_key(other, ty, &mut text);
            write_json_string(&text, out);
        }
    }
}

/// Appends the elements along the first of the dimensions.
fn write_dimension<'a>(
    dimensions: &[Dimension],
    element: SqlType,
    values: &mut impl Iterator<Item = &'a Datum>,
    out: &mut String,
) {
    let Some((first, inner)) = dimensions.split_first() else {
        if let Some(value) = values.next() {
            write_value(value, element, out);
        }
        return;
    };
    out.push('[');
    for i in 0..first.length {
        if i > 0 {
            out.push(',');
        }
        write_dimension(inner, element, values, out);
    }
    out.push(']');
}

/// Appends the text of a value as it stands in a string: `true`, and ISO 8601 with a T.
pub fn write_key(value: &Datum, ty: SqlType, out: &mut String) {
    let text = hw_repr::text::format_typed(value, ty).unwrap_or_default();
    match value {
        Datum::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Datum::Timestamp(_) => out.push_str(&text.replacen(' ', "T", 1)),
        // +00 is written in full there.
        Datum::TimestampTz(_) => {
            let short = text.len() >= 3 && text.as_bytes()[text.len() - 3] == b'+';
            out.push_str(&text.replacen(' ', "T", 1));
            out.push_str(if short { ":00" } else { "" });
        }
        _ => out.push_str(&text),
    }
}

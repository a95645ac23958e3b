//! The value of a scalar subquery as an aggregate, and the printed arrays of the catalogs.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use hw_repr::{SqlError, SqlState};
use std::sync::Arc;

/// One element of an array as PostgreSQL prints it.
pub(crate) fn write_element(value: Option<&str>, out: &mut String) {
    let Some(value) = value else {
        out.push_str("NULL");
        return;
    };
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace();
    if !value.is_empty() && !value.eq_ignore_ascii_case("null") && !value.contains(special) {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// The elements of a printed array of one dimension; `None` for NULL.
pub(crate) fn read_elements(array: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = || {
        SqlError::new(SqlState::INVALID_TEXT, format!("malformed array literal: \"{array}\""))
            .detail("Array value must start with \"{\" and end with \"}\".")
    };
    let inner = array.trim().strip_prefix('{').and_then(|a| a.strip_suffix('}')).ok_or_else(malformed)?;
    let mut out = vec![];
    if inner.trim().is_empty() {
        return Ok(out);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.peek().copied() {
                Some('"') if quoted => {
                    chars.next();
                    break;
                }
                Some('\\') => {
                    chars.next();
                    element.push(chars.next().ok_or_else(malformed)?);
                }
                Some(',') if !quoted => break,
                Some('{' | '}' | '"') if !quoted => return Err(malformed()),
                Some(c) => {
                    element.push(c);
                    chars.next();
                }
                None if quoted => return Err(malformed()),
                None => break,
            }
        }
        if !quoted {
            element.truncate(element.trim_end().len());
            if element.is_empty() {
                return Err(malformed());
            }
        }
        let null = !quoted && element.eq_ignore_ascii_case("null");
        out.push(if null { None } else { Some(element) });
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        match chars.next() {
            None => return Ok(out),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}

/// The value of a group, which the caller knows to be of one row wherever it is looked at.
pub(crate) fn any_value() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(AnyValue { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyValue {
    signature: Signature,
}

impl AggregateUDFImpl for AnyValue {
    fn name(&self) -> &str {
        "hw_any_value"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }
    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        // What the value's type does not tell, its metadata does.
        let value = args.first().map(|f| f.as_ref().clone());
        let value = value.unwrap_or_else(|| Field::new("value", DataType::Null, true));
        Ok(Arc::new(value.with_name(self.name()).with_nullable(true)))
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(First { value: ScalarValue::try_from(args.return_type())?, seen: false }))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let ty = args.return_field.data_type().clone();
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), ty, true))])
    }
}

#[derive(Debug)]
struct First {
    value: ScalarValue,
    seen: bool,
}

impl Accumulator for First {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        if let Some(array) = values.first().filter(|a| !self.seen && !a.is_empty()) {
            self.value = ScalarValue::try_from_array(array, 0)?;
            self.seen = true;
        }
        Ok(())
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone()])
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        // A part of the group of which no row counts has no value.
        let Some(array) = states.first().filter(|_| self.value.is_null()) else { return Ok(()) };
        if let Some(at) = (0..array.len()).find(|at| array.is_valid(*at)) {
            self.value = ScalarValue::try_from_array(array, at)?;
            self.seen = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_they_are_printed() {
        let values = [Some("a"), Some("b c"), None, Some(""), Some("null"), Some("q\"\\"), Some("{,}")];
        let mut out = String::new();
        for v in values {
            if !out.is_empty() {
                out.push(',');
            }
            write_element(v, &mut out);
        }
        assert_eq!(out, r#"a,"b c",NULL,"","null","q\"\\","{,}""#);
        let back = read_elements(&format!("{{{out}}}")).expect("well formed");
        assert_eq!(back.iter().map(Option::as_deref).collect::<Vec<_>>(), values);
    }

    #[test]
    fn malformed_arrays_are_refused() {
        for text in ["a,b", "{a", "{a,}", "{\"a}", "{a}b}"] {
            assert!(read_elements(text).is_err(), "{text}");
        }
        assert_eq!(read_elements("{}").map(|a| a.len()).ok(), Some(0));
    }
}

//! Aggregates of ad-hoc reads only: `string_agg`, what `ARRAY(SELECT ...)` becomes, and the value of a scalar subquery.
//!
//! Values arrive in the order of the input. There are no array types here: an array is its printed form.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use hw_repr::{SqlError, SqlState, SqlType};
use std::any::Any;
use std::sync::Arc;

/// The name of the aggregate behind `ARRAY(SELECT ...)`.
pub(crate) const ARRAY_AGG: &str = "hw_array_agg";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Collect {
    /// `{a,b}`
    Array,
    /// `string_agg(value, separator)`
    String,
}

/// The aggregate of that name.
pub(crate) fn collect_by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let kind = match name {
        ARRAY_AGG => Collect::Array,
        "string_agg" => Collect::String,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(CollectUdaf { kind, name: name.to_string(), signature })))
}

/// Which of them an aggregate is.
pub(crate) fn collect_of(udaf: &AggregateUDF) -> Option<Collect> {
    let inner: &dyn Any = udaf.inner().as_ref();
    inner.downcast_ref::<CollectUdaf>().map(|u| u.kind)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CollectUdaf {
    kind: Collect,
    name: String,
    signature: Signature,
}

impl AggregateUDFImpl for CollectUdaf {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let seen = args.is_distinct.then(std::collections::HashSet::new);
        Ok(Box::new(Collector { kind: self.kind, out: None, seen }))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Utf8, true))])
    }
}

#[derive(Debug)]
struct Collector {
    kind: Collect,
    out: Option<String>,
    seen: Option<std::collections::HashSet<Option<String>>>,
}

impl Collector {
    fn add(&mut self, value: Option<&str>, separator: Option<&str>) {
        if let Some(seen) = &mut self.seen
            && !seen.insert(value.map(str::to_string))
        {
            return;
        }
        match (self.kind, value) {
            (Collect::String, None) => {}
            (Collect::String, Some(value)) => match &mut self.out {
                Some(out) => {
                    out.push_str(separator.unwrap_or_default());
                    out.push_str(value);
                }
                None => self.out = Some(value.to_string()),
            },
            (Collect::Array, value) => {
                let out = self.out.get_or_insert_with(String::new);
                if !out.is_empty() {
                    out.push(',');
                }
                write_element(value, out);
            }
        }
    }
}

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

fn cell(array: &ArrayRef, row: usize) -> DfResult<Option<String>> {
    match ScalarValue::try_from_array(array, row)? {
        ScalarValue::Utf8(value) => Ok(value),
        other => Err(crate::error::external(SqlError::internal(format!("text expected, not {other}")))),
    }
}

impl Accumulator for Collector {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(array) = values.first() else { return Ok(()) };
        for row in 0..array.len() {
            let separator = match values.get(1) {
                Some(s) => cell(s, row)?,
                None => None,
            };
            self.add(cell(array, row)?.as_deref(), separator.as_deref());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let out = self.out.clone();
        Ok(ScalarValue::Utf8(match self.kind {
            Collect::Array => out.map(|o| format!("{{{o}}}")),
            Collect::String => out,
        }))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.out.as_ref().map_or(0, String::capacity)
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Utf8(self.out.clone())])
    }

    /// Reads run in one partition: a partial state is the whole of it.
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for row in 0..states.len() {
            let Some(state) = cell(states, row)? else { continue };
            if self.out.is_some() {
                let e = SqlError::unsupported("string_agg and ARRAY(SELECT ...) over several partitions");
                return Err(crate::error::external(e));
            }
            self.out = Some(state);
        }
        Ok(())
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
        self.update_batch(states)
    }
}

/// The value itself, which may be NULL even where the column it comes from is not: a subquery may have no row.
pub(crate) fn nullable(ty: SqlType) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Nullable { ty, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nullable {
    ty: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for Nullable {
    fn name(&self) -> &str {
        "nullable"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.ty.arrow())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let value = args.args.into_iter().next();
        value.ok_or_else(|| crate::error::external(SqlError::internal("nullable takes an argument")))
    }
}

/// `(rows, value)`: the value, or `21000` where there are several rows.
pub(crate) fn single_row(ty: SqlType) -> Arc<ScalarUDF> {
    let signature = Signature::any(2, Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(SingleRow { ty, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    ty: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "single_row"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.ty.arrow())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [rows, value] = args.args.as_slice() else {
            return Err(crate::error::external(SqlError::internal("single_row takes two arguments")));
        };
        let rows = rows.to_array(args.number_rows)?;
        let several = rows.as_primitive::<Int64Type>().iter().flatten().any(|n| n > 1);
        if several {
            return Err(crate::error::external(crate::decorrelate::more_than_one_row()));
        }
        Ok(value.clone())
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

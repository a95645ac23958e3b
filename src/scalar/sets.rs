//! Set-returning calls: the columns they give, and their rows for each row of arguments, a few at a time.
//!
//! Owns the functions themselves ([`series`], [`open`]), the lockstep of several calls ([`Cursor`]), and the operator of
//! maintained views ([`FlatMap`]). Views and ad-hoc reads run the same code. A set is never held as a whole where
//! it may be long: [`Cursor`] gives as many rows as are asked for. In a view all rows of one input row, or its error,
//! belong together: there a set has a limit, [`ROWS_MAX`].

mod flat;
mod node;
mod open;
mod series;

pub use flat::{FlatMap, FlatMapOutput};
pub use node::{Expand, is_set_call, set_column, set_udf};

use crate::compile::{Compiled, compile};
use crate::eval::Input;
use crate::value::Val;
use arrow::array::{ArrayRef, UInt32Array};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType, datum};
use open::Set;

/// Rows that the calls of a view may give for one row of their input.
pub const ROWS_MAX: usize = 1_000_000;

/// The columns of a call whose result resolves to `ty`, with their names where the function gives them.
pub fn set_columns(func: Func, ty: SqlType) -> Vec<(Option<&'static str>, SqlType)> {
    let pair = |value| vec![(Some("key"), SqlType::Text), (Some("value"), value)];
    match func {
        Func::JsonEach => pair(SqlType::Jsonb),
        Func::JsonTextEach => pair(SqlType::Json),
        Func::JsonEachText | Func::JsonTextEachText => pair(SqlType::Text),
        Func::JsonElements | Func::JsonElementsText | Func::JsonTextElements | Func::JsonTextElementsText => {
            vec![(Some("value"), ty)]
        }
        _ => vec![(None, ty)],
    }
}

/// Whether opening or going on with a set can fail, its arguments aside.
pub fn set_may_fail(func: Func) -> bool {
    let safe = matches!(
        func,
        Func::Unnest | Func::GenerateSubscripts | Func::StringToTable | Func::SetOnce | Func::SetOrdinality
    );
    !safe
}

/// A call as one of the functions that open sets, over arguments that other kernels compute.
pub(crate) fn prepared(func: Func, args: Vec<ScalarExpr>) -> (Func, Vec<ScalarExpr>) {
    let texts = SqlType::Text.array_of().unwrap_or(SqlType::Text);
    let call = |func, ty| vec![ScalarExpr::Call { func, args: args.clone(), ty }];
    match func {
        Func::StringToTable => (Func::Unnest, call(Func::StringToArray, texts)),
        Func::RegexpSplitToTable => (Func::Unnest, call(func, texts)),
        Func::RegexpMatches => (func, call(func, texts)),
        Func::JsonPathQuery => (Func::JsonElements, call(Func::JsonPathQueryArray, SqlType::Jsonb)),
        other => (other, args),
    }
}

/// One call, over arguments that have been computed.
struct Call {
    func: Func,
    /// Expressions over the arguments.
    prepare: Compiled,
    types: Vec<SqlType>,
    columns: Vec<SqlType>,
}

/// Calls that go on side by side.
pub struct Sets {
    calls: Vec<Call>,
    /// A row for which no call gives any comes once, with NULLs.
    outer: bool,
}

/// What calls are made of: the function, the types of its arguments, and of its columns.
pub type CallTypes = (Func, Vec<SqlType>, Vec<SqlType>);

impl Sets {
    /// Compiles calls.
    pub fn new(calls: &[CallTypes], outer: bool) -> Result<Sets, SqlError> {
        let compiled = |(func, args, columns): &CallTypes| {
            let given = args.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
            let (func, exprs) = prepared(*func, given);
            let types = exprs.iter().map(ScalarExpr::ty).collect();
            Ok(Call { func, prepare: compile(&exprs, args)?, types, columns: columns.clone() })
        };
        Ok(Sets { calls: calls.iter().map(compiled).collect::<Result<_, SqlError>>()?, outer })
    }

    /// The rows for `rows` rows of arguments: one list of columns a call.
    pub fn cursor(&self, args: Vec<Vec<ArrayRef>>, rows: usize) -> Result<Cursor, SqlError> {
        let mut all = vec![];
        for (call, args) in self.calls.iter().zip(args) {
            let columns = args.into_iter().map(Val::Array).collect();
            all.push(call.prepare.evaluate_values(&Input { columns, rows })?);
        }
        Ok(Cursor { args: all, rows, row: 0, open: None })
    }

    /// Up to `most` more rows: of which input row each is, and the columns of the calls. None at the end.
    pub fn next(&self, cursor: &mut Cursor, most: usize) -> Result<Option<(UInt32Array, Vec<ArrayRef>)>, SqlError> {
        let mut out = self.buffer();
        let mut of: Vec<u32> = vec![];
        while of.len() < most && cursor.row < cursor.rows {
            let mut open = match cursor.open.take() {
                Some(open) => open,
                None => self.open(&cursor.args, cursor.row)?,
            };
            let mut over = false;
            while of.len() < most && !over {
                match self.step(&mut open, &mut out)? {
                    true => of.push(cursor.row as u32),
                    false => over = true,
                }
            }
            match over {
                true => cursor.row += 1,
                false => cursor.open = Some(open),
            }
        }
        if of.is_empty() {
            return Ok(None);
        }
        Ok(Some((UInt32Array::from(of), self.columns(&out)?)))
    }

    fn buffer(&self) -> Vec<Vec<Datum>> {
        vec![vec![]; self.calls.iter().map(|c| c.columns.len()).sum()]
    }

    fn columns(&self, values: &[Vec<Datum>]) -> Result<Vec<ArrayRef>, SqlError> {
        let types = self.calls.iter().flat_map(|c| &c.columns);
        types.zip(values).map(|(ty, v)| datum::datums_to_array(*ty, v)).collect()
    }

    fn open(&self, args: &[Vec<ArrayRef>], row: usize) -> Result<Opened, SqlError> {
        let mut sets = vec![];
        for (call, args) in self.calls.iter().zip(args) {
            sets.push(open::open(call.func, args, &call.types, row)?);
        }
        Ok(Opened { sets, rows: 0 })
    }

    /// One row more, with NULLs for what has ended; false where all have.
    fn step(&self, open: &mut Opened, out: &mut [Vec<Datum>]) -> Result<bool, SqlError> {
        let before = out.first().map_or(0, Vec::len);
        let (mut at, mut any) = (0, false);
        for (set, call) in open.sets.iter_mut().zip(&self.calls) {
            let columns = &mut out[at..at + call.columns.len()];
            any |= set.next(columns)?;
            at += call.columns.len();
        }
        let filled = self.outer && open.rows == 0 && !any;
        if !any && !filled {
            return Ok(false);
        }
        open.rows += 1;
        at = 0;
        for (set, call) in open.sets.iter().zip(&self.calls) {
            for column in &mut out[at..at + call.columns.len()] {
                if column.len() == before {
                    column.push(match set {
                        Set::Ordinals if any => Datum::Int8(open.rows),
                        _ => Datum::Null,
                    });
                }
            }
            at += call.columns.len();
        }
        Ok(true)
    }
}

/// The sets of one input row, and how many rows they gave.
struct Opened {
    sets: Vec<Set>,
    rows: i64,
}

/// How far the rows of a batch of arguments have been given.
pub struct Cursor {
    args: Vec<Vec<ArrayRef>>,
    rows: usize,
    row: usize,
    open: Option<Opened>,
}

/// `54000`
fn too_many() -> SqlError {
    let message = format!("a set-returning function gives more than {ROWS_MAX} rows for one row of a view");
    SqlError::new(SqlState::new("54000"), message).hint("Use smaller bounds, or read it in an ad-hoc SELECT.")
}

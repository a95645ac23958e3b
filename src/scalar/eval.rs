//! Evaluation of a compiled expression over the columns of a batch.
//!
//! AND, OR, CASE and COALESCE evaluate an operand that may fail only on the rows that no earlier operand decided;
//! an operand that cannot fail is evaluated on all rows, which is cheaper than selecting them.
//!
//! Invariant: evaluation of zero rows never fails.

use crate::kernel::Kernel;
use crate::value::{Val, internal};
use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, new_empty_array, new_null_array};
use arrow::compute::{and_kleene, interleave, is_null, not, or_kleene};
use arrow::datatypes::DataType;
use hw_repr::SqlError;
use std::sync::Arc;

/// The rows to evaluate on. Columns an expression does not read may have any length.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Columns by position.
    pub columns: Vec<Val>,
    /// How many rows.
    pub rows: usize,
}

impl Input {
    /// The rows that `keep` has true; only `wanted` columns are moved.
    pub fn select(&self, keep: &BooleanArray, wanted: &[usize]) -> Result<Input, SqlError> {
        let mut columns = self.columns.clone();
        for &c in wanted {
            columns[c] = self.columns[c].select(keep)?;
        }
        Ok(Input { columns, rows: keep.true_count() })
    }

    /// Rows `[from, from + rows)`; only `wanted` columns are sliced.
    pub fn slice(&self, from: usize, rows: usize, wanted: &[usize]) -> Input {
        let mut columns = self.columns.clone();
        for &c in wanted {
            columns[c] = self.columns[c].slice(from, rows);
        }
        Input { columns, rows }
    }
}

/// A function with its kernel.
pub(crate) struct CallNode {
    pub kernel: Kernel,
    pub args: Vec<Node>,
    /// NULL where an argument is NULL.
    pub strict: bool,
    pub ty: DataType,
}

/// A compiled expression.
pub(crate) enum Node {
    Column(usize),
    Const(ArrayRef),
    Call(CallNode),
    And(Vec<Operand>),
    Or(Vec<Operand>),
    Not(Box<Node>),
    IsNull(Box<Node>),
    Case { branches: Vec<(Operand, Operand)>, otherwise: Box<Operand>, ty: DataType },
    Coalesce(Vec<Operand>, DataType),
}

/// A compiled expression with what decides where it is evaluated.
pub(crate) struct Operand {
    pub node: Node,
    /// Whether it can raise an error.
    pub fallible: bool,
    /// The columns it reads.
    pub columns: Vec<usize>,
    /// Type of its result.
    pub ty: DataType,
}

impl Operand {
    /// One element per row.
    pub fn evaluate(&self, input: &Input) -> Result<ArrayRef, SqlError> {
        if input.rows == 0 {
            return Ok(new_empty_array(&self.ty));
        }
        self.node.evaluate(input)?.into_array(input.rows)
    }
}

impl Node {
    /// Precondition: the input has at least one row.
    pub fn evaluate(&self, input: &Input) -> Result<Val, SqlError> {
        debug_assert!(input.rows > 0);
        match self {
            Node::Column(i) => {
                input.columns.get(*i).cloned().ok_or_else(|| {
                    SqlError::internal(format!("expression reads column {i} of {}", input.columns.len()))
                })
            }
            Node::Const(a) => Ok(Val::Const(a.clone())),
            Node::Call(call) => call.evaluate(input),
            Node::And(operands) => evaluate_connective(operands, input, false),
            Node::Or(operands) => evaluate_connective(operands, input, true),
            Node::Not(e) => map_array(e.evaluate(input)?, |a| {
                let bools = Val::Array(a.clone()).into_bools(a.len())?;
                Ok(Arc::new(not(&bools).map_err(internal)?))
            }),
            Node::IsNull(e) => map_array(e.evaluate(input)?, |a| Ok(Arc::new(is_null(a).map_err(internal)?))),
            Node::Case { branches, otherwise, ty } => evaluate_case(branches, otherwise, ty, input),
            Node::Coalesce(operands, ty) => evaluate_coalesce(operands, ty, input),
        }
    }
}

fn map_array(v: Val, f: impl Fn(&ArrayRef) -> Result<ArrayRef, SqlError>) -> Result<Val, SqlError> {
    Ok(match v {
        Val::Array(a) => Val::Array(f(&a)?),
        Val::Const(a) => Val::Const(f(&a)?),
    })
}

impl CallNode {
    fn evaluate(&self, input: &Input) -> Result<Val, SqlError> {
        let mut args = Vec::with_capacity(self.args.len());
        for a in &self.args {
            args.push(a.evaluate(input)?);
        }
        if self.strict && args.iter().any(Val::is_const_null) {
            return Ok(Val::Const(new_null_array(&self.ty, 1)));
        }
        if args.iter().all(Val::is_const) {
            let one: Vec<Val> = args.into_iter().map(|a| Val::Array(a.array().clone())).collect();
            return Ok(Val::Const((self.kernel)(&one, 1)?));
        }
        let out = (self.kernel)(&args, input.rows)?;
        debug_assert_eq!(out.len(), input.rows);
        Ok(Val::Array(out))
    }
}

/// The rows of `acc` that are not yet `decided`.
fn undecided(acc: &BooleanArray, decided: bool) -> BooleanArray {
    let settled = if decided { acc.values().clone() } else { !acc.values() };
    let settled = match acc.nulls() {
        Some(n) => &settled & n.inner(),
        None => settled,
    };
    BooleanArray::new(!&settled, None)
}

/// Puts the elements of `part` on the rows that `at` has true; the other rows are NULL.
fn scatter_bools(part: &BooleanArray, at: &BooleanArray) -> BooleanArray {
    let n = at.len();
    let mut values = BooleanBufferBuilder::new(n);
    let mut valid = BooleanBufferBuilder::new(n);
    values.append_n(n, false);
    valid.append_n(n, false);
    for (k, row) in at.values().set_indices().enumerate() {
        if part.is_valid(k) {
            valid.set_bit(row, true);
            values.set_bit(row, part.value(k));
        }
    }
    BooleanArray::new(values.finish(), Some(arrow::buffer::NullBuffer::new(valid.finish())))
}

/// AND (`decided` = false) and OR (`decided` = true).
fn evaluate_connective(operands: &[Operand], input: &Input, decided: bool) -> Result<Val, SqlError> {
    let combine =
        |a: &BooleanArray, b: &BooleanArray| if decided { or_kleene(a, b) } else { and_kleene(a, b) }.map_err(internal);
    let mut acc: Option<BooleanArray> = None;
    for operand in operands {
        let Some(so_far) = acc.take() else {
            acc = Some(operand.node.evaluate(input)?.into_bools(input.rows)?);
            continue;
        };
        if !operand.fallible {
            let v = operand.node.evaluate(input)?.into_bools(input.rows)?;
            acc = Some(combine(&so_far, &v)?);
            continue;
        }
        let open = undecided(&so_far, decided);
        let count = open.true_count();
        acc = Some(if count == 0 {
            so_far
        } else if count == input.rows {
            combine(&so_far, &operand.node.evaluate(input)?.into_bools(input.rows)?)?
        } else {
            let part = operand.node.evaluate(&input.select(&open, &operand.columns)?)?.into_bools(count)?;
            combine(&so_far, &scatter_bools(&part, &open))?
        });
    }
    let neutral = || BooleanArray::from(vec![!decided; input.rows]);
    Ok(Val::Array(Arc::new(acc.unwrap_or_else(neutral))))
}

/// For each row the element it takes: (source, position in it). Source 0 is one NULL.
struct Picks {
    sources: Vec<ArrayRef>,
    picks: Vec<(usize, usize)>,
    open: BooleanArray,
}

impl Picks {
    fn new(ty: &DataType, rows: usize) -> Picks {
        Picks {
            sources: vec![new_null_array(ty, 1)],
            picks: vec![(0, 0); rows],
            open: BooleanArray::from(vec![true; rows]),
        }
    }

    /// Evaluates an operand for the rows in `at` and gives where each of them, in order, finds its element.
    fn evaluate_at(operand: &Operand, input: &Input, at: &BooleanArray) -> Result<(Val, bool), SqlError> {
        let count = at.true_count();
        if operand.fallible && count < input.rows {
            Ok((operand.node.evaluate(&input.select(at, &operand.columns)?)?, true))
        } else {
            Ok((operand.node.evaluate(input)?, false))
        }
    }

    /// The rows in `at` take their element from `operand`.
    fn take_from(&mut self, operand: &Operand, input: &Input, at: &BooleanArray) -> Result<(), SqlError> {
        if at.true_count() == 0 {
            return Ok(());
        }
        let (val, dense) = Self::evaluate_at(operand, input, at)?;
        let mask = val.mask();
        let source = self.sources.len();
        for (k, row) in at.values().set_indices().enumerate() {
            self.picks[row] = (source, (if dense { k } else { row }) & mask);
        }
        self.sources.push(val.array().clone());
        Ok(())
    }

    fn finish(self) -> Result<Val, SqlError> {
        let sources: Vec<&dyn Array> = self.sources.iter().map(|a| a.as_ref()).collect();
        interleave(&sources, &self.picks).map(Val::Array).map_err(internal)
    }
}

/// Only the elements that are true, as a mask without NULLs.
pub(crate) fn true_rows(a: &BooleanArray) -> BooleanArray {
    match a.nulls() {
        Some(n) => BooleanArray::new(a.values() & n.inner(), None),
        None => BooleanArray::new(a.values().clone(), None),
    }
}

fn evaluate_case(
    branches: &[(Operand, Operand)],
    otherwise: &Operand,
    ty: &DataType,
    input: &Input,
) -> Result<Val, SqlError> {
    let mut out = Picks::new(ty, input.rows);
    for (when, then) in branches {
        if out.open.true_count() == 0 {
            break;
        }
        let (val, dense) = Picks::evaluate_at(when, input, &out.open)?;
        let hit = if dense {
            let part = val.into_bools(out.open.true_count())?;
            true_rows(&scatter_bools(&part, &out.open))
        } else {
            let all = true_rows(&val.into_bools(input.rows)?);
            BooleanArray::new(all.values() & out.open.values(), None)
        };
        out.take_from(then, input, &hit)?;
        out.open = BooleanArray::new(out.open.values() & &!hit.values(), None);
    }
    let rest = out.open.clone();
    out.take_from(otherwise, input, &rest)?;
    out.finish()
}

fn evaluate_coalesce(operands: &[Operand], ty: &DataType, input: &Input) -> Result<Val, SqlError> {
    let mut out = Picks::new(ty, input.rows);
    for (i, operand) in operands.iter().enumerate() {
        let count = out.open.true_count();
        if count == 0 {
            break;
        }
        let (val, dense) = Picks::evaluate_at(operand, input, &out.open)?;
        if i == 0 && val.array().null_count() == 0 {
            return Ok(val);
        }
        let (mask, source) = (val.mask(), out.sources.len());
        let mut still = BooleanBufferBuilder::new(input.rows);
        still.append_n(input.rows, false);
        for (k, row) in out.open.values().set_indices().enumerate() {
            let at = (if dense { k } else { row }) & mask;
            if val.array().is_null(at) {
                still.set_bit(row, true);
            } else {
                out.picks[row] = (source, at);
            }
        }
        out.sources.push(val.array().clone());
        out.open = BooleanArray::new(still.finish(), None);
    }
    out.finish()
}

//! The evaluation of paths over documents.

use super::datetime::Moment;
use super::{Arithmetic, Comparison, Method, Node, Path, Step};
use crate::json::{Doc, Kind, elements, invalid, members, order, unquote};
use hw_repr::numeric::Numeric;
use hw_repr::text::{self, write_json_string};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Why a search ends before its end.
enum Stop {
    /// An error of the data: conditions take it for unknown, silent searches for the end.
    Data(SqlError),
    /// An error whatever is asked for.
    Hard(SqlError),
}

impl From<SqlError> for Stop {
    fn from(e: SqlError) -> Stop {
        Stop::Hard(e)
    }
}

fn data<T>(code: &str, message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Data(SqlError::new(SqlState::new(code), message)))
}

/// The truth of a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(b: bool) -> Truth {
        if b { Truth::True } else { Truth::False }
    }
}

/// A value on the way: JSON text, or a date or time, which JSON has no type for.
#[derive(Clone, Debug)]
enum Item<'a> {
    Json(Cow<'a, str>),
    Moment(Moment),
}

impl<'a> Item<'a> {
    fn doc(d: Doc<'a>) -> Item<'a> {
        Item::Json(Cow::Borrowed(d.0))
    }

    fn kind(&self) -> Kind {
        match self {
            Item::Json(text) => Doc(text).kind(),
            Item::Moment(_) => Kind::String,
        }
    }

    fn is_array(&self) -> bool {
        self.kind() == Kind::Array
    }

    /// The parts of a container, borrowed where it is.
    fn parts(&self, pick: impl Fn(Doc) -> Vec<(usize, usize)>) -> Vec<Item<'a>> {
        match self {
            Item::Json(Cow::Borrowed(text)) => {
                pick(Doc(text)).into_iter().map(|(a, b)| Item::Json(Cow::Borrowed(&text[a..b]))).collect()
            }
            Item::Json(Cow::Owned(text)) => {
                pick(Doc(text)).into_iter().map(|(a, b)| Item::Json(Cow::Owned(text[a..b].to_string()))).collect()
            }
            Item::Moment(_) => vec![],
        }
    }

    fn elements(&self) -> Vec<Item<'a>> {
        self.parts(|d| elements(d).map(|e| place(d, e)).collect())
    }

    fn values(&self) -> Vec<Item<'a>> {
        self.parts(|d| members(d).map(|(_, v)| place(d, v)).collect())
    }

    fn member(&self, key: &str) -> Option<Item<'a>> {
        self.parts(|d| d.member(key).map(|v| place(d, v)).into_iter().collect()).pop()
    }

    fn number(&self) -> Option<Result<Numeric, SqlError>> {
        match self {
            Item::Json(text) if self.kind() == Kind::Number => Some(Doc(text).number()),
            _ => None,
        }
    }

    /// The text of a string; not of a date or time.
    fn string(&self) -> Result<Option<Cow<'_, str>>, SqlError> {
        match self {
            Item::Json(text) if self.kind() == Kind::String => unquote(text).map(Some),
            _ => Ok(None),
        }
    }

    fn into_text(self) -> String {
        match self {
            Item::Json(text) => text.into_owned(),
            Item::Moment(m) => {
                let mut out = String::new();
                write_json_string(&m.shown, &mut out);
                out
            }
        }
    }
}

/// Where a part of a document is within it.
fn place(whole: Doc, part: Doc) -> (usize, usize) {
    let from = part.0.as_ptr() as usize - whole.0.as_ptr() as usize;
    (from, from + part.0.len())
}

/// What a search found, and the error that ended it.
pub(crate) struct Found {
    items: Vec<String>,
    error: Option<SqlError>,
    silent: bool,
    lax: bool,
}

impl Found {
    fn raise(error: Option<SqlError>, silent: bool) -> Result<(), SqlError> {
        match error {
            Some(e) if !silent => Err(e),
            _ => Ok(()),
        }
    }

    /// The selected values as JSON.
    pub fn items(self) -> Result<Vec<String>, SqlError> {
        Found::raise(self.error, self.silent)?;
        Ok(self.items)
    }

    /// Whether there is any; `None` where an error was kept silent.
    pub fn exists(self) -> Result<Option<bool>, SqlError> {
        if self.lax && !self.items.is_empty() {
            return Ok(Some(true));
        }
        let failed = self.error.is_some();
        Found::raise(self.error, self.silent)?;
        Ok((!failed).then_some(!self.items.is_empty()))
    }

    /// The one boolean that was selected; `None` for null, and silently for anything else.
    pub fn matches(self) -> Result<Option<bool>, SqlError> {
        Found::raise(self.error, self.silent)?;
        match self.items.as_slice() {
            [one] if one == "true" => Ok(Some(true)),
            [one] if one == "false" => Ok(Some(false)),
            [one] if one == "null" => Ok(None),
            _ if self.silent => Ok(None),
            _ => Err(SqlError::new(SqlState::new("22038"), "single boolean result is expected")),
        }
    }
}

/// See [`Path::search`].
pub(super) fn search<'d>(path: &Path, doc: Doc<'d>, vars: Doc<'d>, silent: bool) -> Result<Found, SqlError> {
    if !vars.is_object() {
        return Err(invalid("\"vars\" argument is not an object")
            .detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
    }
    let root = Item::doc(doc);
    let mut run = Run { lax: path.lax, root: root.clone(), current: root, vars, sizes: vec![] };
    let mut items = vec![];
    let error = match run.eval(&path.expr, &mut items) {
        Ok(()) => None,
        Err(Stop::Data(e)) => Some(e),
        Err(Stop::Hard(e)) => return Err(e),
    };
    let items = items.into_iter().map(Item::into_text).collect();
    Ok(Found { items, error, silent, lax: path.lax })
}

struct Run<'a> {
    lax: bool,
    root: Item<'a>,
    current: Item<'a>,
    vars: Doc<'a>,
    /// Sizes of the arrays whose subscripts are being computed.
    sizes: Vec<usize>,
}

impl<'a> Run<'a> {
    /// Appends what an expression selects; before an error, what was selected until then.
    fn eval(&mut self, node: &Node, out: &mut Vec<Item<'a>>) -> Result<(), Stop> {
        match node {
            Node::Root => out.push(self.root.clone()),
            Node::Current => out.push(self.current.clone()),
            Node::Last => {
                let size = self.sizes.last().copied().unwrap_or(0);
                out.push(Item::Json(Cow::Owned((size as i64 - 1).to_string())));
            }
            Node::Variable(name) => match self.vars.member(name) {
                Some(value) => out.push(Item::doc(value)),
                None => {
                    let message = format!("could not find jsonpath variable \"{name}\"");
                    return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message).into());
                }
            },
            Node::Literal(text) => out.push(Item::Json(Cow::Owned(text.clone()))),
            Node::Access(base, step) => {
                let mut bases = vec![];
                let ended = self.eval(base, &mut bases);
                let forgiving = self.lax || base.has_any_level();
                for item in &bases {
                    self.take(item, step, self.lax, forgiving, out)?;
                }
                return ended;
            }
            Node::Sign(minus, operand) => {
                for item in self.opened(operand)? {
                    let sign = if *minus { '-' } else { '+' };
                    let Some(n) = item.number() else {
                        return data(
                            "2203B",
                            format!("operand of unary jsonpath operator {sign} is not a numeric value"),
                        );
                    };
                    let n = n?;
                    out.push(number(if *minus { n.neg() } else { n }));
                }
            }
            Node::Arithmetic(op, left, right) => out.push(self.arithmetic(*op, left, right)?),
            condition => out.push(Item::Json(Cow::Borrowed(match self.test(condition)? {
                Truth::True => "true",
                Truth::False => "false",
                Truth::Unknown => "null",
            }))),
        }
        Ok(())
    }

    /// What an expression selects, with arrays opened in lax mode.
    fn opened(&mut self, node: &Node) -> Result<Vec<Item<'a>>, Stop> {
        let mut all = vec![];
        self.eval(node, &mut all)?;
        if self.lax {
            all = all.into_iter().flat_map(|i| if i.is_array() { i.elements() } else { vec![i] }).collect();
        }
        Ok(all)
    }

    fn arithmetic(&mut self, op: Arithmetic, left: &Node, right: &Node) -> Result<Item<'a>, Stop> {
        let sign = match op {
            Arithmetic::Add => '+',
            Arithmetic::Sub => '-',
            Arithmetic::Mul => '*',
            Arithmetic::Div => '/',
            Arithmetic::Mod => '%',
        };
        let (l, r) = (self.opened(left)?, self.opened(right)?);
        let single = |all: &[Item], side: &str| match all {
            [one] if one.kind() == Kind::Number => Ok(one.number().transpose()?.unwrap_or(Numeric::ZERO)),
            _ => data("22038", format!("{side} operand of jsonpath operator {sign} is not a single numeric value")),
        };
        let (l, r) = (single(&l, "left")?, single(&r, "right")?);
        let result = match op {
            Arithmetic::Add => l.add(&r),
            Arithmetic::Sub => l.sub(&r),
            Arithmetic::Mul => l.mul(&r),
            Arithmetic::Div => l.div(&r),
            Arithmetic::Mod => l.rem(&r),
        };
        result.map(number).map_err(Stop::Data)
    }

    /// Applies a step to one value; `open` says that an array stands for its elements where the step wants none.
    fn take(
        &mut self,
        item: &Item<'a>,
        step: &Step,
        open: bool,
        forgiving: bool,
        out: &mut Vec<Item<'a>>,
    ) -> Result<(), Stop> {
        let opens = match step {
            Step::Member(_) | Step::AnyMember | Step::Filter(_) => true,
            Step::Method(m) => !matches!(m, Method::Type | Method::Size),
            _ => false,
        };
        if opens && open && item.is_array() {
            return item.elements().iter().try_for_each(|e| self.take(e, step, false, forgiving, out));
        }
        match step {
            Step::Member(key) => match item.kind() {
                Kind::Object => match item.member(key) {
                    Some(found) => out.push(found),
                    None if forgiving => {}
                    None => return data("2203A", format!("JSON object does not contain key \"{key}\"")),
                },
                _ if forgiving => {}
                _ => return data("2203A", "jsonpath member accessor can only be applied to an object"),
            },
            Step::AnyMember => match item.kind() {
                Kind::Object => out.extend(item.values()),
                _ if forgiving => {}
                _ => return data("2203C", "jsonpath wildcard member accessor can only be applied to an object"),
            },
            Step::AnyElement => match item.kind() {
                Kind::Array => out.extend(item.elements()),
                _ if self.lax => out.push(item.clone()),
                _ if forgiving => {}
                _ => return data("22039", "jsonpath wildcard array accessor can only be applied to an array"),
            },
            Step::Elements(subscripts) => return self.subscripts(item, subscripts, forgiving, out),
            Step::AnyLevel(first, last) => levels(item, 0, *first, *last, out),
            Step::Filter(condition) => {
                let outer = std::mem::replace(&mut self.current, item.clone());
                let truth = self.test(condition);
                self.current = outer;
                if truth? == Truth::True {
                    out.push(item.clone());
                }
            }
            Step::Method(method) => return self.method(item, *method, forgiving, out),
        }
        Ok(())
    }

    fn subscripts(
        &mut self,
        item: &Item<'a>,
        subscripts: &[(Node, Option<Node>)],
        forgiving: bool,
        out: &mut Vec<Item<'a>>,
    ) -> Result<(), Stop> {
        let all = match item.is_array() {
            true => item.elements(),
            // A value stands for an array of itself.
            false if self.lax => vec![item.clone()],
            false if forgiving => return Ok(()),
            false => return data("22039", "jsonpath array accessor can only be applied to an array"),
        };
        for (from, to) in subscripts {
            self.sizes.push(all.len());
            let bounds = self.subscript(from).and_then(|from| {
                let to = to.as_ref().map_or(Ok(from), |to| self.subscript(to))?;
                Ok((i64::from(from), i64::from(to)))
            });
            self.sizes.pop();
            let (from, to) = bounds?;
            let size = all.len() as i64;
            if !forgiving && (from < 0 || from > to || to >= size) {
                return data("22033", "jsonpath array subscript is out of bounds");
            }
            out.extend((from.max(0)..=to.min(size - 1)).map(|i| all[i as usize].clone()));
        }
        Ok(())
    }

    fn subscript(&mut self, node: &Node) -> Result<i32, Stop> {
        let mut all = vec![];
        self.eval(node, &mut all)?;
        let [one] = all.as_slice() else {
            return data("22033", "jsonpath array subscript is not a single numeric value");
        };
        let Some(n) = one.number() else {
            return data("22033", "jsonpath array subscript is not a single numeric value");
        };
        match n?.trunc(0).and_then(|n| n.to_i64()).ok().and_then(|n| i32::try_from(n).ok()) {
            Some(n) => Ok(n),
            None => data("22033", "jsonpath array subscript is out of integer range"),
        }
    }

    fn method(
        &mut self,
        item: &Item<'a>,
        method: Method,
        forgiving: bool,
        out: &mut Vec<Item<'a>>,
    ) -> Result<(), Stop> {
        let name = method.name();
        match method {
            Method::Type => {
                let kind = match item {
                    Item::Moment(m) => m.ty.to_string(),
                    Item::Json(_) => item.kind().name().to_string(),
                };
                out.push(Item::Json(Cow::Owned(format!("\"{kind}\""))));
            }
            Method::Size => match item.is_array() {
                true => out.push(Item::Json(Cow::Owned(item.elements().len().to_string()))),
                false if self.lax => out.push(Item::Json(Cow::Borrowed("1"))),
                false if forgiving => {}
                false => return data("22039", "jsonpath item method .size() can only be applied to an array"),
            },
            Method::Abs | Method::Floor | Method::Ceiling => {
                let Some(n) = item.number() else {
                    let message = format!("jsonpath item method .{name}() can only be applied to a numeric value");
                    return data("22036", message);
                };
                let n = n?;
                let result = match method {
                    Method::Abs => Ok(n.abs()),
                    Method::Floor => n.floor(),
                    _ => n.ceil(),
                };
                out.push(number(result.map_err(Stop::Data)?));
            }
            Method::Double => out.push(double(item)?),
            Method::Datetime => {
                let Some(text) = item.string()? else {
                    return data("22031", "jsonpath item method .datetime() can only be applied to a string");
                };
                match Moment::read(&text)? {
                    Some(moment) => out.push(Item::Moment(moment)),
                    None => {
                        let message = format!("datetime format is not recognized: \"{text}\"");
                        let hint = "Use a datetime template argument to specify the input data format.";
                        return Err(Stop::Data(SqlError::new(SqlState::new("22031"), message).hint(hint)));
                    }
                }
            }
            Method::KeyValue => self.key_values(item, out)?,
        }
        Ok(())
    }

    /// The members of an object, each as an object of its own; `id` tells objects of a document apart.
    fn key_values(&mut self, item: &Item<'a>, out: &mut Vec<Item<'a>>) -> Result<(), Stop> {
        let Item::Json(text) = item else {
            return data("2203C", "jsonpath item method .keyvalue() can only be applied to an object");
        };
        if item.kind() != Kind::Object {
            return data("2203C", "jsonpath item method .keyvalue() can only be applied to an object");
        }
        let is_root = matches!(&self.root, Item::Json(root) if root == text);
        if !is_root && !matches!(text.as_ref(), "{}") {
            let e = SqlError::unsupported("the jsonpath item method .keyvalue() of an inner object is not supported");
            return Err(e.hint("Apply the path to the inner object itself.").into());
        }
        for (key, value) in members(Doc(text)) {
            let shown = format!("{{\"id\": 0, \"key\": {key}, \"value\": {}}}", value.0);
            out.push(Item::Json(Cow::Owned(shown)));
        }
        Ok(())
    }

    fn test(&mut self, node: &Node) -> Result<Truth, Stop> {
        Ok(match node {
            Node::And(a, b) => match self.test(a)? {
                Truth::False => Truth::False,
                left => match (left, self.test(b)?) {
                    (_, Truth::False) => Truth::False,
                    (Truth::True, right) => right,
                    _ => Truth::Unknown,
                },
            },
            Node::Or(a, b) => match self.test(a)? {
                Truth::True => Truth::True,
                left => match (left, self.test(b)?) {
                    (_, Truth::True) => Truth::True,
                    (Truth::False, right) => right,
                    _ => Truth::Unknown,
                },
            },
            Node::Not(a) => match self.test(a)? {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
            },
            Node::IsUnknown(a) => Truth::of(self.test(a)? == Truth::Unknown),
            Node::Exists(a) => {
                let mut found = vec![];
                match self.eval(a, &mut found) {
                    Err(Stop::Hard(e)) => return Err(Stop::Hard(e)),
                    Err(Stop::Data(_)) if !self.lax || found.is_empty() => Truth::Unknown,
                    _ => Truth::of(!found.is_empty()),
                }
            }
            Node::Compare(op, a, b) => {
                let Some((a, b)) = self.operands(a, Some(b), true)? else { return Ok(Truth::Unknown) };
                self.any(a.iter().flat_map(|x| b.iter().map(move |y| compare(*op, x, y))))?
            }
            Node::StartsWith(a, b) => {
                let Some((a, b)) = self.operands(a, Some(b), false)? else { return Ok(Truth::Unknown) };
                self.any(a.iter().flat_map(|x| {
                    b.iter().map(move |y| match (x.string()?, y.string()?) {
                        (Some(whole), Some(start)) => Ok(Truth::of(whole.starts_with(&*start))),
                        _ => Ok(Truth::Unknown),
                    })
                }))?
            }
            Node::LikeRegex(a, regex) => {
                let Some((a, _)) = self.operands(a, None, false)? else { return Ok(Truth::Unknown) };
                self.any(a.iter().map(|x| match x.string()? {
                    Some(text) => Ok(Truth::of(regex.is_match(&text)?)),
                    None => Ok(Truth::Unknown),
                }))?
            }
            _ => Truth::Unknown,
        })
    }

    /// The values on both sides of a condition; `None` where the data make one fail.
    #[allow(clippy::type_complexity)]
    fn operands(
        &mut self,
        left: &Node,
        right: Option<&Node>,
        open_right: bool,
    ) -> Result<Option<(Vec<Item<'a>>, Vec<Item<'a>>)>, Stop> {
        let left = match self.opened(left) {
            Ok(all) => all,
            Err(Stop::Data(_)) => return Ok(None),
            Err(hard) => return Err(hard),
        };
        let mut all = vec![];
        let found = match right {
            None => Ok(()),
            Some(node) if open_right => self.opened(node).map(|items| all = items),
            Some(node) => self.eval(node, &mut all),
        };
        match found {
            Ok(()) => Ok(Some((left, all))),
            Err(Stop::Data(_)) => Ok(None),
            Err(hard) => Err(hard),
        }
    }

    /// True where one pair is; in strict mode a pair that cannot be compared makes the whole unknown.
    fn any(&self, tests: impl Iterator<Item = Result<Truth, SqlError>>) -> Result<Truth, Stop> {
        let (mut found, mut unknown) = (false, false);
        for test in tests {
            match test? {
                Truth::True if self.lax => return Ok(Truth::True),
                Truth::True => found = true,
                Truth::Unknown if !self.lax => return Ok(Truth::Unknown),
                Truth::Unknown => unknown = true,
                Truth::False => {}
            }
        }
        Ok(match (found, unknown) {
            (true, _) => Truth::True,
            (false, true) => Truth::Unknown,
            (false, false) => Truth::False,
        })
    }
}

fn number<'a>(n: Numeric) -> Item<'a> {
    Item::Json(Cow::Owned(n.to_string()))
}

/// `.double()`: a number that a double can hold stays as it is; a text becomes what it says.
fn double<'a>(item: &Item<'a>) -> Result<Item<'a>, Stop> {
    let (text, kind) = match item {
        Item::Json(text) if item.kind() == Kind::Number => (Cow::Borrowed(text.as_ref()), "numeric"),
        _ => match item.string()? {
            Some(text) => (text, "string"),
            None => {
                return data(
                    "22036",
                    "jsonpath item method .double() can only be applied to a string or numeric value",
                );
            }
        },
    };
    let value = match text::parse(SqlType::Float8, &text) {
        Ok(Datum::Float8(v)) if v.0.is_finite() => v.0,
        _ if kind == "numeric" => {
            return data(
                "22036",
                "numeric argument of jsonpath item method .double() is out of range for type double precision",
            );
        }
        _ => {
            return data(
                "22036",
                "string argument of jsonpath item method .double() is not a valid representation of a double precision number",
            );
        }
    };
    match kind {
        "numeric" => Ok(item.clone()),
        _ => Ok(number(Numeric::from_f64(value).map_err(Stop::Data)?)),
    }
}

/// The value and what is within it, where its level is wanted; [`u32::MAX`] is the level of what has nothing within.
fn levels<'a>(item: &Item<'a>, level: u32, first: u32, last: u32, out: &mut Vec<Item<'a>>) {
    let inner = match item.kind() {
        Kind::Array => item.elements(),
        Kind::Object => item.values(),
        _ => vec![],
    };
    let is_leaf = !matches!(item.kind(), Kind::Array | Kind::Object);
    if level >= first || first == u32::MAX && last == u32::MAX && is_leaf {
        out.push(item.clone());
    }
    if level < last {
        inner.iter().for_each(|i| levels(i, level + 1, first, last, out));
    }
}

fn compare(op: Comparison, a: &Item, b: &Item) -> Result<Truth, SqlError> {
    let ordering = match (a, b) {
        (Item::Moment(x), Item::Moment(y)) => match x.order(y) {
            Some(o) => o,
            None => return Ok(Truth::Unknown),
        },
        (Item::Json(x), Item::Json(y)) => match (a.kind(), b.kind()) {
            (Kind::Array | Kind::Object, _) | (_, Kind::Array | Kind::Object) => return Ok(Truth::Unknown),
            (k, l) if k == l => order(Doc(x), Doc(y))?,
            // Null is not equal to anything else, and neither above nor below it.
            (Kind::Null, _) | (_, Kind::Null) => return Ok(Truth::of(op == Comparison::Ne)),
            _ => return Ok(Truth::Unknown),
        },
        _ if Kind::Null == a.kind() || Kind::Null == b.kind() => return Ok(Truth::of(op == Comparison::Ne)),
        _ => return Ok(Truth::Unknown),
    };
    Ok(Truth::of(match op {
        Comparison::Eq => ordering == Ordering::Equal,
        Comparison::Ne => ordering != Ordering::Equal,
        Comparison::Lt => ordering == Ordering::Less,
        Comparison::Le => ordering != Ordering::Greater,
        Comparison::Gt => ordering == Ordering::Greater,
        Comparison::Ge => ordering != Ordering::Less,
    }))
}

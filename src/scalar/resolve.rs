//! Which function a call means: PostgreSQL's resolution of operators, functions and casts, over the types in scope.

mod array;
mod cast;
mod row;
mod signatures;

pub use cast::{CastContext, can_cast, common_type};
use cast::{base, category, is_preferred};
use hw_plan::Func;
use hw_repr::{AliasType, SqlError, SqlState, SqlType};
use signatures::{Signature, signatures};

/// The argument types a call is coerced to and the type of its result. All argument types are known; for quoted
/// literals of no type yet see [`resolve_call_with_unknown`].
pub fn resolve_call(func: Func, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    let args: Vec<Option<SqlType>> = args.iter().copied().map(Some).collect();
    resolve_call_with_unknown(func, &args)
}

/// As [`resolve_call`], where `None` is a literal or parameter of type `unknown`: it takes the type the call gives
/// it. Errors: 42883 where nothing fits, 42725 where several do, 42804 where types cannot be matched.
pub fn resolve_call_with_unknown(func: Func, args: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    match func {
        Func::Greatest | Func::Least => {
            if args.is_empty() {
                return Err(missing(func, args));
            }
            let ty = common_type(&func.name().to_uppercase(), args)?;
            if ty == SqlType::Json {
                let message = "could not identify a comparison function for type json";
                return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message));
            }
            return Ok((vec![ty; args.len()], ty));
        }
        Func::NullIf => {
            let (mut coerced, _) = resolve_call_with_unknown(Func::Eq, args)?;
            // The result is the first argument as it is, compared as `=` compares it.
            let left = *coerced.first().ok_or_else(|| missing(func, args))?;
            let ty = args.first().copied().flatten().filter(|t| has_own_equality(*t, left)).unwrap_or(left);
            coerced.insert(0, ty);
            return Ok((coerced, ty));
        }
        Func::ConcatFn => {
            if args.is_empty() {
                return Err(missing(func, args));
            }
            return Ok((args.iter().map(|a| a.unwrap_or(SqlType::Text)).collect(), SqlType::Text));
        }
        // Text: anything is taken as it is, or by its output function.
        Func::ConcatWs | Func::Format | Func::NumNulls | Func::NumNonnulls => return of_anything(func, args),
        Func::JsonExtractPath
        | Func::JsonExtractPathText
        | Func::JsonTextExtractPath
        | Func::JsonTextExtractPathText => return json_path(func, args),
        Func::ToJsonb
        | Func::ToJson
        | Func::JsonBuildArray
        | Func::JsonBuildObject
        | Func::JsonTextBuildArray
        | Func::JsonTextBuildObject => return json_of_anything(func, args),
        Func::Unnest | Func::GenerateSubscripts | Func::SetOnce => return sets(func, args),
        Func::QuoteLiteral | Func::QuoteNullable if args.len() == 1 => {
            return Ok((vec![SqlType::Text], SqlType::Text));
        }
        Func::Concat => {
            if let Some(found) = resolve_text_concat(args) {
                return Ok(found);
            }
        }
        f if is_comparison(f) => {
            if let Some(found) = comparable(args)? {
                return Ok((found, SqlType::Bool));
            }
        }
        _ => {}
    }
    if row::is_row_function(func) {
        return row::resolve(func, args)?.ok_or_else(|| missing(func, args));
    }
    if crate::kernel::array::is_array_function(func) {
        return array::resolve(func, args)?.ok_or_else(|| missing(func, args));
    }
    let arithmetic = matches!(func, Func::Add | Func::Sub | Func::Mul | Func::Div | Func::Mod | Func::Neg);
    if arithmetic && args.iter().any(|a| matches!(a, Some(SqlType::Alias(AliasType::Oid | AliasType::Xid)))) {
        return Err(missing(func, args));
    }
    let chosen = choose(func, args)?;
    Ok(finish(func, args, chosen))
}

/// Calls whose arguments are taken as they are, or by their output functions.
fn of_anything(func: Func, args: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    let least = if func == Func::ConcatWs { 2 } else { 1 };
    if args.len() < least {
        return Err(missing(func, args));
    }
    let result = if matches!(func, Func::ConcatWs | Func::Format) { SqlType::Text } else { SqlType::Int4 };
    let mut taken: Vec<SqlType> = args.iter().map(|a| a.unwrap_or(SqlType::Text)).collect();
    if result == SqlType::Text {
        if args[0].is_some_and(|t| base(t) != SqlType::Text) {
            return Err(missing(func, args));
        }
        taken[0] = SqlType::Text;
    }
    Ok((taken, result))
}

/// A document and any number of steps.
fn json_path(func: Func, args: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    let doc = match func {
        Func::JsonExtractPath | Func::JsonExtractPathText => SqlType::Jsonb,
        _ => SqlType::Json,
    };
    let fits = |(i, t): (usize, &Option<SqlType>)| {
        let wanted = if i == 0 { doc } else { SqlType::Text };
        t.is_none_or(|t| base(t) == wanted)
    };
    if args.is_empty() || !args.iter().enumerate().all(fits) {
        return Err(missing(func, args));
    }
    let mut taken = vec![SqlType::Text; args.len()];
    taken[0] = doc;
    let as_text = matches!(func, Func::JsonExtractPathText | Func::JsonTextExtractPathText);
    Ok((taken, if as_text { SqlType::Text } else { doc }))
}

/// Values of any types become JSON.
fn json_of_anything(func: Func, args: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    let result = match func {
        Func::ToJsonb | Func::JsonBuildArray | Func::JsonBuildObject => SqlType::Jsonb,
        _ => SqlType::Json,
    };
    if matches!(func, Func::ToJsonb | Func::ToJson) {
        match args {
            [Some(_)] => {}
            [None] => {
                let message = "could not determine polymorphic type because input has type unknown";
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
            }
            _ => return Err(missing(func, args)),
        }
    }
    Ok((args.iter().map(|a| a.unwrap_or(SqlType::Text)).collect(), result))
}

/// Set-returning functions of arrays, and of any value.
fn sets(func: Func, args: &[Option<SqlType>]) -> Result<(Vec<SqlType>, SqlType), SqlError> {
    let array = |t: &Option<SqlType>| t.filter(|t| t.element().is_some());
    match (func, args) {
        (Func::SetOnce, [one]) => {
            let ty = one.unwrap_or(SqlType::Text);
            Ok((vec![ty], ty))
        }
        // Of text search vectors too, which are not here.
        (Func::Unnest, [None]) => Err(ambiguous(func, args)),
        (Func::Unnest, [Some(ty)]) => {
            let element = ty.element().ok_or_else(|| missing(func, args))?;
            let plain = if matches!(element, SqlType::Char(_)) { element } else { element.without_modifier() };
            Ok((vec![*ty], plain))
        }
        (Func::GenerateSubscripts, [first, rest @ ..]) if matches!(rest.len(), 1 | 2) => {
            let ty = array(first).ok_or_else(|| missing(func, args))?;
            let wanted = [SqlType::Int4, SqlType::Bool];
            let fits = |(t, w): (&Option<SqlType>, &SqlType)| t.is_none_or(|t| can_cast(t, *w, CastContext::Implicit));
            if !rest.iter().zip(&wanted).all(fits) {
                return Err(missing(func, args));
            }
            Ok((std::iter::once(ty).chain(wanted.into_iter().take(rest.len())).collect(), SqlType::Int4))
        }
        _ => Err(missing(func, args)),
    }
}

/// Whether PostgreSQL compares values of type `t`, which are compared as `with` here, by an operator of their own.
fn has_own_equality(t: SqlType, with: SqlType) -> bool {
    use SqlType::*;
    let whole = |t| matches!(t, Int2 | Int4 | Int8);
    let float = |t| matches!(t, Float4 | Float8);
    let moment = |t| matches!(t, Date | Timestamp | TimestampTz);
    base(t) == base(with) || whole(t) && whole(with) || float(t) && float(with) || moment(t) && moment(with)
}

/// Comparisons that no list of signatures holds: of char, where literals and varchar lose the spaces at their end (text does
/// not: it is the type that strings are compared as), and of arrays.
fn comparable(args: &[Option<SqlType>]) -> Result<Option<Vec<SqlType>>, SqlError> {
    let [a, b] = args else { return Ok(None) };
    if let Some(found) = row::comparable(*a, *b)? {
        return Ok(Some(found));
    }
    let is = |t: &Option<SqlType>, f: fn(&SqlType) -> bool| t.as_ref().is_some_and(f);
    let char = |t: &Option<SqlType>| is(t, |t| matches!(t, SqlType::Char(_)));
    let as_char = |t: &Option<SqlType>| is(t, |t| matches!(t, SqlType::Char(_) | SqlType::Varchar(_))) || t.is_none();
    if (char(a) && as_char(b)) || (char(b) && as_char(a)) {
        return Ok(Some(vec![SqlType::Char(None); 2]));
    }
    let array = |t: &Option<SqlType>| is(t, |t| matches!(t, SqlType::Array(_)));
    match (a, b) {
        (Some(x), Some(y)) if array(a) && array(b) => Ok((base(*x) == base(*y)).then(|| vec![base(*x); 2])),
        (Some(x), None) | (None, Some(x)) if array(&Some(*x)) => Ok(Some(vec![base(*x); 2])),
        _ => Ok(None),
    }
}

/// `text || anything` and `anything || text`.
fn resolve_text_concat(args: &[Option<SqlType>]) -> Option<(Vec<SqlType>, SqlType)> {
    let [a, b] = args else { return None };
    let is_text = |t: &Option<SqlType>| t.is_some_and(|t| base(t) == SqlType::Text);
    let only_text_takes = |t: &Option<SqlType>| {
        !matches!(t, Some(SqlType::Bytea | SqlType::Jsonb | SqlType::Bit(_) | SqlType::Varbit(_)))
    };
    let text_wins =
        is_text(a) || is_text(b) || (a.is_none() || b.is_none()) && only_text_takes(a) && only_text_takes(b);
    text_wins.then(|| (vec![SqlType::Text, SqlType::Text], SqlType::Text))
}

/// Which of these signatures arguments of these types mean, by the same steps: all that none of them tells apart.
pub fn choose_among(candidates: &[Vec<SqlType>], args: &[Option<SqlType>]) -> Vec<usize> {
    let same = |c: &Vec<SqlType>| {
        c.iter().zip(args).all(|(s, t)| t.is_some_and(|t| t.without_modifier() == s.without_modifier()))
    };
    if let Some(found) = candidates.iter().position(same) {
        return vec![found];
    }
    let based: Vec<Vec<SqlType>> = candidates.iter().map(|c| c.iter().map(|t| base(*t)).collect()).collect();
    let fits = |s: &&Vec<SqlType>| {
        s.iter().zip(args).all(|(s, t)| t.is_none_or(|t| base(t) == *s || can_cast(t, *s, CastContext::Implicit)))
    };
    let signature = |args: &Vec<SqlType>| Signature { args: args.clone(), result: SqlType::Text };
    let mut left: Vec<Signature> = based.iter().filter(fits).map(signature).collect();
    narrow(&mut left, args);
    (0..based.len()).filter(|i| left.iter().any(|s| s.args == based[*i])).collect()
}

/// Keeps the candidates that fit best.
fn narrow(left: &mut Vec<Signature>, args: &[Option<SqlType>]) {
    keep_best(left, |s| matches(s, args, |s, t| base(t) == s));
    keep_best(left, |s| matches(s, args, |s, t| base(t) == s || (is_preferred(s) && category(s) == category(t))));
    if left.len() > 1 && args.contains(&None) {
        narrow_unknown(left, args);
    }
}

/// The steps of PostgreSQL's manual, chapter 10 (Type Conversion).
fn choose(func: Func, args: &[Option<SqlType>]) -> Result<Signature, SqlError> {
    let all: Vec<Signature> = signatures(func).into_iter().filter(|s| s.args.len() == args.len()).collect();
    let exact = |types: &[Option<SqlType>]| {
        all.iter().find(|s| s.args.iter().zip(types).all(|(s, t)| t.is_some_and(|t| base(t) == *s))).cloned()
    };
    if let Some(found) = exact(args) {
        return Ok(found);
    }
    if let [a, b] = args
        && is_operator(func)
        && (a.is_none() != b.is_none())
        && let Some(found) = exact(&[a.or(*b), b.or(*a)])
    {
        return Ok(found);
    }
    let fits =
        |s: &Signature| s.args.iter().zip(args).all(|(s, t)| t.is_none_or(|t| can_cast(t, *s, CastContext::Implicit)));
    let mut left: Vec<Signature> = all.into_iter().filter(fits).collect();
    narrow(&mut left, args);
    match left.len() {
        0 => Err(missing(func, args)),
        1 => Ok(left.remove(0)),
        _ => Err(ambiguous(func, args)),
    }
}

fn matches(s: &Signature, args: &[Option<SqlType>], hit: impl Fn(SqlType, SqlType) -> bool) -> usize {
    s.args.iter().zip(args).filter(|(s, t)| t.is_some_and(|t| hit(**s, t))).count()
}

fn keep_best(left: &mut Vec<Signature>, score: impl Fn(&Signature) -> usize) {
    let best = left.iter().map(&score).max().unwrap_or(0);
    left.retain(|s| score(s) == best);
}

/// Unknown arguments: a string where some candidate takes one, else the one category all agree on, its preferred type
/// first; at last, the type of the known arguments.
fn narrow_unknown(left: &mut Vec<Signature>, args: &[Option<SqlType>]) {
    let before = left.clone();
    for (i, _) in args.iter().enumerate().filter(|(_, t)| t.is_none()) {
        if left.iter().any(|s| s.args[i] == SqlType::Text) {
            left.retain(|s| s.args[i] == SqlType::Text);
            continue;
        }
        let first = left.first().map(|s| category(s.args[i]));
        if left.iter().any(|s| Some(category(s.args[i])) != first) {
            *left = before.clone();
            break;
        }
        if left.iter().any(|s| is_preferred(s.args[i])) {
            left.retain(|s| is_preferred(s.args[i]));
        }
    }
    if left.len() > 1 {
        let known: Vec<SqlType> = args.iter().flatten().map(|t| base(*t)).collect();
        if let Some(t) = known.first().filter(|t| known.iter().all(|k| k == *t)) {
            let same: Vec<Signature> = left
                .iter()
                .filter(|s| s.args.iter().all(|a| can_cast(*t, *a, CastContext::Implicit)))
                .cloned()
                .collect();
            if same.len() == 1 {
                *left = same;
            }
        }
    }
}

/// From the signature to the types the kernels take.
fn finish(func: Func, args: &[Option<SqlType>], s: Signature) -> (Vec<SqlType>, SqlType) {
    let Signature { args: mut coerced, result } = s;
    if is_comparison(func) && coerced.iter().all(|t| *t == SqlType::Numeric(None)) {
        if let Some(t) = cast::common_decimal(args) {
            coerced = vec![t; args.len()];
        }
    } else if let [a, b] = coerced.as_slice()
        && a != b
        && [a, b].iter().all(|t| matches!(t, SqlType::Float4 | SqlType::Float8))
    {
        coerced = vec![SqlType::Float8; 2];
    }
    (coerced, result)
}

/// Whether a function is one of the six comparisons or IS NOT DISTINCT FROM.
pub(crate) fn is_comparison(func: Func) -> bool {
    matches!(func, Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge | Func::NotDistinct)
}

fn is_operator(func: Func) -> bool {
    !func.name().starts_with(|c: char| c.is_ascii_alphabetic()) || operator_sign(func) != func.name()
}

/// How PostgreSQL's messages spell an operator.
fn operator_sign(func: Func) -> &'static str {
    match func {
        Func::Neg => "-",
        Func::BitNot => "~",
        Func::Like => "~~",
        Func::ILike => "~~*",
        Func::NotDistinct => "=",
        other => other.name(),
    }
}

fn spell(t: &Option<SqlType>) -> String {
    t.map_or_else(|| "unknown".to_string(), |t| base_name(t).to_string())
}

fn base_name(t: SqlType) -> SqlType {
    t.without_modifier()
}

fn spell_call(func: Func, args: &[Option<SqlType>]) -> (&'static str, String) {
    let names: Vec<String> = args.iter().map(spell).collect();
    match names.as_slice() {
        [a] if is_operator(func) => ("operator", format!("{} {a}", operator_sign(func))),
        [a, b] if is_operator(func) => ("operator", format!("{a} {} {b}", operator_sign(func))),
        _ => ("function", format!("{}({})", func.name(), names.join(", "))),
    }
}

fn missing(func: Func, args: &[Option<SqlType>]) -> SqlError {
    let (kind, call) = spell_call(func, args);
    let message = match kind {
        "operator" => format!("operator does not exist: {call}"),
        _ => format!("function {call} does not exist"),
    };
    let hint = match (kind, args.len()) {
        ("operator", 1) => {
            "No operator matches the given name and argument type. You might need to add an explicit type cast."
        }
        ("operator", _) => {
            "No operator matches the given name and argument types. You might need to add explicit type casts."
        }
        _ => "No function matches the given name and argument types. You might need to add explicit type casts.",
    };
    SqlError::new(SqlState::UNDEFINED_FUNCTION, message).hint(hint)
}

fn ambiguous(func: Func, args: &[Option<SqlType>]) -> SqlError {
    let (kind, call) = spell_call(func, args);
    let message = match kind {
        "operator" => format!("operator is not unique: {call}"),
        _ => format!("function {call} is not unique"),
    };
    SqlError::new(SqlState::new("42725"), message)
        .hint(format!("Could not choose a best candidate {kind}. You might need to add explicit type casts."))
}

/// The function a name, in lower case and without schema, means; operators are named by their sign.
pub fn function_by_name(name: &str) -> Option<Func> {
    Some(match name {
        "char_length" | "character_length" => Func::Length,
        "ceiling" => Func::Ceil,
        "pow" => Func::Power,
        "mod" => Func::Mod,
        "trim" => Func::Btrim,
        "similar_escape" => Func::SimilarToEscape,
        "textcat" => Func::Concat,
        "jsonb_exists" => Func::JsonExists,
        "jsonb_contains" => Func::JsonContains,
        "jsonb_contained" => Func::JsonContained,
        "jsonb_delete_path" => Func::JsonDeletePath,
        "~~" => Func::Like,
        "~~*" => Func::ILike,
        "neg" | "bitwise not" | "is not distinct from" | "like" | "ilike" => return None,
        "!=" => Func::Ne,
        // Those with a space have a syntax of their own.
        spaced if spaced.contains(' ') => return None,
        other => return Func::ALL.iter().copied().find(|f| f.name() == other),
    })
}

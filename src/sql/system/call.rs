//! The catalog functions themselves, one a function of PostgreSQL's.

use super::{Arg, Facts, SystemFunction};
use crate::collect::{read_elements, write_element};
use crate::typing::{Kind, Reg};
use hw_repr::{AliasType, Datum, SqlError, SqlState, SqlType};

/// Computes one row.
pub(super) type Call = fn(&Facts, &[Datum]) -> Result<Datum, SqlError>;

/// What a function gives that names something.
const NAME: SqlType = SqlType::Alias(AliasType::Name);
const OID: Arg = Arg::Of(SqlType::Int8);
const INT: Arg = Arg::Of(SqlType::Int4);
const TEXT: Arg = Arg::Of(SqlType::Text);
const BOOL: Arg = Arg::Of(SqlType::Bool);

const fn f(name: &'static str, call: Call, args: &'static [Arg], optional: usize, result: SqlType) -> SystemFunction {
    SystemFunction { name, call, args, optional, result, kind: Kind::Plain }
}

const fn of_kind(function: SystemFunction, kind: Kind) -> SystemFunction {
    SystemFunction { kind, ..function }
}

/// Every catalog function.
pub(super) const ALL: &[SystemFunction] = &[
    f("pg_table_is_visible", table_is_visible, &[OID], 0, SqlType::Bool),
    f("pg_type_is_visible", is_true, &[OID], 0, SqlType::Bool),
    f("pg_function_is_visible", function_is_visible, &[OID], 0, SqlType::Bool),
    f("pg_operator_is_visible", is_true, &[OID], 0, SqlType::Bool),
    f("pg_collation_is_visible", is_true, &[OID], 0, SqlType::Bool),
    f("pg_opclass_is_visible", is_true, &[OID], 0, SqlType::Bool),
    f("pg_get_userbyid", user_by_id, &[OID], 0, NAME),
    f("format_type", format_type, &[OID, INT], 0, SqlType::Text),
    f("pg_get_expr", expression, &[TEXT, OID, BOOL], 1, SqlType::Text),
    f("pg_get_viewdef", view_definition, &[Arg::Relation, BOOL], 1, SqlType::Text),
    f("pg_get_indexdef", index_definition, &[Arg::Relation, INT, BOOL], 2, SqlType::Text),
    f("pg_get_constraintdef", constraint_definition, &[OID, BOOL], 1, SqlType::Text),
    f("pg_get_ruledef", nothing, &[OID, BOOL], 1, SqlType::Text),
    f("pg_get_triggerdef", nothing, &[OID, BOOL], 1, SqlType::Text),
    f("pg_get_partkeydef", nothing, &[OID], 0, SqlType::Text),
    f("pg_get_statisticsobjdef_columns", nothing, &[OID], 0, SqlType::Text),
    f("pg_get_function_result", function_result, &[OID], 0, SqlType::Text),
    f("pg_get_function_arguments", function_arguments, &[OID], 0, SqlType::Text),
    f("pg_get_function_identity_arguments", function_identity_arguments, &[OID], 0, SqlType::Text),
    f("pg_get_serial_sequence", nothing, &[TEXT, TEXT], 0, SqlType::Text),
    f("pg_relation_is_publishable", is_publishable, &[Arg::Relation], 0, SqlType::Bool),
    f("obj_description", nothing, &[OID, TEXT], 1, SqlType::Text),
    f("shobj_description", nothing, &[OID, TEXT], 0, SqlType::Text),
    f("col_description", nothing, &[OID, INT], 0, SqlType::Text),
    f("pg_encoding_to_char", encoding_to_char, &[INT], 0, NAME),
    f("pg_char_to_encoding", char_to_encoding, &[TEXT], 0, SqlType::Int4),
    f("pg_client_encoding", utf8, &[], 0, NAME),
    f("getdatabaseencoding", utf8, &[], 0, NAME),
    f("pg_tablespace_location", no_text, &[OID], 0, SqlType::Text),
    // The sizes of relations on disk are not what they are in PostgreSQL; see headwater.views for bytes.
    f("pg_table_size", no_size, &[Arg::Relation], 0, SqlType::Int8),
    f("pg_relation_size", no_size, &[Arg::Relation, TEXT], 1, SqlType::Int8),
    f("pg_total_relation_size", no_size, &[Arg::Relation], 0, SqlType::Int8),
    f("pg_indexes_size", no_size, &[Arg::Relation], 0, SqlType::Int8),
    f("pg_database_size", no_size, &[Arg::Any], 0, SqlType::Int8),
    f("pg_tablespace_size", no_size, &[Arg::Any], 0, SqlType::Int8),
    f("has_database_privilege", is_true, &[Arg::Any, Arg::Any, TEXT], 1, SqlType::Bool),
    f("has_schema_privilege", is_true, &[Arg::Any, Arg::Any, TEXT], 1, SqlType::Bool),
    f("has_table_privilege", is_true, &[Arg::Any, Arg::Any, TEXT], 1, SqlType::Bool),
    f("has_any_column_privilege", is_true, &[Arg::Any, Arg::Any, TEXT], 1, SqlType::Bool),
    f("pg_is_in_recovery", is_false, &[], 0, SqlType::Bool),
    f("array_to_string", array_to_string, &[TEXT, TEXT, TEXT], 1, SqlType::Text),
    f("array_length", array_length, &[TEXT, INT], 0, SqlType::Int4),
    f("array_upper", array_length, &[TEXT, INT], 0, SqlType::Int4),
    of_kind(f("array_remove", array_remove, &[TEXT, TEXT], 0, SqlType::Text), Kind::Array),
    f("cardinality", cardinality, &[TEXT], 0, SqlType::Int4),
    of_kind(f("current_schemas", current_schemas, &[BOOL], 0, SqlType::Text), Kind::Array),
    of_kind(f("hw_array_prefix", array_prefix, &[TEXT, TEXT], 0, SqlType::Text), Kind::Array),
    of_kind(f("hw_array_concat", array_concat, &[TEXT, TEXT], 0, SqlType::Text), Kind::Array),
    f("hw_any_equal", any_equal, &[TEXT, TEXT], 0, SqlType::Bool),
    f("hw_out:regclass", regclass_out, &[OID], 0, SqlType::Text),
    f("hw_out:regtype", regtype_out, &[OID], 0, SqlType::Text),
    f("hw_out:regnamespace", regnamespace_out, &[OID], 0, SqlType::Text),
    f("hw_out:regrole", regrole_out, &[OID], 0, SqlType::Text),
    f("hw_out:regproc", regproc_out, &[OID], 0, SqlType::Text),
    f("hw_out:regprocedure", regproc_out, &[OID], 0, SqlType::Text),
    of_kind(f("hw_in:regclass", regclass_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Class)),
    of_kind(f("hw_in:regtype", regtype_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Type)),
    of_kind(f("hw_in:regnamespace", regnamespace_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Namespace)),
    of_kind(f("hw_in:regrole", regrole_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Role)),
    of_kind(f("hw_in:regproc", regproc_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Proc)),
    of_kind(f("hw_in:regprocedure", regproc_in, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Procedure)),
    of_kind(f("to_regtype", to_regtype, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Type)),
    of_kind(f("to_regclass", to_regclass, &[TEXT], 0, SqlType::Int8), Kind::Reg(Reg::Class)),
];

fn text(s: impl Into<String>) -> Result<Datum, SqlError> {
    Ok(Datum::Text(s.into()))
}

fn or_null(s: Option<String>) -> Result<Datum, SqlError> {
    Ok(s.map_or(Datum::Null, Datum::Text))
}

fn oid(args: &[Datum]) -> Option<i64> {
    match args.first() {
        Some(Datum::Int8(n)) => Some(*n),
        _ => None,
    }
}

fn string(args: &[Datum], at: usize) -> Option<&str> {
    match args.get(at) {
        Some(Datum::Text(s)) => Some(s),
        _ => None,
    }
}

fn any_null(args: &[Datum]) -> bool {
    args.contains(&Datum::Null)
}

fn nothing(_: &Facts, _: &[Datum]) -> Result<Datum, SqlError> {
    Ok(Datum::Null)
}

/// Stored expressions are kept as text.
fn expression(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    Ok(if any_null(args) { Datum::Null } else { args.first().cloned().unwrap_or(Datum::Null) })
}

fn no_size(_: &Facts, _: &[Datum]) -> Result<Datum, SqlError> {
    Ok(Datum::Null)
}

fn no_text(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    if any_null(args) { Ok(Datum::Null) } else { text("") }
}

fn is_true(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    Ok(if any_null(args) { Datum::Null } else { Datum::Bool(true) })
}

fn is_false(_: &Facts, _: &[Datum]) -> Result<Datum, SqlError> {
    Ok(Datum::Bool(false))
}

fn table_is_visible(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    Ok(if facts.relations.contains_key(&oid) { Datum::Bool(facts.visible.contains(&oid)) } else { Datum::Null })
}

fn function_is_visible(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let found = oid(args).and_then(|o| facts.functions.get(&o));
    Ok(found.map_or(Datum::Null, |(schema, _)| Datum::Bool(facts.path.contains(schema))))
}

fn function_result(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    use hw_plan::function::Returns;
    let Some((_, f)) = oid(args).and_then(|o| facts.functions.get(&o)) else { return Ok(Datum::Null) };
    text(match &f.returns {
        Returns::Value(ty) => ty.to_string(),
        Returns::Set(ty) => format!("SETOF {ty}"),
        Returns::Table(columns) => {
            let columns: Vec<String> = columns.iter().map(|(n, ty)| format!("{} {ty}", ident(n))).collect();
            format!("TABLE({})", columns.join(", "))
        }
    })
}

fn function_arguments(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    parameters(facts, args, true)
}

fn function_identity_arguments(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    parameters(facts, args, false)
}

fn parameters(facts: &Facts, args: &[Datum], defaults: bool) -> Result<Datum, SqlError> {
    let Some((_, f)) = oid(args).and_then(|o| facts.functions.get(&o)) else { return Ok(Datum::Null) };
    let one = |p: &hw_plan::function::Parameter| {
        let name = p.name.as_ref().map(|n| format!("{} ", ident(n))).unwrap_or_default();
        let default = p.default.as_ref().filter(|_| defaults).map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
        format!("{name}{}{default}", p.ty)
    };
    text(f.parameters.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn user_by_id(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    text(facts.roles.get(&oid).cloned().unwrap_or_else(|| format!("unknown (OID={oid})")))
}

/// The type of an OID of `pg_type`, arrays included.
fn type_text(oid: i64, typmod: Option<i32>) -> Option<String> {
    match oid {
        705 => return Some("unknown".into()),
        2249 => return Some("record".into()),
        2287 => return Some("record[]".into()),
        _ => {}
    }
    let ty = SqlType::from_oid(u32::try_from(oid).ok()?, typmod.unwrap_or(-1))?;
    // The bare name would be read as bit(1).
    match (ty, ty.element()) {
        (SqlType::Bit(None), _) if typmod.is_some() => return Some("\"bit\"".into()),
        (_, Some(SqlType::Bit(None))) if typmod.is_some() => return Some("\"bit\"[]".into()),
        _ => {}
    }
    let bare_char = matches!(ty, SqlType::Char(None)) && typmod.is_none();
    Some(if bare_char { "character".into() } else { ty.to_string() })
}

fn format_type(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    let typmod = match args.get(1) {
        Some(Datum::Int4(m)) => Some(*m),
        _ => None,
    };
    if oid == 0 {
        return text("-");
    }
    text(type_text(oid, typmod).unwrap_or_else(|| "???".into()))
}

fn view_definition(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    or_null(facts.views.get(&oid).map(|v| format!(" {v};")))
}

fn index_definition(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(index) = oid(args).and_then(|o| facts.indexes.get(&o)) else { return Ok(Datum::Null) };
    let pretty = matches!(args.get(2), Some(Datum::Bool(true)));
    match args.get(1) {
        Some(Datum::Int4(n)) if *n > 0 => {
            let columns = if pretty { &index.columns } else { &index.spelt_out };
            text(usize::try_from(n - 1).ok().and_then(|n| columns.get(n)).cloned().unwrap_or_default())
        }
        Some(Datum::Null) => Ok(Datum::Null),
        _ => text(index.definition(pretty)),
    }
}

fn constraint_definition(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    or_null(oid(args).and_then(|o| facts.constraints.get(&o)).cloned())
}

fn is_publishable(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    Ok(if facts.relations.contains_key(&oid) { Datum::Bool(facts.publishable.contains(&oid)) } else { Datum::Null })
}

fn encoding_to_char(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    match args.first() {
        Some(Datum::Int4(6)) => text("UTF8"),
        Some(Datum::Int4(0)) => text("SQL_ASCII"),
        Some(Datum::Int4(_)) => text(""),
        _ => Ok(Datum::Null),
    }
}

/// The only encoding.
fn utf8(_: &Facts, _: &[Datum]) -> Result<Datum, SqlError> {
    text("UTF8")
}

/// The numbers of the encodings that conversions know; -1 of any other.
fn char_to_encoding(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    Ok(Datum::Int4(match plain.as_str() {
        "sqlascii" => 0,
        "utf8" | "unicode" => 6,
        "latin1" | "iso88591" => 8,
        _ => -1,
    }))
}

/// An identifier as it must be written.
fn ident(name: &str) -> String {
    let plain = name
        .chars()
        .enumerate()
        .all(|(i, c)| c.is_ascii_lowercase() || c == '_' || i > 0 && (c.is_ascii_digit() || c == '$'));
    let keyword =
        sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS.iter().any(|k| format!("{k:?}").eq_ignore_ascii_case(name));
    if plain && !name.is_empty() && !keyword { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn array_to_string(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let (Some(array), Some(separator)) = (string(args, 0), string(args, 1)) else { return Ok(Datum::Null) };
    let null = string(args, 2);
    let elements = read_elements(array)?;
    let shown: Vec<&str> = elements.iter().filter_map(|e| e.as_deref().or(null)).collect();
    text(shown.join(separator))
}

fn array_length(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let (Some(array), Some(Datum::Int4(1))) = (string(args, 0), args.get(1)) else { return Ok(Datum::Null) };
    Ok(match read_elements(array)?.len() {
        0 => Datum::Null,
        n => Datum::Int4(i32::try_from(n).unwrap_or(i32::MAX)),
    })
}

fn cardinality(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(array) = string(args, 0) else { return Ok(Datum::Null) };
    Ok(Datum::Int4(i32::try_from(read_elements(array)?.len()).unwrap_or(i32::MAX)))
}

fn print_array<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> Result<Datum, SqlError> {
    let mut out = String::from("{");
    for (i, element) in elements.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_element(element, &mut out);
    }
    out.push('}');
    text(out)
}

fn current_schemas(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(Datum::Bool(implicit)) = args.first() else { return Ok(Datum::Null) };
    let shown = facts.path.iter().filter(|s| *implicit || *s != "pg_catalog");
    let existing = shown.filter(|s| facts.schemas.values().any(|n| n == *s));
    print_array(existing.map(|s| Some(s.as_str())))
}

fn array_prefix(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let prefix = string(args, 1).unwrap_or_default();
    let elements = match string(args, 0) {
        Some(array) => read_elements(array)?,
        None => vec![],
    };
    let all: Vec<Option<String>> = elements.into_iter().map(|e| e.map(|e| format!("{prefix}{e}"))).collect();
    print_array(all.iter().map(Option::as_deref))
}

fn array_concat(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let mut all = vec![];
    for at in 0..2 {
        if let Some(array) = string(args, at) {
            all.extend(read_elements(array)?);
        }
    }
    if args.iter().all(|a| *a == Datum::Null) {
        return Ok(Datum::Null);
    }
    print_array(all.iter().map(Option::as_deref))
}

fn array_remove(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(array) = string(args, 0) else { return Ok(Datum::Null) };
    let elements = read_elements(array)?;
    print_array(elements.iter().map(Option::as_deref).filter(|e| *e != string(args, 1)))
}

/// `value = ANY (array)`, where an array may be printed as a vector is: numbers with spaces between.
fn any_equal(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(array) = string(args, 1) else { return Ok(Datum::Null) };
    let elements = match array.trim_start().starts_with('{') {
        true => read_elements(array)?,
        false => array.split_ascii_whitespace().map(|e| Some(e.to_string())).collect(),
    };
    if elements.is_empty() {
        return Ok(Datum::Bool(false));
    }
    let Some(value) = string(args, 0) else { return Ok(Datum::Null) };
    Ok(match elements.iter().any(|e| e.as_deref() == Some(value)) {
        true => Datum::Bool(true),
        false if elements.contains(&None) => Datum::Null,
        false => Datum::Bool(false),
    })
}

fn regclass_out(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    text(match facts.relations.get(&oid) {
        Some((_, name)) if facts.visible.contains(&oid) => ident(name),
        Some((schema, name)) => format!("{}.{}", ident(schema), ident(name)),
        None if oid == 0 => "-".into(),
        None => oid.to_string(),
    })
}

fn regtype_out(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    text(match type_text(oid, None) {
        _ if oid == 0 => "-".into(),
        Some(name) => name,
        None => oid.to_string(),
    })
}

fn name_out(names: &std::collections::HashMap<i64, String>, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    text(match names.get(&oid) {
        Some(name) => ident(name),
        None if oid == 0 => "-".into(),
        None => oid.to_string(),
    })
}

fn regnamespace_out(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    name_out(&facts.schemas, args)
}

fn regrole_out(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    name_out(&facts.roles, args)
}

fn regproc_out(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(oid) = oid(args) else { return Ok(Datum::Null) };
    text(if oid == 0 { "-".to_string() } else { oid.to_string() })
}

/// The parts of a possibly qualified name, folded.
fn name_parts(name: &str) -> Result<Vec<String>, SqlError> {
    let invalid = || SqlError::new(SqlState::new("42602"), format!("invalid name syntax: {name}"));
    let (mut parts, mut part, mut quoted, mut was_quoted) = (vec![], String::new(), false, false);
    let mut chars = name.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            '.' if !quoted => {
                parts.push(std::mem::take(&mut part));
                was_quoted = false;
            }
            c if quoted => part.push(c),
            c if c.is_whitespace() && !was_quoted => return Err(invalid()),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    if quoted || parts.iter().any(String::is_empty) {
        return Err(invalid());
    }
    Ok(parts)
}

/// An OID given by its digits.
fn digits(name: &str) -> Option<Datum> {
    match name.trim() {
        "-" => Some(Datum::Int8(0)),
        n => n.parse::<u32>().ok().map(|n| Datum::Int8(i64::from(n))),
    }
}

fn find_relation(facts: &Facts, name: &str) -> Result<Option<i64>, SqlError> {
    let mut parts = name_parts(name)?;
    let last = parts.pop().unwrap_or_default();
    let schema = parts.pop();
    let found = facts.relations.iter().find(|(oid, (s, n))| {
        *n == last && schema.as_ref().map_or_else(|| facts.visible.contains(oid), |schema| s == schema)
    });
    Ok(found.map(|(oid, _)| *oid))
}

fn regclass_in(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    if let Some(oid) = digits(name) {
        return Ok(oid);
    }
    match find_relation(facts, name)? {
        Some(oid) => Ok(Datum::Int8(oid)),
        None => {
            let shown = name_parts(name)?.join(".");
            Err(SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist")))
        }
    }
}

fn to_regclass(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    Ok(find_relation(facts, name)?.map_or(Datum::Null, Datum::Int8))
}

fn regtype_in(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    if let Some(oid) = digits(name) {
        return Ok(oid);
    }
    let built_in = crate::types::type_by_name(name.trim()).map(|t| i64::from(t.oid()));
    let found = built_in.or_else(|| defined_type(facts, name.trim()));
    found.map(Datum::Int8).ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.trim().to_lowercase()))
    })
}

/// The type that a statement has defined under a name, or that of its arrays.
fn defined_type(facts: &Facts, name: &str) -> Option<i64> {
    let (element, is_array) = match name.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (name, false),
    };
    let mut parts = name_parts(element).ok()?;
    let last = parts.pop()?;
    let in_schema = |schema: &String| facts.types.get(&(schema.clone(), last.clone())).copied();
    let found = match parts.pop() {
        Some(schema) => in_schema(&schema),
        None => facts.path.iter().find_map(in_schema),
    };
    found.map(|oid| if is_array { oid + i64::from(hw_repr::types::ARRAY_TYPE_OIDS) } else { oid })
}

/// The type of that name; NULL where there is none.
fn to_regtype(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    match regtype_in(facts, args) {
        Err(e) if e.code == SqlState::UNDEFINED_OBJECT => Ok(Datum::Null),
        found => found,
    }
}

fn find_name(
    names: &std::collections::HashMap<i64, String>,
    what: &str,
    code: SqlState,
    args: &[Datum],
) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    if let Some(oid) = digits(name) {
        return Ok(oid);
    }
    let wanted = name_parts(name)?.join(".");
    match names.iter().find(|(_, n)| **n == wanted) {
        Some((oid, _)) => Ok(Datum::Int8(*oid)),
        None => Err(SqlError::new(code, format!("{what} \"{wanted}\" does not exist"))),
    }
}

fn regnamespace_in(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    find_name(&facts.schemas, "schema", SqlState::UNDEFINED_SCHEMA, args)
}

fn regrole_in(facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    find_name(&facts.roles, "role", SqlState::UNDEFINED_OBJECT, args)
}

fn regproc_in(_: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
    let Some(name) = string(args, 0) else { return Ok(Datum::Null) };
    digits(name).ok_or_else(|| {
        SqlError::unsupported("functions have no OIDs here").hint("Compare with a number, or leave it out.")
    })
}

//! PostgreSQL's dialect, as the parser has it, but for what [`super::grammar`] says, and one thing more: there every argument of a function is parsed as if it
//! were the name of a named one first, and again as what it is, which doubles the time with every nested call. Only
//! `JSON_OBJECT('a': 1)` needs that, which is not supported.

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use std::any::TypeId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Postgres;

const BASE: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! as_postgres {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { BASE.$name() })* };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }
    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }
    fn is_delimited_identifier_start(&self, c: char) -> bool {
        BASE.is_delimited_identifier_start(c)
    }
    fn is_identifier_start(&self, c: char) -> bool {
        BASE.is_identifier_start(c)
    }
    fn is_identifier_part(&self, c: char) -> bool {
        BASE.is_identifier_part(c)
    }
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        BASE.is_reserved_for_identifier(keyword)
    }
    fn is_custom_operator_part(&self, c: char) -> bool {
        BASE.is_custom_operator_part(c)
    }
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        super::grammar::precedence(parser).map(Ok).or_else(|| BASE.get_next_precedence(parser))
    }
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        super::grammar::prefix(parser)
    }
    fn parse_infix(&self, parser: &mut Parser, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        super::grammar::infix(parser, left, precedence)
    }
    fn prec_value(&self, precedence: Precedence) -> u8 {
        BASE.prec_value(precedence)
    }
    as_postgres! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr
        allow_extract_custom allow_extract_single_quotes supports_create_index_with_clause
        supports_explain_with_utility_options supports_listen_notify
        supports_bitwise_shift_operators supports_comment_on supports_load_extension
        supports_named_fn_args_with_colon_operator supports_empty_projections supports_nested_comments
        supports_string_escape_constant supports_numeric_literal_underscores supports_array_typedef_with_brackets
        supports_geometric_types supports_set_names supports_alter_column_type_using supports_notnull_operator
        supports_interval_options supports_insert_table_alias supports_create_table_like_parenthesized
        supports_select_wildcard_with_alias supports_comma_separated_trim supports_xml_expressions
        supports_comment_optimizer_hint
    }
}

//! What sqlparser does not read of CREATE TABLE: the options of an identity in any order, `t (a, b) AS query` and
//! `WITH [NO] DATA`. Tokens are put in order or taken off before; what was taken is put back into the statement.

use super::ast::{Ast, Opt, OptValue};
use sqlparser::ast::{ColumnDef, DataType, Ident, Statement as Sql};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The option that stands for `WITH NO DATA`.
pub(crate) const NO_DATA: &str = "NO DATA";

/// In the order in which sqlparser reads them; `NO` belongs to the word behind it.
const IDENTITY: &[&str] = &["INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE"];

/// What was taken off a CREATE TABLE AS.
#[derive(Default)]
pub(super) struct TableAs {
    names: Vec<Ident>,
    no_data: bool,
}

/// The tokens that are not space.
struct Solid<'a> {
    tokens: &'a [TokenWithSpan],
    at: Vec<usize>,
}

impl Solid<'_> {
    fn of(tokens: &[TokenWithSpan]) -> Solid<'_> {
        let solid = |i: &usize| !matches!(tokens[*i].token, Token::Whitespace(_) | Token::EOF);
        Solid { at: (0..tokens.len()).filter(solid).collect(), tokens }
    }
    fn token(&self, n: usize) -> Option<&Token> {
        self.at.get(n).map(|i| &self.tokens[*i].token)
    }
    /// An unquoted word, in upper case.
    fn word(&self, n: usize) -> String {
        match self.token(n) {
            Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
            _ => String::new(),
        }
    }
    fn is(&self, n: usize, token: &Token) -> bool {
        self.token(n) == Some(token)
    }
}

/// Makes a CREATE TABLE one that sqlparser reads; other statements stay as they are.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> Option<TableAs> {
    let solid = Solid::of(tokens);
    if solid.word(0) != "CREATE" || solid.word(1) != "TABLE" {
        return None;
    }
    order_identities(tokens);
    let solid = Solid::of(tokens);
    let mut out = TableAs::default();
    let mut gone: Vec<usize> = vec![];
    let count = solid.at.len();
    let data = |n: usize| solid.word(n) == "DATA" && n + 1 == count;
    for n in count.saturating_sub(3)..count {
        let no = solid.word(n + 1) == "NO";
        if solid.word(n) == "WITH" && data(if no { n + 2 } else { n + 1 }) {
            out.no_data = no;
            gone.extend(n..count);
        }
    }
    if let Some((names, list)) = names_of(&solid) {
        out.names = names;
        gone.extend(list);
    }
    if gone.is_empty() {
        return None;
    }
    let gone: Vec<usize> = gone.into_iter().map(|n| solid.at[n]).collect();
    let mut at = 0;
    tokens.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
    Some(out)
}

/// The names of `CREATE TABLE [IF NOT EXISTS] t (a, b) AS`, and where the list stands.
fn names_of(solid: &Solid<'_>) -> Option<(Vec<Ident>, std::ops::Range<usize>)> {
    let mut n = 2;
    if solid.word(2) == "IF" && solid.word(3) == "NOT" && solid.word(4) == "EXISTS" {
        n = 5;
    }
    while matches!(solid.token(n), Some(Token::Word(_) | Token::Period)) {
        n += 1;
    }
    let begin = n;
    if !solid.is(begin, &Token::LParen) {
        return None;
    }
    let mut names = vec![];
    loop {
        let Some(Token::Word(word)) = solid.token(n + 1) else { return None };
        names.push(word.clone().into_ident(solid.tokens[solid.at[n + 1]].span));
        n += 2;
        match solid.token(n) {
            Some(Token::Comma) => {}
            Some(Token::RParen) => break,
            _ => return None,
        }
    }
    (solid.word(n + 1) == "AS").then_some((names, begin..n + 1))
}

/// Sorts what stands between the parentheses behind each `AS IDENTITY`.
fn order_identities(tokens: &mut [TokenWithSpan]) {
    let solid = Solid::of(tokens);
    let mut lists = vec![];
    for n in 0..solid.at.len() {
        if solid.word(n) != "AS" || solid.word(n + 1) != "IDENTITY" || !solid.is(n + 2, &Token::LParen) {
            continue;
        }
        let Some(end) = (n + 3..solid.at.len()).find(|m| solid.is(*m, &Token::RParen)) else { continue };
        // Where each option begins.
        let starts: Vec<usize> = (n + 3..end)
            .filter(|m| {
                let word = solid.word(*m);
                let behind_no = solid.word(m - 1) == "NO";
                word == "NO" || !behind_no && IDENTITY.contains(&word.as_str())
            })
            .collect();
        if starts.first() != Some(&(n + 3)) {
            continue;
        }
        let rank = |m: usize| {
            let word = if solid.word(m) == "NO" { solid.word(m + 1) } else { solid.word(m) };
            IDENTITY.iter().position(|w| *w == word)
        };
        let ends = starts.iter().skip(1).copied().chain([end]);
        let mut parts: Vec<(Option<usize>, Vec<TokenWithSpan>)> = starts
            .iter()
            .zip(ends)
            .map(|(from, to)| (rank(*from), tokens[solid.at[*from]..solid.at[to]].to_vec()))
            .collect();
        parts.sort_by_key(|p| p.0);
        let sorted: Vec<TokenWithSpan> = parts.into_iter().flat_map(|p| p.1).collect();
        lists.push((solid.at[n + 3], sorted));
    }
    for (from, sorted) in lists {
        tokens[from..from + sorted.len()].clone_from_slice(&sorted);
    }
}

impl TableAs {
    /// Puts back what was taken.
    pub(super) fn around(self, ast: Ast) -> Ast {
        let (mut statement, mut options) = match ast {
            Ast::Sql(statement) => (statement, vec![]),
            Ast::CreateTable { statement, options } => (statement, options),
            other => return other,
        };
        if let Sql::CreateTable(table) = statement.as_mut() {
            let column = |name| ColumnDef { name, data_type: DataType::Unspecified, options: vec![] };
            table.columns.extend(self.names.into_iter().map(column));
        }
        if self.no_data {
            options.push(Opt { name: NO_DATA.into(), value: OptValue::Word(String::new()), position: 0 });
        }
        Ast::CreateTable { statement, options }
    }
}

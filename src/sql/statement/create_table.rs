//! CREATE TABLE: columns, constraints, defaults, generated columns, and AS.

use super::create::{check_unique, column_of, qualified, qualified_expr, quote, retain, with_clause};
use super::modify::has_subquery;
use super::{Planning, finish_query, plain};
use crate::Planned;
use crate::parse::ast::Opt;
use crate::parse::table::NO_DATA;
use crate::planner::{Target, plan_expr, plan_query};
use crate::types::named_type;
use hw_plan::statement::QualifiedName;
use hw_plan::{CheckRule, ColumnRule, IdentityRule, ScalarExpr, Statement, StoredExpr, TableRules, UniqueRule};
use hw_repr::{Column, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;

/// A table in the making.
struct Draft {
    name: QualifiedName,
    desc: RelationDesc,
    rules: TableRules,
    key: Option<Vec<usize>>,
}

fn ident(name: &Option<sql::Ident>) -> Option<String> {
    name.as_ref().map(crate::parse::ast_fold)
}

/// `smallserial` and the like: the integer type behind it.
fn serial(ty: &sql::DataType) -> Option<SqlType> {
    let sql::DataType::Custom(name, args) = ty else { return None };
    let name = name.0.last().and_then(|p| p.as_ident()).filter(|_| args.is_empty()).map(crate::parse::ast_fold)?;
    match name.as_str() {
        "smallserial" | "serial2" => Some(SqlType::Int2),
        "serial" | "serial4" => Some(SqlType::Int4),
        "bigserial" | "serial8" => Some(SqlType::Int8),
        _ => None,
    }
}

fn unsupported(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} is not supported yet"))
        .hint("PRIMARY KEY, UNIQUE, NOT NULL, CHECK, DEFAULT, GENERATED ALWAYS AS ... STORED and IDENTITY are.")
}

impl Draft {
    fn set_key(&mut self, key: Vec<usize>, name: Option<String>) -> Result<(), SqlError> {
        if self.key.is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", self.name.name);
            return Err(SqlError::new(SqlState::new("42P16"), message));
        }
        self.rules.key_name = name.filter(|n| *n != format!("{}_pkey", self.name.name));
        self.key = Some(key);
        Ok(())
    }

    fn column_names(&self, columns: &[usize]) -> Vec<String> {
        columns.iter().map(|c| self.desc.columns[*c].name.clone()).collect()
    }

    fn set_unique(&mut self, columns: Vec<usize>, name: Option<String>, nulls_equal: bool) {
        let base = format!("{}_{}_key", self.name.name, self.column_names(&columns).join("_"));
        let name = name.unwrap_or_else(|| self.free_name(base));
        self.rules.uniques.push(UniqueRule { name, columns, nulls_equal });
    }

    fn set_check(&mut self, expr: StoredExpr, name: Option<String>) {
        // Named by its column where it reads just one.
        let mut read = vec![];
        columns_in(&expr.expr, &mut read);
        let base = match read.first().filter(|c| read.iter().all(|r| r == *c)) {
            Some(c) => format!("{}_{}_check", self.name.name, self.desc.columns[*c].name),
            None => format!("{}_check", self.name.name),
        };
        let name = name.unwrap_or_else(|| self.free_name(base));
        self.rules.checks.push(CheckRule { name, expr });
    }

    /// A name that no other constraint has.
    fn free_name(&self, base: String) -> String {
        let taken = |n: &String| {
            self.rules.uniques.iter().any(|u| u.name == *n) || self.rules.checks.iter().any(|c| c.name == *n)
        };
        let numbered = (1..).map(|k| format!("{base}{k}"));
        std::iter::once(base.clone()).chain(numbered).find(|n| !taken(n)).unwrap_or(base)
    }

    /// A column has more of something than it may have.
    fn twice(&self, what: &str, column: usize) -> SqlError {
        let (column, table) = (&self.desc.columns[column].name, &self.name.name);
        SqlError::new(SqlState::SYNTAX, format!("{what} for column \"{column}\" of table \"{table}\""))
    }

    /// Each constraint has a name of its own.
    fn check_names(&self) -> Result<(), SqlError> {
        let rules = &self.rules;
        let names = rules.uniques.iter().map(|u| &u.name).chain(rules.checks.iter().map(|c| &c.name));
        let mut seen = std::collections::BTreeSet::new();
        let twice = names.chain(&rules.key_name).find(|n| !seen.insert(*n));
        twice.map_or(Ok(()), |name| {
            let message = format!("constraint \"{name}\" for relation \"{}\" already exists", self.name.name);
            Err(SqlError::new(SqlState::new("42710"), message))
        })
    }

    fn rule(&mut self, column: usize) -> &mut ColumnRule {
        if self.rules.columns.is_empty() {
            self.rules.columns = vec![ColumnRule::default(); self.desc.arity()];
        }
        &mut self.rules.columns[column]
    }

    fn columns_of(&self, columns: &[sql::IndexColumn]) -> Result<Vec<usize>, SqlError> {
        columns
            .iter()
            .map(|c| {
                column_of(&c.column.expr, &self.desc).map_err(|e| match e.code {
                    SqlState::UNDEFINED_COLUMN => {
                        SqlError { message: format!("column \"{}\" named in key does not exist", c.column.expr), ..e }
                    }
                    _ => e,
                })
            })
            .collect()
    }
}

/// PostgreSQL's most.
const COLUMNS_MAX: usize = 1600;

fn no_subquery(expr: &sql::Expr, place: &str) -> Result<(), SqlError> {
    match has_subquery(expr) {
        true => Err(SqlError::unsupported(format!("cannot use subquery in {place}"))),
        false => Ok(()),
    }
}

impl Planning<'_> {
    /// The columns of a source: names, types, NOT NULL.
    pub(super) fn source_columns(&self, defs: &[sql::ColumnDef]) -> Result<RelationDesc, SqlError> {
        let env = self.env(false);
        let mut columns = vec![];
        for def in defs {
            let mut nullable = true;
            for option in &def.options {
                match &option.option {
                    sql::ColumnOption::Null => {}
                    sql::ColumnOption::NotNull => nullable = false,
                    other => {
                        let e = SqlError::unsupported(format!("column constraint {other} is not supported yet"));
                        return Err(e.hint("NOT NULL is."));
                    }
                }
            }
            columns.push(Column {
                name: crate::parse::ast_fold(&def.name),
                ty: named_type(&env, &def.data_type)?,
                nullable,
            });
        }
        check_unique(&columns)?;
        Ok(RelationDesc::new(columns))
    }

    pub(super) fn create_table(&self, t: &sql::CreateTable, options: &[Opt]) -> Result<Planned, SqlError> {
        if t.like.is_some() || t.temporary || t.or_replace || t.inherits.is_some() || t.partition_of.is_some() {
            return Err(SqlError::unsupported(
                "only CREATE TABLE name (columns) and CREATE TABLE name AS are supported",
            ));
        }
        if let Some(query) = &t.query {
            return self.create_table_as(t, query, options);
        }
        let name = self.new_name(&crate::parse::own::name_in(self.text, &t.name)?)?;
        let env = self.env(false);
        let mut columns = vec![];
        for def in &t.columns {
            let ty = match serial(&def.data_type) {
                Some(ty) => ty,
                None => named_type(&env, &def.data_type)?,
            };
            columns.push(Column { name: crate::parse::ast_fold(&def.name), ty, nullable: true });
        }
        if columns.len() > COLUMNS_MAX {
            let message = format!("tables can have at most {COLUMNS_MAX} columns");
            return Err(SqlError::new(SqlState::new("54011"), message));
        }
        check_unique(&columns)?;
        let desc = RelationDesc::new(columns);
        let mut draft = Draft { name, desc, rules: TableRules::default(), key: None };
        for (i, def) in t.columns.iter().enumerate() {
            self.column_options(&mut draft, i, def)?;
        }
        for constraint in &t.constraints {
            self.table_constraint(&mut draft, constraint)?;
        }
        // NULL and NOT NULL are known now.
        self.finish_expressions(&mut draft)?;
        draft.check_names()?;
        if draft.rules.columns.iter().filter(|c| c.identity.is_some()).count() > 1 {
            return Err(SqlError::unsupported("more than one identity column in a table is not supported yet"));
        }
        if let Some(key) = draft.key.take() {
            draft.rules.uniques.retain(|u| u.columns != key);
            for column in &key {
                if draft.desc.columns[*column].ty == SqlType::Jsonb {
                    return Err(SqlError::unsupported("a primary key of type jsonb is not supported yet")
                        .hint("Use a column of another type, for instance text."));
                }
                draft.desc.columns[*column].nullable = false;
            }
            draft.desc.keys = vec![key];
        }
        let Draft { name, desc, rules, .. } = draft;
        let (retain_ms, retain) = retain(options)?;
        let create_sql = format!("{}{}", table_sql(&name, &desc, &rules), with_clause(&[retain]));
        let if_not_exists = t.if_not_exists;
        let depends_on = self.functions.take().into_iter().collect();
        let filled = None;
        plain(Statement::CreateTable { name, desc, rules, depends_on, retain_ms, if_not_exists, create_sql, filled })
    }

    fn column_options(&self, draft: &mut Draft, i: usize, def: &sql::ColumnDef) -> Result<(), SqlError> {
        let (name, ty) = (draft.desc.columns[i].name.clone(), draft.desc.columns[i].ty);
        if serial(&def.data_type).is_some() {
            draft.desc.columns[i].nullable = false;
            let identity = IdentityRule { always: false, start: 1, increment: 1, next: None, serial: true };
            draft.rule(i).identity = Some(identity);
        }
        for option in &def.options {
            let constraint = ident(&option.name);
            match &option.option {
                sql::ColumnOption::Null => {}
                sql::ColumnOption::NotNull => draft.desc.columns[i].nullable = false,
                sql::ColumnOption::PrimaryKey(_) => draft.set_key(vec![i], constraint)?,
                sql::ColumnOption::Unique(u) => {
                    let equal = matches!(u.nulls_distinct, sql::NullsDistinctOption::NotDistinct);
                    draft.set_unique(vec![i], constraint, equal);
                }
                sql::ColumnOption::Check(c) => {
                    let expr = self.stored(&draft.desc, &c.expr, Target::Condition)?;
                    draft.set_check(expr, constraint);
                }
                sql::ColumnOption::Default(e) => {
                    if draft.rule(i).default.is_some() {
                        return Err(draft.twice("multiple default values specified", i));
                    }
                    draft.rule(i).default = Some(self.check_default(e, &name, ty)?);
                }
                sql::ColumnOption::Generated { generated_as, sequence_options, generation_expr, .. } => {
                    match generation_expr {
                        Some(e) => {
                            let expr = self.stored(&draft.desc, e, Target::Column(&name, ty))?;
                            draft.rule(i).generated = Some(expr);
                        }
                        None => {
                            let always = matches!(generated_as, sql::GeneratedAs::Always);
                            let rule = identity_rule(always, ty, sequence_options.as_deref().unwrap_or_default())?;
                            draft.desc.columns[i].nullable = false;
                            if draft.rule(i).identity.replace(rule).is_some() {
                                return Err(draft.twice("multiple identity specifications", i));
                            }
                        }
                    }
                }
                other => return Err(unsupported(&format!("column constraint {other}"))),
            }
        }
        match draft.rules.column(i) {
            Some(rule) if rule.identity.is_some() && rule.default.is_some() => {
                Err(draft.twice("both default and identity specified", i))
            }
            Some(rule) if rule.identity.is_some() && rule.generated.is_some() => {
                Err(draft.twice("both identity and generation expression specified", i))
            }
            _ => Ok(()),
        }
    }

    fn table_constraint(&self, draft: &mut Draft, constraint: &sql::TableConstraint) -> Result<(), SqlError> {
        match constraint {
            sql::TableConstraint::PrimaryKey(pk) => {
                let columns = draft.columns_of(&pk.columns)?;
                draft.set_key(columns, ident(&pk.name))
            }
            sql::TableConstraint::Unique(u) => {
                let columns = draft.columns_of(&u.columns)?;
                let equal = matches!(u.nulls_distinct, sql::NullsDistinctOption::NotDistinct);
                draft.set_unique(columns, ident(&u.name), equal);
                Ok(())
            }
            sql::TableConstraint::Check(c) => {
                let expr = self.stored(&draft.desc, &c.expr, Target::Condition)?;
                draft.set_check(expr, ident(&c.name));
                Ok(())
            }
            other => Err(unsupported(&format!("constraint {other}"))),
        }
    }

    /// The text of a default, which is planned now only to find its errors.
    fn check_default(&self, expr: &sql::Expr, name: &str, ty: SqlType) -> Result<String, SqlError> {
        no_subquery(expr, "DEFAULT expression")?;
        let env = self.env(false);
        match plan_expr(&env, expr, "", &RelationDesc::new(vec![]), Target::Column(name, ty)) {
            Ok(_) => {
                self.functions.borrow_mut().extend(env.functions.take());
                Ok(qualified_expr(&env, expr))
            }
            Err(e) if e.code == SqlState::UNDEFINED_COLUMN => {
                let message = "cannot use column reference in DEFAULT expression";
                Err(SqlError { message: message.into(), code: SqlState::FEATURE_NOT_SUPPORTED, ..e })
            }
            Err(e) => Err(e),
        }
    }

    /// An expression over the table's columns that is kept: the same for every session, at every time.
    fn stored(&self, desc: &RelationDesc, expr: &sql::Expr, target: Target) -> Result<StoredExpr, SqlError> {
        let check = matches!(target, Target::Condition);
        no_subquery(expr, if check { "check constraint" } else { "column generation expression" })?;
        let env = self.env(true);
        let planned = plan_expr(&env, expr, "", desc, target).map_err(|e| {
            if e.code == SqlState::FEATURE_NOT_SUPPORTED && e.message.ends_with("in a materialized view") {
                let what = if check { "check constraint" } else { "generation expression" };
                return SqlError::new(SqlState::INVALID_DEFINITION, format!("{what} is not immutable"));
            }
            let message = e.message.replace("argument of WHERE", "argument of CHECK");
            SqlError { message, ..e }
        })?;
        self.functions.borrow_mut().extend(env.functions.take());
        Ok(StoredExpr { sql: qualified_expr(&env, expr), expr: planned })
    }

    /// Generated columns read no generated ones.
    fn finish_expressions(&self, draft: &mut Draft) -> Result<(), SqlError> {
        let generated: Vec<usize> = draft.rules.generated().map(|(i, _)| i).collect();
        for (i, stored) in draft.rules.generated() {
            let mut read = vec![];
            columns_in(&stored.expr, &mut read);
            if let Some(c) = read.iter().find(|c| generated.contains(c)) {
                let name = &draft.desc.columns[*c].name;
                let message = format!("cannot use generated column \"{name}\" in column generation expression");
                return Err(SqlError::new(SqlState::INVALID_DEFINITION, message)
                    .detail("A generated column cannot reference another generated column."));
            }
            let rule = &draft.rules.columns[i];
            if rule.default.is_some() {
                let name = &draft.desc.columns[i].name;
                let message = format!("both default and generation expression specified for column \"{name}\"");
                return Err(SqlError::new(SqlState::SYNTAX, message));
            }
        }
        Ok(())
    }

    fn create_table_as(&self, t: &sql::CreateTable, query: &sql::Query, options: &[Opt]) -> Result<Planned, SqlError> {
        let name = self.new_name(&crate::parse::own::name_in(self.text, &t.name)?)?;
        let env = self.env(false);
        let plan = plan_query(&env, query.clone())?;
        let mut query = finish_query(&env, plan)?;
        let mut desc =
            RelationDesc::new(query.desc.columns.iter().map(|c| Column { nullable: true, ..c.clone() }).collect());
        if t.columns.len() > desc.arity() {
            return Err(SqlError::new(SqlState::SYNTAX, "too many column names were specified"));
        }
        for (column, def) in desc.columns.iter_mut().zip(&t.columns) {
            column.name = crate::parse::ast_fold(&def.name);
        }
        check_unique(&desc.columns)?;
        query.desc = desc.clone();
        let (retain_ms, with) = retain(options)?;
        let rules = TableRules::default();
        let create_sql = format!("{}{with}", table_sql(&name, &desc, &rules));
        let filled = Some(!options.iter().any(|o| o.name == NO_DATA));
        let if_not_exists = t.if_not_exists;
        let depends_on = vec![];
        let statement =
            Statement::CreateTable { name, desc, rules, depends_on, retain_ms, if_not_exists, create_sql, filled };
        let mut planned = env.planned(statement, Some(query));
        planned.reusable = false;
        Ok(planned)
    }
}

/// `START WITH` and `INCREMENT BY`; the others would change nothing or are not there yet.
fn identity_rule(always: bool, ty: SqlType, options: &[sql::SequenceOptions]) -> Result<IdentityRule, SqlError> {
    if !matches!(ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) {
        let message = "identity column type must be smallint, integer, or bigint";
        return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
    }
    let number = |e: &sql::Expr| {
        e.to_string()
            .parse::<i64>()
            .map_err(|_| SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{e}\"")))
    };
    let (mut start, mut increment) = (None, 1);
    for option in options {
        match option {
            sql::SequenceOptions::StartWith(e, _) => start = Some(number(e)?),
            sql::SequenceOptions::IncrementBy(e, _) => increment = number(e)?,
            sql::SequenceOptions::Cache(_) | sql::SequenceOptions::Cycle(true) => {}
            sql::SequenceOptions::MinValue(None) | sql::SequenceOptions::MaxValue(None) => {}
            other => return Err(unsupported(&format!("the identity option{other}"))),
        }
    }
    if increment == 0 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER, "INCREMENT must not be zero"));
    }
    let start = start.unwrap_or(if increment > 0 { 1 } else { -1 });
    Ok(IdentityRule { always, start, increment, next: None, serial: false })
}

pub(super) fn columns_in(expr: &ScalarExpr, out: &mut Vec<usize>) {
    if let ScalarExpr::Column(i, _) = expr {
        out.push(*i);
    }
    expr.children().into_iter().for_each(|c| columns_in(c, out));
}

/// The statement that makes a table, normalised.
pub(super) fn table_sql(name: &QualifiedName, desc: &RelationDesc, rules: &TableRules) -> String {
    let mut parts = vec![];
    for (i, c) in desc.columns.iter().enumerate() {
        let mut part = format!("{} {}", quote(&c.name), c.ty);
        let rule = rules.column(i);
        if let Some(default) = rule.and_then(|r| r.default.as_ref()) {
            part.push_str(&format!(" DEFAULT {default}"));
        }
        if let Some(generated) = rule.and_then(|r| r.generated.as_ref()) {
            part.push_str(&format!(" GENERATED ALWAYS AS ({}) STORED", generated.sql));
        }
        if let Some(identity) = rule.and_then(|r| r.identity.as_ref()) {
            part.push_str(&identity_sql(identity));
        }
        if !c.nullable {
            part.push_str(" NOT NULL");
        }
        parts.push(part);
    }
    let list = |columns: &[usize]| columns.iter().map(|k| quote(&desc.columns[*k].name)).collect::<Vec<_>>().join(", ");
    if let Some(key) = desc.keys.first() {
        let named = rules.key_name.as_ref().map(|n| format!("CONSTRAINT {} ", quote(n))).unwrap_or_default();
        parts.push(format!("{named}PRIMARY KEY ({})", list(key)));
    }
    for unique in &rules.uniques {
        let nulls = if unique.nulls_equal { " NULLS NOT DISTINCT" } else { "" };
        parts.push(format!("CONSTRAINT {} UNIQUE{nulls} ({})", quote(&unique.name), list(&unique.columns)));
    }
    for check in &rules.checks {
        parts.push(format!("CONSTRAINT {} CHECK ({})", quote(&check.name), check.expr.sql));
    }
    format!("CREATE TABLE {} ({})", qualified(name), parts.join(", "))
}

fn identity_sql(identity: &IdentityRule) -> String {
    let kind = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
    let usual = identity.start == 1 && identity.increment == 1;
    let options = match usual {
        true => String::new(),
        false => format!(" (START WITH {} INCREMENT BY {})", identity.start, identity.increment),
    };
    format!(" GENERATED {kind} AS IDENTITY{options}")
}

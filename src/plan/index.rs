//! Indexes whose key has expressions: what they hold, and how they are written.
//!
//! Such an index is a relation with the columns of the one it is on, and one more for each expression. Positions in its key are
//! positions there.

use crate::{FlowPlan, Object, ScalarExpr, transform};
use hw_repr::{Column, RelationDesc};
use serde::{Deserialize, Serialize};

/// A part of an index' key that is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexExpr {
    /// Its name among the columns of the index.
    pub name: String,
    /// As written, without parentheses around it.
    pub sql: String,
    /// As computed, over the columns of the relation.
    pub expr: ScalarExpr,
    /// How it must be written.
    pub form: IndexForm,
}

/// What decides about the parentheses around an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexForm {
    /// Looks like the call of a function: needs none.
    Call,
    /// An operator: PostgreSQL shows one pair of its own.
    Operator,
    /// Everything else.
    Other,
}

impl IndexExpr {
    /// As `CREATE INDEX` takes it.
    pub fn written(&self) -> String {
        match self.form {
            IndexForm::Call => self.sql.clone(),
            IndexForm::Operator | IndexForm::Other => format!("({})", self.sql),
        }
    }

    /// As PostgreSQL shows it where not asked to be pretty.
    pub fn spelt_out(&self) -> String {
        match self.form {
            IndexForm::Operator => format!("(({}))", self.sql),
            IndexForm::Call | IndexForm::Other => self.written(),
        }
    }
}

/// The columns of an index on a relation.
pub fn described(on: &RelationDesc, expressions: &[IndexExpr]) -> RelationDesc {
    let nullable: Vec<bool> = on.columns.iter().map(|c| c.nullable).collect();
    let column = |e: &IndexExpr| Column {
        name: e.name.clone(),
        ty: e.expr.ty(),
        nullable: !transform::not_null(&e.expr, &nullable),
    };
    let mut desc = on.clone();
    desc.columns.extend(expressions.iter().map(column));
    desc
}

/// What an index holds: all of its relation, and the values of its expressions.
pub fn plan(on: &Object, expressions: &[IndexExpr]) -> (FlowPlan, RelationDesc) {
    let desc = on.desc().cloned().unwrap_or_default();
    let columns = (0..desc.arity()).collect();
    let get = FlowPlan::Get { id: on.id, name: on.name.clone(), columns, desc: desc.clone() };
    if expressions.is_empty() {
        return (get, desc);
    }
    let all = described(&desc, expressions);
    let own = desc.columns.iter().enumerate().map(|(i, c)| ScalarExpr::Column(i, c.ty));
    let project = own.chain(expressions.iter().map(|e| e.expr.clone())).collect();
    let names = all.columns.iter().map(|c| c.name.clone()).collect();
    (FlowPlan::Mfp { input: Box::new(get), filter: vec![], project, names }, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Func, ObjectKind, TableRules};
    use hw_repr::{GlobalId, SqlType};

    #[test]
    fn an_index_holds_its_relation_and_what_it_computes() {
        let column = |name: &str| Column { name: name.into(), ty: SqlType::Text, nullable: false };
        let on = Object {
            id: GlobalId(20000),
            schema: "public".into(),
            name: "t".into(),
            owner: "o".into(),
            create_sql: String::new(),
            depends_on: vec![],
            kind: ObjectKind::Table(RelationDesc::new(vec![column("a")])),
            rules: TableRules::default(),
        };
        let args = vec![ScalarExpr::Column(0, SqlType::Text)];
        let expr = ScalarExpr::Call { func: Func::Lower, args, ty: SqlType::Text };
        let lower = IndexExpr { name: "lower".into(), sql: "lower(a)".into(), expr, form: IndexForm::Call };
        let (made, desc) = plan(&on, std::slice::from_ref(&lower));
        assert_eq!(made.types(), [SqlType::Text, SqlType::Text]);
        assert_eq!(desc.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "lower"]);
        assert!(!desc.columns[1].nullable);
        assert!(matches!(plan(&on, &[]).0, FlowPlan::Get { .. }));
        assert_eq!((lower.written(), lower.spelt_out()), ("lower(a)".to_string(), "lower(a)".to_string()));
        let sum = IndexExpr { sql: "a + b".into(), form: IndexForm::Operator, ..lower };
        assert_eq!((sum.written(), sum.spelt_out()), ("(a + b)".to_string(), "((a + b))".to_string()));
    }
}

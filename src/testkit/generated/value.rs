//! Values: columns, literals, operators, CASE and scalar subqueries.

use super::draw::{Draw, Entry, Scope};
use super::tree::{Kind, Tree, list, node};
use super::types::Ty;

impl Draw<'_> {
    /// A value of this type, nested at most so deep.
    pub(super) fn value(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Tree {
        let roll = self.random.below(100);
        if depth == 0 || roll < 42 {
            return self.leaf(ty, scope);
        }
        let deeper = depth - 1;
        match roll {
            42..=48 => self.case(ty, scope, deeper),
            49..=53 => {
                let (a, b) = (self.value(ty, scope, deeper), self.value(ty, scope, deeper));
                node(Kind::Value(ty), "coalesce({}, {})", vec![a, b])
            }
            54..=55 if ty != Ty::Json => {
                let (a, b) = (self.value(ty, scope, deeper), self.leaf(ty, scope));
                node(Kind::Value(ty), "nullif({}, {})", vec![a, b])
            }
            56..=63 if self.spend(70) => self.scalar_subquery(ty, scope, deeper),
            _ => self.operation(ty, scope, deeper),
        }
    }

    /// A column or a literal.
    pub(super) fn leaf(&mut self, ty: Ty, scope: &Scope) -> Tree {
        let of = |entries: &[Entry]| entries.iter().filter(|e| e.ty == ty).map(|e| e.tree.clone()).collect::<Vec<_>>();
        let (own, outer) = (of(&scope.own), of(&scope.outer));
        if !outer.is_empty() && self.chance(if own.is_empty() { 60 } else { 12 }) {
            return self.one(&outer).unwrap_or_else(|| ty.literal(self.random));
        }
        if !own.is_empty() && self.chance(88) {
            return self.one(&own).unwrap_or_else(|| ty.literal(self.random));
        }
        ty.literal(self.random)
    }

    fn case(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Tree {
        let condition = self.predicate(scope, depth);
        let (a, b) = (self.value(ty, scope, depth), self.value(ty, scope, depth));
        if self.chance(30) {
            return node(Kind::Value(ty), "CASE WHEN {} THEN {} END", vec![condition, a]);
        }
        node(Kind::Value(ty), "CASE WHEN {} THEN {} ELSE {} END", vec![condition, a, b])
    }

    /// `template` with a value of each of these types.
    fn apply(&mut self, ty: Ty, template: &str, of: &[Ty], scope: &Scope, depth: u32) -> Tree {
        let parts = of.iter().map(|part| self.value(*part, scope, depth)).collect();
        node(Kind::Value(ty), template, parts)
    }

    fn operation(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Tree {
        if self.risky
            && self.chance(40)
            && let Some(tree) = self.failing(ty, scope, depth)
        {
            return tree;
        }
        let choices = operations(ty);
        match self.one(choices) {
            Some((template, of)) => self.apply(ty, template, of, scope, depth),
            None => self.predicate(scope, depth),
        }
    }

    /// Something that fails for some rows: a divisor or a text that a column has.
    fn failing(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Option<Tree> {
        let column = |ty: Ty| scope.own.iter().find(|e| e.ty == ty).map(|e| e.tree.clone());
        let (template, of) = match ty {
            Ty::Int if self.chance(60) => ("({} / {})", Ty::Int),
            Ty::Int => ("{}::int", Ty::Text),
            Ty::Num => ("({} / {})", Ty::Num),
            Ty::Float => ("({} / {})", Ty::Float),
            Ty::Big => ("({} % {})", Ty::Big),
            _ => return None,
        };
        let by = column(of)?;
        self.failing = true;
        if template.starts_with('(') {
            let of = self.value(ty, scope, depth);
            return Some(node(Kind::Value(ty), template, vec![of, by]));
        }
        Some(node(Kind::Value(ty), template, vec![by]))
    }

    /// A subquery of one column that has one row at most (more only where it may fail).
    fn scalar_subquery(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Tree {
        if self.certain {
            return self.safely(|draw| draw.some_row(ty, scope, depth));
        }
        self.some_row(ty, scope, depth)
    }

    fn some_row(&mut self, ty: Ty, scope: &Scope, depth: u32) -> Tree {
        let outer = scope.around();
        let query = if self.risky && self.chance(20) {
            self.failing = true;
            self.plain(&[ty], &outer, depth)
        } else if ty == Ty::Json || self.chance(60) {
            self.aggregated(&[ty], &outer, depth)
        } else {
            let body = self.plain(&[ty], &outer, depth);
            let direction = self.direction();
            let order = list(" ORDER BY ", ", ", 1, vec![node(Kind::Other, &format!("1{direction}"), vec![])]);
            node(Kind::Query, "{}{} LIMIT 1", vec![body, order])
        };
        node(Kind::Value(ty), "({})", vec![query])
    }

    /// Which way an order goes.
    pub(super) fn direction(&mut self) -> &'static str {
        self.random.pick(&["", "", "", " DESC", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
    }
}

/// What computes a value of a type, with the types it takes. Nothing of it fails for the values that there are.
fn operations(ty: Ty) -> &'static [(&'static str, &'static [Ty])] {
    use Ty::{Big, Bool, Date, Int, Ints, Json, Text};
    match ty {
        Int => &[
            ("({} + {})", &[Int, Int]),
            ("({} - {})", &[Int, Int]),
            ("({} * 2)", &[Int]),
            ("(- {})", &[Int]),
            ("({} % 3)", &[Int]),
            ("({} / nullif({}, 0))", &[Int, Int]),
            ("length({})", &[Text]),
            ("abs({})", &[Int]),
            ("({} - {})", &[Date, Date]),
            ("cardinality({})", &[Ints]),
            ("({})[1]", &[Ints]),
            ("({})::int", &[Bool]),
            ("extract(month FROM {})::int", &[Date]),
            ("greatest({}, {})", &[Int, Int]),
            ("least({}, {})", &[Int, Int]),
            ("position('b' IN {})", &[Text]),
        ],
        Big => &[
            ("({})::bigint", &[Int]),
            ("({} + {})", &[Big, Int]),
            ("({} - {})", &[Big, Big]),
            ("({} % 5)", &[Big]),
            ("abs({})", &[Big]),
            ("greatest({}, {})", &[Big, Big]),
        ],
        Text => &[
            ("({} || {})", &[Text, Text]),
            ("upper({})", &[Text]),
            ("lower({})", &[Text]),
            ("substr({}, 1, 1)", &[Text]),
            ("left({}, 2)", &[Text]),
            ("replace({}, 'a', 'c')", &[Text]),
            ("({})::text", &[Int]),
            ("({})::text", &[Bool]),
            ("({})::text", &[Date]),
            ("concat({}, '-', {})", &[Int, Text]),
            ("({} ->> 'a')", &[Json]),
            ("jsonb_typeof({})", &[Json]),
            ("array_to_string({}, ',')", &[Ints]),
            ("nullif({}, '')", &[Text]),
        ],
        _ => more_operations(ty),
    }
}

fn more_operations(ty: Ty) -> &'static [(&'static str, &'static [Ty])] {
    use Ty::{Big, Bool, Date, Dec, Float, Int, Ints, Json, Num, Text, Ts};
    match ty {
        Num => &[
            ("({} + {})", &[Num, Num]),
            ("({} - {})", &[Num, Dec]),
            ("({} * 2)", &[Num]),
            ("({})::numeric", &[Int]),
            ("({})::numeric", &[Big]),
            ("({} + {})", &[Dec, Int]),
            ("round({}, 1)", &[Num]),
            ("abs({})", &[Num]),
            ("(- {})", &[Num]),
            ("floor({})", &[Num]),
        ],
        Dec => {
            &[("({} % 3)::numeric(10,2)", &[Int]), ("greatest({}, {})", &[Dec, Dec]), ("({})::numeric(10,2)", &[Dec])]
        }
        Float => &[
            ("({} + {})", &[Float, Float]),
            ("({} * 2)", &[Float]),
            ("({})::float8", &[Int]),
            ("({} / 2)", &[Float]),
            ("abs({})", &[Float]),
            ("({} % 4)::float8", &[Int]),
        ],
        Big | Bool | Int | Text => &[],
        Date => &[
            ("({} + ({} % 10))", &[Date, Int]),
            ("({} - 1)", &[Date]),
            ("({})::date", &[Ts]),
            ("greatest({}, {})", &[Date, Date]),
        ],
        Ts => &[
            ("({})::timestamp", &[Date]),
            ("({} + interval '1 day')", &[Ts]),
            ("date_trunc('month', {})", &[Ts]),
            ("least({}, {})", &[Ts, Ts]),
        ],
        Json => &[
            ("({} -> 'b')", &[Json]),
            ("to_jsonb({})", &[Int]),
            ("jsonb_build_object('a', {}, 'b', {})", &[Int, Text]),
            ("jsonb_build_array({}, {})", &[Text, Int]),
            ("({} || {})", &[Json, Json]),
        ],
        Ints => &[
            ("ARRAY[{}, {}]", &[Int, Int]),
            ("({} || {})", &[Ints, Int]),
            ("array_remove({}, {})", &[Ints, Int]),
            ("({} || {})", &[Ints, Ints]),
            ("({})[1:2]", &[Ints]),
        ],
    }
}

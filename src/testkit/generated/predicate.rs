//! Conditions: comparisons, NULL tests, lists, patterns, and every kind of subquery that is true or false.

use super::draw::{Draw, Entry, Scope};
use super::tree::{Kind, Tree, list, node};
use super::types::{self, Ty};

const BOOL: Kind = Kind::Value(Ty::Bool);

impl Draw<'_> {
    /// A condition, nested at most so deep.
    pub(super) fn predicate(&mut self, scope: &Scope, depth: u32) -> Tree {
        if depth > 0 && self.spend(22) {
            if self.certain {
                return self.safely(|draw| draw.about_subquery(scope, depth - 1));
            }
            return self.about_subquery(scope, depth - 1);
        }
        let deeper = depth.saturating_sub(1);
        match self.random.below(if depth == 0 { 60 } else { 78 }) {
            0..=25 => self.comparison(scope, deeper),
            26..=32 => {
                let ty = self.present(scope, false);
                let value = self.value(ty, scope, deeper);
                let test = self.random.pick(&["{} IS NULL", "{} IS NOT NULL"]);
                node(BOOL, &format!("({test})"), vec![value])
            }
            33..=37 => {
                let ty = self.present(scope, true);
                let (a, b) = (self.value(ty, scope, deeper), self.value(ty, scope, deeper));
                let test = self.random.pick(&["({} IS DISTINCT FROM {})", "({} IS NOT DISTINCT FROM {})"]);
                node(BOOL, test, vec![a, b])
            }
            38..=41 => {
                let ty = self.present(scope, true);
                let parts = (0..3).map(|_| self.value(ty, scope, 0)).collect();
                node(BOOL, self.random.pick(&["({} BETWEEN {} AND {})", "({} NOT BETWEEN {} AND {})"]), parts)
            }
            42..=47 => self.in_list(scope, deeper),
            48..=50 => {
                let of = self.value(Ty::Text, scope, deeper);
                let test = self.random.pick(&["({} LIKE 'a%')", "({} LIKE '%b')", "({} ILIKE '_B')", "({} ~ '^a')"]);
                node(BOOL, test, vec![of])
            }
            51..=53 => self.about_documents(scope, deeper),
            54..=59 => self.leaf(Ty::Bool, scope),
            60..=65 => self.both(scope, "({} AND {})", deeper),
            66..=71 => self.both(scope, "({} OR {})", deeper),
            72..=74 => {
                let of = self.predicate(scope, deeper);
                node(BOOL, "(NOT {})", vec![of])
            }
            _ => {
                let of = self.predicate(scope, deeper);
                node(BOOL, self.random.pick(&["({} IS TRUE)", "({} IS NOT TRUE)", "({} IS UNKNOWN)"]), vec![of])
            }
        }
    }

    fn both(&mut self, scope: &Scope, template: &str, depth: u32) -> Tree {
        let (a, b) = (self.predicate(scope, depth), self.predicate(scope, depth));
        node(BOOL, template, vec![a, b])
    }

    /// A type that some column in scope has.
    fn present(&mut self, scope: &Scope, ordered: bool) -> Ty {
        let all: Vec<Ty> = scope.own.iter().map(|e| e.ty).filter(|ty| !ordered || ty.is_ordered()).collect();
        self.one(&all).unwrap_or(Ty::Int)
    }

    fn comparison(&mut self, scope: &Scope, depth: u32) -> Tree {
        let ty = self.present(scope, true);
        let other = match ty {
            Ty::Int if self.chance(15) => Ty::Big,
            Ty::Int | Ty::Dec if self.chance(15) => Ty::Num,
            Ty::Date if self.chance(20) => Ty::Ts,
            _ => ty,
        };
        let (a, b) = (self.value(ty, scope, depth), self.value(other, scope, depth));
        let sign = self.random.pick(&["=", "=", "=", "<>", "<", "<=", ">", ">="]);
        node(BOOL, &format!("({{}} {sign} {{}})"), vec![a, b])
    }

    fn in_list(&mut self, scope: &Scope, depth: u32) -> Tree {
        let ty = self.present(scope, true);
        let of = self.value(ty, scope, depth);
        let items = (0..1 + self.random.below(3)).map(|_| self.value(ty, scope, 0)).collect();
        node(BOOL, self.random.pick(&["({} IN ({}))", "({} NOT IN ({}))"]), vec![of, list("", ", ", 1, items)])
    }

    fn about_documents(&mut self, scope: &Scope, depth: u32) -> Tree {
        let (template, of): (&str, &[Ty]) = match self.random.below(5) {
            0 => ("({} @> '{\"a\": 1}'::jsonb)", &[Ty::Json]),
            1 => ("({} = ANY ({}))", &[Ty::Int, Ty::Ints]),
            2 => ("({} <> ALL ({}))", &[Ty::Int, Ty::Ints]),
            3 => ("({} && {})", &[Ty::Ints, Ty::Ints]),
            _ => ("({} @> {})", &[Ty::Ints, Ty::Ints]),
        };
        let parts: Vec<Tree> = of.iter().map(|ty| self.value(*ty, scope, depth)).collect();
        if template.contains('"') {
            let [of] = <[Tree; 1]>::try_from(parts).unwrap_or_else(|_| [Ty::Json.literal(self.random)]);
            return node(BOOL, "({} @> {})", vec![of, Tree::constant(Ty::Json, "'{\"a\": 1}'::jsonb")]);
        }
        node(BOOL, template, parts)
    }

    /// EXISTS, IN, ANY and ALL.
    fn about_subquery(&mut self, scope: &Scope, depth: u32) -> Tree {
        let outer = scope.around();
        match self.random.below(10) {
            0..=2 => {
                let query = self.related(&[Ty::Int], &outer, depth);
                node(BOOL, self.random.pick(&["(EXISTS ({}))", "(NOT EXISTS ({}))"]), vec![query])
            }
            3..=6 => {
                let ty = self.present(scope, true);
                let of = self.value(ty, scope, depth.min(1));
                let query = self.related(&[ty], &outer, depth);
                node(BOOL, self.random.pick(&["({} IN ({}))", "({} NOT IN ({}))"]), vec![of, query])
            }
            7..=8 => {
                let ty = self.present(scope, true);
                let of = self.value(ty, scope, depth.min(1));
                let query = self.related(&[ty], &outer, depth);
                let sign = self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
                let how = self.random.pick(&["ANY", "ALL"]);
                node(BOOL, &format!("({{}} {sign} {how} ({{}}))"), vec![of, query])
            }
            _ => {
                let tys = [self.present(scope, true), self.present(scope, true)];
                let of = tys.map(|ty| self.value(ty, scope, 0));
                let query = self.related(&tys, &outer, depth);
                let [a, b] = of;
                node(BOOL, self.random.pick(&["(({}, {}) IN ({}))", "(({}, {}) NOT IN ({}))"]), vec![a, b, query])
            }
        }
    }

    /// What two relations are joined on.
    pub(super) fn join_condition(&mut self, left: &[Entry], right: &[Entry], outer: &[Entry]) -> Tree {
        let both: Vec<Entry> = left.iter().chain(right).cloned().collect();
        let scope = Scope { own: both, outer: outer.to_vec() };
        if self.chance(12) {
            return self.safely(|draw| draw.predicate(&scope, 2));
        }
        let sign = if self.chance(80) { "=" } else { self.random.pick(&["<", ">=", "<>"]) };
        let first = self.link(left, right, sign);
        match self.random.below(10) {
            0..=1 => {
                let more = self.safely(|draw| draw.predicate(&scope, 1));
                node(BOOL, "({} AND {})", vec![first, more])
            }
            2 => {
                let more = self.link(left, right, "=");
                node(BOOL, "({} OR {})", vec![first, more])
            }
            _ => first,
        }
    }

    /// A column of one side compared with one of the other.
    pub(super) fn link(&mut self, left: &[Entry], right: &[Entry], sign: &str) -> Tree {
        let pairs: Vec<(Tree, Tree)> = left
            .iter()
            .flat_map(|l| right.iter().filter(move |r| r.ty == l.ty && l.ty.is_ordered()).map(move |r| (l, r)))
            .map(|(l, r)| (l.tree.clone(), r.tree.clone()))
            .collect();
        match self.one(&pairs) {
            Some((l, r)) => node(BOOL, &format!("({{}} {sign} {{}})"), vec![l, r]),
            None => Tree::constant(Ty::Bool, "true"),
        }
    }

    /// A type of something that is asked for in passing.
    pub(super) fn some_type(&mut self) -> Ty {
        types::any_ordered(self.random)
    }
}

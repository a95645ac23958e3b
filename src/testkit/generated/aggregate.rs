//! Aggregates: every common one, with DISTINCT, FILTER and ORDER BY. Lists are always ordered by what they hold at last.

use super::draw::{Draw, Entry, Scope};
use super::tree::{Kind, Tree, list, node, text};
use super::types::Ty;

/// Calls that have a result of a type: template and the types of the arguments. `@` stands for DISTINCT.
fn calls(ty: Ty) -> &'static [(&'static str, &'static [Ty])] {
    use Ty::{Big, Bool, Date, Dec, Float, Int, Ints, Num, Text, Ts};
    match ty {
        Int => &[
            ("max({})", &[Int]),
            ("min({})", &[Int]),
            ("bit_or({})", &[Int]),
            ("bit_and({})", &[Int]),
            ("percentile_disc(0.5) WITHIN GROUP (ORDER BY {})", &[Int]),
            ("mode() WITHIN GROUP (ORDER BY {})", &[Int]),
        ],
        Big => &[
            ("count(*)", &[]),
            ("count(@{})", &[Int]),
            ("count(@{})", &[Text]),
            ("sum(@{})", &[Int]),
            ("sum({})", &[Int]),
            ("max({})", &[Big]),
            ("min({})", &[Big]),
        ],
        Num => &[
            ("sum({})", &[Big]),
            ("sum(@{})", &[Num]),
            ("sum({})", &[Dec]),
            ("avg({})", &[Int]),
            ("avg(@{})", &[Num]),
            ("max({})", &[Num]),
            ("min({})", &[Num]),
            ("var_pop({})", &[Int]),
            ("stddev({})", &[Num]),
        ],
        Dec => &[("max({})", &[Dec]), ("min({})", &[Dec])],
        Float => &[("sum({})", &[Float]), ("avg({})", &[Float]), ("max({})", &[Float]), ("min({})", &[Float])],
        Text => &[("max({})", &[Text]), ("min({})", &[Text])],
        Bool => &[("bool_and({})", &[Bool]), ("bool_or({})", &[Bool]), ("every({})", &[Bool])],
        Date => &[("max({})", &[Date]), ("min({})", &[Date])],
        Ts => &[("max({})", &[Ts]), ("min({})", &[Ts])],
        Ints => &[("max({})", &[Ints])],
        Ty::Json => &[],
    }
}

impl Draw<'_> {
    /// Aggregates of these rows, at least one of each of these types.
    pub(super) fn aggregates(&mut self, types: &[Ty], rows: &Scope, depth: u32) -> Vec<Entry> {
        let mut all: Vec<Entry> = types.iter().map(|ty| self.aggregate(*ty, rows, depth)).collect();
        if self.chance(50) {
            all.push(self.aggregate(Ty::Big, rows, depth));
        }
        all
    }

    fn aggregate(&mut self, ty: Ty, rows: &Scope, depth: u32) -> Entry {
        // An argument without a column of its own query would belong to the query around it.
        let alone = rows.alone();
        let deep = u32::from(depth > 0);
        let call = match ty {
            Ty::Text if self.chance(50) => self.listed("string_agg(@{}, ','", Ty::Text, &alone, deep),
            Ty::Ints if self.chance(80) => self.listed("array_agg(@{}", Ty::Int, &alone, deep),
            Ty::Json => {
                let of = self.random.pick(&[&Ty::Int, &Ty::Text, &Ty::Bool]).to_owned();
                self.listed("jsonb_agg(@{}", of, &alone, deep)
            }
            _ => {
                let (template, of) = self.one(calls(ty)).unwrap_or(("max({})", &[Ty::Int]));
                let distinct = if self.chance(40) { "DISTINCT " } else { "" };
                let parts = of.iter().map(|ty| self.value(*ty, &alone, deep)).collect();
                node(Kind::Other, &template.replace('@', distinct), parts)
            }
        };
        let filter = if self.chance(15) {
            let condition = self.predicate(&alone, deep);
            vec![node(Kind::Other, "{})", vec![condition])]
        } else {
            vec![]
        };
        let tree = node(Kind::Value(ty), "{}{}", vec![call, list(" FILTER (WHERE ", "", 0, filter)]);
        Entry { tree, ty, simple: false }
    }

    /// An aggregate that keeps its values in a list.
    fn listed(&mut self, template: &str, of: Ty, rows: &Scope, depth: u32) -> Tree {
        let value = self.value(of, rows, depth);
        let direction = self.direction();
        let last = node(Kind::Other, &format!("{{}}{direction}"), vec![value.clone()]);
        let distinct = self.chance(25);
        let mut order = vec![];
        if !distinct && self.chance(50) {
            let key = self.some_type();
            let by = self.value(key, rows, 0);
            order.push(node(Kind::Other, &format!("{{}}{}", self.direction()), vec![by]));
        }
        order.push(last);
        let template = template.replace('@', if distinct { "DISTINCT " } else { "" });
        let order = list(" ORDER BY ", ", ", 1, order);
        // In one piece: with another order, which of equal rows comes first would be open.
        text(node(Kind::Other, &format!("{template}{{}})"), vec![value, order]).to_string())
    }
}

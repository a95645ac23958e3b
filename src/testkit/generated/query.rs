//! Queries: SELECT with and without groups, DISTINCT, set operations, WITH, the first rows of an order.
//!
//! Where rows are cut off, the order is total over what is shown, so that there is one answer.

use super::draw::{Draw, Entry, Scope};
use super::tree::{Kind, Tree, list, node, text};
use super::types::Ty;

const DEPTH: u32 = 3;

/// `value AS c0`, and so on.
fn named(values: Vec<Tree>) -> Vec<Tree> {
    values.into_iter().enumerate().map(|(at, v)| node(Kind::Other, &format!("{{}} AS c{at}"), vec![v])).collect()
}

fn select(head: &'static str, items: Vec<Tree>, from: Tree, conditions: Vec<Tree>) -> Tree {
    let parts = vec![list(head, ", ", 1, items), from, list(" WHERE ", " AND ", 0, conditions)];
    node(Kind::Query, "{} FROM {}{}", parts)
}

impl Draw<'_> {
    /// A whole query with columns of these types, and whether the order of its rows is determined. `certain`: what may fail
    /// is in its own select list only.
    pub(super) fn whole(&mut self, types: &[Ty], certain: bool) -> (Tree, bool) {
        if certain {
            let from = self.from(&[], DEPTH);
            let scope = Scope { own: from.columns, outer: vec![] };
            let conditions = self.conditions(&scope, DEPTH);
            (self.risky, self.certain) = (true, true);
            let items = types.iter().map(|ty| self.value(*ty, &scope, DEPTH)).collect();
            return (select("SELECT ", named(items), from.tree, conditions), false);
        }
        let (with, kept) = self.with_clause();
        let body = self.body(types, &[], DEPTH);
        self.relations.truncate(kept);
        let sortable = types.iter().all(|ty| ty.is_ordered());
        let (body, ordered) = match self.random.below(100) {
            0..=17 if sortable => (self.limited(body, types), true),
            18..=33 if sortable && !body.to_string().contains("DISTINCT ON") => {
                let order = self.total(types);
                (node(Kind::Query, "{}{}", vec![body, order]), true)
            }
            _ => (body, false),
        };
        (node(Kind::Query, "{}{}", vec![with, body]), ordered)
    }

    /// WITH; the number of relations without its own.
    fn with_clause(&mut self) -> (Tree, usize) {
        let kept = self.relations.len();
        let mut all = vec![];
        while all.len() < 2 && self.spend(14) {
            let types: Vec<Ty> = (0..1 + self.random.below(3)).map(|_| self.some_type()).collect();
            let query = self.query(&types, &[], DEPTH - 1);
            let name = format!("q{}", self.relations.len());
            all.push(node(Kind::Other, &format!("{name} AS ({{}})"), vec![query]));
            let columns = types.iter().enumerate().map(|(at, ty)| (format!("c{at}"), *ty)).collect();
            self.relations.push(super::draw::Relation { name, columns });
        }
        // What stands behind it needs the space.
        (node(Kind::Other, "{} ", vec![list("WITH ", ", ", 0, all)]), kept)
    }

    /// A query within parentheses.
    pub(super) fn query(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let body = self.body(types, outer, depth);
        let sortable = types.iter().all(|ty| ty.is_ordered());
        if sortable && self.chance(25) { self.limited(body, types) } else { body }
    }

    fn body(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let sortable = types.iter().all(|ty| ty.is_ordered());
        match self.random.below(100) {
            0..=34 => self.plain(types, outer, depth),
            35..=64 => self.grouped(types, outer, depth),
            65..=69 => self.aggregated(types, outer, depth),
            70..=84 if depth > 0 && (sortable || self.chance(20)) => self.combined(types, outer, depth - 1),
            85..=91 if sortable => {
                let (items, from, conditions) = self.parts(types, outer, depth);
                select("SELECT DISTINCT ", items, from, conditions)
            }
            92..=97 if sortable => self.distinct_on(types, outer, depth),
            _ => self.plain(types, outer, depth),
        }
    }

    fn parts(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> (Vec<Tree>, Tree, Vec<Tree>) {
        let from = self.from(outer, depth);
        let scope = Scope { own: from.columns, outer: outer.to_vec() };
        let conditions = self.conditions(&scope, depth);
        let items = types.iter().map(|ty| self.value(*ty, &scope, depth.min(2))).collect();
        (named(items), from.tree, conditions)
    }

    fn conditions(&mut self, scope: &Scope, depth: u32) -> Vec<Tree> {
        let mut all = vec![];
        if !scope.outer.is_empty() && self.chance(75) {
            let sign = if self.chance(75) { "=" } else { self.random.pick(&["<", ">=", "<>"]) };
            all.push(self.link(&scope.own, &scope.outer, sign));
        }
        let more = [0, 0, 0, 0, 1, 1, 1, 2][self.random.below(8) as usize];
        all.extend((0..more).map(|_| self.predicate(scope, depth.min(2))).collect::<Vec<_>>());
        all
    }

    /// SELECT without groups.
    pub(super) fn plain(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let (items, from, conditions) = self.parts(types, outer, depth);
        let series = types.iter().position(|ty| *ty == Ty::Int).filter(|_| self.chance(4));
        match series {
            Some(at) => {
                let mut items = items;
                let call = self.random.pick(&["generate_series(1, 2)", "unnest(ARRAY[1, NULL, 3])"]);
                items[at] = node(Kind::Other, &format!("{{}} AS c{at}"), vec![text(call)]);
                select("SELECT ", items, from, conditions)
            }
            None => select("SELECT ", items, from, conditions),
        }
    }

    /// A query that most often depends on what is outside.
    pub(super) fn related(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        match self.random.below(10) {
            0..=5 => self.plain(types, outer, depth),
            6 => self.grouped(types, outer, depth),
            7 if depth > 0 => self.combined(types, outer, depth - 1),
            8 => {
                let body = self.plain(types, outer, depth);
                self.limited(body, types)
            }
            _ => self.plain(types, outer, depth),
        }
    }

    /// ORDER BY all columns.
    fn total(&mut self, types: &[Ty]) -> Tree {
        let mut at: Vec<usize> = (0..types.len()).collect();
        for n in 0..at.len() {
            let other = n + self.random.below((at.len() - n) as u64) as usize;
            at.swap(n, other);
        }
        let numbered = self.chance(50);
        let keys = at.into_iter().map(|n| {
            let name = if numbered { (n + 1).to_string() } else { format!("c{n}") };
            text(format!("{name}{}", self.direction()))
        });
        let keys: Vec<Tree> = keys.collect();
        list(" ORDER BY ", ", ", keys.len(), keys)
    }

    /// The first rows of an order over all columns. Precondition: the types can be ordered.
    pub(super) fn limited(&mut self, body: Tree, types: &[Ty]) -> Tree {
        if !types.iter().all(|ty| ty.is_ordered()) {
            return body;
        }
        let ordered = body.to_string().starts_with("SELECT DISTINCT ON");
        let order = if ordered { text("") } else { self.total(types) };
        let limit = match self.random.below(10) {
            0..=6 => format!(" LIMIT {}", 1 + self.random.below(4)),
            7..=8 => format!(" LIMIT {} OFFSET {}", 1 + self.random.below(3), 1 + self.random.below(2)),
            _ => format!(" OFFSET {}", 1 + self.random.below(2)),
        };
        node(Kind::Query, "{}{}{}", vec![body, order, list("", "", 0, vec![text(limit)])])
    }

    fn combined(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let left = self.branch(types, outer, depth);
        let right = self.branch(types, outer, depth);
        let operators = ["UNION ALL", "UNION ALL", "UNION", "EXCEPT", "EXCEPT ALL", "INTERSECT", "INTERSECT ALL"];
        let operator = if types.contains(&Ty::Json) { "UNION ALL" } else { self.random.pick(&operators) };
        node(Kind::Query, &format!("({{}}) {operator} ({{}})"), vec![left, right])
    }

    fn branch(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        if self.chance(12) {
            let values = types.iter().map(|ty| ty.literal(self.random)).collect();
            return node(Kind::Query, "{}", vec![list("SELECT ", ", ", 1, named(values))]);
        }
        if self.spend(70) { self.query(types, outer, depth) } else { self.plain(types, outer, 0) }
    }

    fn distinct_on(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let (items, from, conditions) = self.parts(types, outer, depth);
        let keys = 1 + self.random.below(types.len() as u64) as usize;
        let columns: Vec<String> = (0..types.len()).map(|at| format!("{}", at + 1)).collect();
        let on = columns[..keys].join(", ");
        let order: Vec<Tree> = columns.iter().map(|c| text(format!("{c}{}", self.direction()))).collect();
        let order = list(" ORDER BY ", ", ", types.len(), order);
        let parts = vec![list("", ", ", types.len(), items), from, list(" WHERE ", " AND ", 0, conditions), order];
        node(Kind::Query, &format!("SELECT DISTINCT ON ({on}) {{}} FROM {{}}{{}}{{}}"), parts)
    }

    /// Aggregates of all rows: one row.
    pub(super) fn aggregated(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let from = self.from(outer, depth);
        let rows = Scope { own: from.columns, outer: outer.to_vec() };
        let conditions = self.conditions(&rows, depth);
        let scope = Scope { own: self.aggregates(types, &rows, depth), outer: outer.to_vec() };
        let items = types.iter().map(|ty| self.value(*ty, &scope, 1)).collect();
        // Without an aggregate in its select list it would have a row for each that is read.
        let groups = list(" GROUP BY ()", "", 1, vec![text("")]);
        let parts = vec![list("SELECT ", ", ", 1, named(items)), from.tree, list(" WHERE ", " AND ", 0, conditions)];
        let plain = node(Kind::Query, "{} FROM {}{}", parts);
        node(Kind::Query, "{}{}", vec![plain, groups])
    }

    fn grouped(&mut self, types: &[Ty], outer: &[Entry], depth: u32) -> Tree {
        let from = self.from(outer, depth);
        let rows = Scope { own: from.columns, outer: outer.to_vec() };
        let conditions = self.conditions(&rows, depth);
        let keys = self.keys(&rows);
        if keys.is_empty() {
            return select("SELECT ", named(self.literals(types)), from.tree, conditions);
        }
        let (groups, sets) = self.groups(&keys);
        let mut own = keys.clone();
        own.extend(self.aggregates(types, &rows, depth));
        if sets {
            let call = node(Kind::Value(Ty::Int), "grouping({})", vec![keys[0].tree.clone()]);
            own.push(Entry { tree: call, ty: Ty::Int, simple: false });
        }
        let scope = Scope { own, outer: outer.to_vec() };
        let items = types.iter().map(|ty| self.value(*ty, &scope, depth.min(2))).collect();
        let having = if self.chance(25) { vec![self.predicate(&scope, depth.min(2))] } else { vec![] };
        let head =
            if self.chance(6) && types.iter().all(|ty| ty.is_ordered()) { "SELECT DISTINCT " } else { "SELECT " };
        let parts = vec![
            list(head, ", ", 1, named(items)),
            from.tree,
            list(" WHERE ", " AND ", 0, conditions),
            groups,
            list(" HAVING ", " AND ", 0, having),
        ];
        node(Kind::Query, "{} FROM {}{}{}{}", parts)
    }

    fn literals(&mut self, types: &[Ty]) -> Vec<Tree> {
        types.iter().map(|ty| ty.literal(self.random)).collect()
    }

    /// What is grouped by: columns, or something made of one.
    fn keys(&mut self, rows: &Scope) -> Vec<Entry> {
        let columns: Vec<Entry> = rows.own.iter().filter(|e| e.ty.is_ordered()).cloned().collect();
        let mut keys: Vec<Entry> = vec![];
        for _ in 0..1 + self.random.below(3) {
            let Some(column) = self.one(&columns) else { break };
            let made = match column.ty {
                Ty::Int if self.chance(20) => Some(("({} % 2)", Ty::Int)),
                Ty::Text if self.chance(20) => Some(("upper({})", Ty::Text)),
                _ if self.chance(8) => Some(("({} IS NULL)", Ty::Bool)),
                _ => None,
            };
            let key = match made {
                Some((template, ty)) => {
                    Entry { tree: node(Kind::Value(ty), template, vec![column.tree]), ty, simple: false }
                }
                None => column,
            };
            if keys.iter().all(|k| k.tree.to_string() != key.tree.to_string()) {
                keys.push(key);
            }
        }
        keys
    }

    /// GROUP BY, and whether there are several grouping sets.
    fn groups(&mut self, keys: &[Entry]) -> (Tree, bool) {
        let trees: Vec<Tree> = keys.iter().map(|k| k.tree.clone()).collect();
        if self.chance(80) {
            return (list(" GROUP BY ", ", ", 0, trees), false);
        }
        let head = self.random.pick(&["ROLLUP", "CUBE", "GROUPING SETS"]);
        if head != "GROUPING SETS" {
            let inner = list("", ", ", 1, trees);
            return (node(Kind::Other, &format!(" GROUP BY {head} ({{}})"), vec![inner]), true);
        }
        let mut sets = vec![text("()")];
        for _ in 0..1 + self.random.below(3) {
            let some: Vec<Tree> = trees.iter().filter(|_| self.random.chance(60)).cloned().collect();
            sets.push(node(Kind::Other, "({})", vec![list("", ", ", 0, some)]));
        }
        // Every key is in one of them.
        sets.push(node(Kind::Other, "({})", vec![list("", ", ", 1, trees)]));
        (node(Kind::Other, " GROUP BY GROUPING SETS ({})", vec![list("", ", ", 1, sets)]), true)
    }
}

//! What FROM reads: tables, derived tables, CTEs, VALUES, functions, joined in every way, LATERAL included.

use super::draw::{Draw, Entry, Relation};
use super::tree::{Kind, Tree, list, node, text};
use super::types::Ty;

/// A relation in FROM with what it shows.
pub(super) struct Source {
    pub tree: Tree,
    pub columns: Vec<Entry>,
    /// Name and columns of a relation that is read as it is.
    named: Option<(String, Relation)>,
}

impl Draw<'_> {
    /// One or more relations, joined.
    pub(super) fn from(&mut self, outer: &[Entry], depth: u32) -> Source {
        let mut all = self.relation(outer, depth);
        let joins = match self.random.below(100) {
            0..=44 => 0,
            45..=84 => 1,
            _ => 2,
        };
        for _ in 0..joins {
            if self.budget <= 0 {
                break;
            }
            self.budget -= 1;
            all = self.join(all, outer, depth);
        }
        if self.spend(6) {
            let more = self.relation(outer, depth);
            all.columns.extend(more.columns);
            all = Source {
                tree: node(Kind::From, "{}, {}", vec![all.tree, more.tree]),
                columns: all.columns,
                named: None,
            };
        }
        all
    }

    fn join(&mut self, left: Source, outer: &[Entry], depth: u32) -> Source {
        if self.chance(14) {
            return self.lateral(left, outer, depth);
        }
        let right = self.relation(outer, depth);
        let shared = shared(&left, &right);
        if !shared.is_empty() && self.chance(14) {
            return self.by_name(left, right, &shared);
        }
        let mut columns = left.columns.clone();
        columns.extend(right.columns.iter().cloned());
        let tree = if self.chance(9) {
            node(Kind::From, "{} CROSS JOIN {}", vec![left.tree, right.tree])
        } else {
            let how = self.random.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let on = match how {
                // PostgreSQL itself takes nothing else.
                "FULL JOIN" => self.link(&left.columns, &right.columns, "="),
                _ => self.join_condition(&left.columns, &right.columns, outer),
            };
            node(Kind::From, &format!("{{}} {how} {{}} ON {{}}"), vec![left.tree, right.tree, on])
        };
        let tree = node(Kind::From, "({})", vec![tree]);
        Source { tree, columns, named: None }
    }

    /// USING and NATURAL.
    fn by_name(&mut self, left: Source, right: Source, shared: &[(String, Ty)]) -> Source {
        let mut columns = left.columns;
        columns.extend(right.columns);
        let how = self.random.pick(&["JOIN", "JOIN", "LEFT JOIN"]);
        let (template, using) = if self.chance(30) {
            (format!("({{}} NATURAL {how} {{}})"), shared.to_vec())
        } else {
            let using: Vec<(String, Ty)> = self.one(shared).into_iter().collect();
            let names: Vec<&str> = using.iter().map(|(name, _)| name.as_str()).collect();
            (format!("({{}} {how} {{}} USING ({}))", names.join(", ")), using)
        };
        for (name, ty) in using {
            let tree = Tree::Node { kind: Kind::Column(ty), parts: vec![text(name)] };
            columns.push(Entry { tree, ty, simple: false });
        }
        Source { tree: node(Kind::From, &template, vec![left.tree, right.tree]), columns, named: None }
    }

    /// A relation that is computed for each row of what stands before it.
    fn lateral(&mut self, left: Source, outer: &[Entry], depth: u32) -> Source {
        let mut seen: Vec<Entry> = left.columns.iter().filter(|e| e.simple).cloned().collect();
        seen.extend_from_slice(outer);
        if self.chance(25) {
            let function = self.function(&seen);
            let mut columns = left.columns;
            columns.extend(function.columns);
            let tree = node(Kind::From, "({} CROSS JOIN {})", vec![left.tree, function.tree]);
            return Source { tree, columns, named: None };
        }
        let name = self.alias();
        let types: Vec<Ty> = (0..1 + self.random.below(2)).map(|_| self.some_type()).collect();
        let query = match self.random.below(3) {
            0 => self.aggregated(&types, &seen, depth.saturating_sub(1)),
            1 => {
                let body = self.plain(&types, &seen, depth.saturating_sub(1));
                self.limited(body, &types)
            }
            _ => self.related(&types, &seen, depth.saturating_sub(1)),
        };
        let template = match self.random.below(3) {
            0 => "({} LEFT JOIN LATERAL ({}) AS NAME ON true)",
            1 => "({} CROSS JOIN LATERAL ({}) AS NAME)",
            _ => "({} JOIN LATERAL ({}) AS NAME ON true)",
        };
        let tree = node(Kind::From, &template.replace("NAME", &name), vec![left.tree, query]);
        let mut columns = left.columns;
        columns.extend(types.iter().enumerate().map(|(at, ty)| Entry::column(&name, &format!("c{at}"), *ty)));
        Source { tree, columns, named: None }
    }

    /// One relation.
    fn relation(&mut self, outer: &[Entry], depth: u32) -> Source {
        match self.random.below(100) {
            0..=11 if depth > 0 && self.spend(90) => self.derived(outer, depth - 1),
            12..=17 if depth > 0 && self.spend(90) => self.ranked(outer, depth - 1),
            18..=21 => self.constants(),
            22..=25 => self.function(outer),
            _ => {
                let relations = self.relations.clone();
                let Some(relation) = self.one(&relations) else { return self.constants() };
                let name = self.alias();
                let columns = relation.columns.iter().map(|(c, ty)| Entry::column(&name, c, *ty)).collect();
                let tree = node(Kind::From, &format!("{} AS {name}", relation.name), vec![]);
                Source { tree, columns, named: Some((name, relation)) }
            }
        }
    }

    fn derived(&mut self, outer: &[Entry], depth: u32) -> Source {
        let name = self.alias();
        let types: Vec<Ty> = (0..1 + self.random.below(3)).map(|_| self.some_type()).collect();
        let query = self.query(&types, outer, depth);
        let renamed = self.chance(25);
        let names: Vec<String> =
            (0..types.len()).map(|at| format!("{}{at}", if renamed { "x" } else { "c" })).collect();
        let list = if renamed { format!(" ({})", names.join(", ")) } else { String::new() };
        let tree = node(Kind::From, &format!("({{}}) AS {name}{list}"), vec![query]);
        let columns = names.iter().zip(&types).map(|(c, ty)| Entry::column(&name, c, *ty)).collect();
        Source { tree, columns, named: None }
    }

    fn constants(&mut self) -> Source {
        let name = self.alias();
        let types: Vec<Ty> = (0..1 + self.random.below(2)).map(|_| self.some_type()).collect();
        let rows = (0..1 + self.random.below(3)).map(|_| {
            let values = types.iter().map(|ty| ty.literal(self.random)).collect();
            node(Kind::Other, "({})", vec![list("", ", ", types.len(), values)])
        });
        let rows = list("VALUES ", ", ", 1, rows.collect());
        let names: Vec<String> = (0..types.len()).map(|at| format!("v{at}")).collect();
        let tree = node(Kind::From, &format!("({{}}) AS {name} ({})", names.join(", ")), vec![rows]);
        let columns = names.iter().zip(&types).map(|(c, ty)| Entry::column(&name, c, *ty)).collect();
        Source { tree, columns, named: None }
    }

    fn function(&mut self, outer: &[Entry]) -> Source {
        let name = self.alias();
        let of = |ty: Ty| outer.iter().filter(|e| e.ty == ty).map(|e| e.tree.clone()).collect::<Vec<_>>();
        let (call, part) = match self.random.below(3) {
            0 => ("generate_series(1, least({}, 4))", self.one(&of(Ty::Int))),
            1 => ("unnest({})", self.one(&of(Ty::Ints))),
            _ => ("generate_series({}, 3)", None),
        };
        let part = part.unwrap_or_else(|| if call.starts_with('u') { Ty::Ints } else { Ty::Int }.literal(self.random));
        let mut columns = vec![Entry::column(&name, "x", Ty::Int)];
        let mut template = format!("{call} AS {name} (x)");
        if self.chance(40) {
            template = format!("{call} WITH ORDINALITY AS {name} (x, y)");
            columns.push(Entry::column(&name, "y", Ty::Big));
        }
        Source { tree: node(Kind::From, &template, vec![part]), columns, named: None }
    }

    /// A derived table whose rows are numbered.
    fn ranked(&mut self, outer: &[Entry], depth: u32) -> Source {
        let (name, inner) = (self.alias(), self.from(outer, depth.min(1)));
        let columns: Vec<Entry> = inner.columns.iter().filter(|e| e.ty.is_ordered()).cloned().collect();
        let mut shown = vec![];
        for _ in 0..1 + self.random.below(3) {
            shown.extend(self.one(&columns));
        }
        let order: Vec<Tree> = shown
            .iter()
            .map(|e| node(Kind::Other, &format!("{{}}{}", self.direction()), vec![e.tree.clone()]))
            .collect();
        let parts: Vec<Tree> = if self.chance(55) { self.one(&columns).into_iter().collect() } else { vec![] }
            .into_iter()
            .map(|e| e.tree)
            .collect();
        let function = self.random.pick(&["row_number()", "row_number()", "rank()", "dense_rank()"]);
        let mut items: Vec<Tree> = shown
            .iter()
            .enumerate()
            .map(|(at, e)| node(Kind::Other, &format!("{{}} AS c{at}"), vec![e.tree.clone()]))
            .collect();
        let window = node(
            Kind::Value(Ty::Big),
            &format!("{function} OVER ({{}}{{}})"),
            vec![list("PARTITION BY ", ", ", 0, parts), list(" ORDER BY ", ", ", 0, order)],
        );
        items.push(node(Kind::Other, &format!("{{}} AS c{}", shown.len()), vec![window]));
        let mut out: Vec<Entry> =
            shown.iter().enumerate().map(|(at, e)| Entry::column(&name, &format!("c{at}"), e.ty)).collect();
        out.push(Entry::column(&name, &format!("c{}", shown.len()), Ty::Big));
        // In one piece: with another order, which of equal rows has which number would be open.
        let items = text(list("SELECT ", ", ", 1, items).to_string());
        let query = node(Kind::Query, "{} FROM {}", vec![items, inner.tree]);
        let query = if self.chance(60) {
            let bound = 1 + self.random.below(3);
            let number = format!("z.c{}", shown.len());
            let sign = self.random.pick(&["<=", "<=", "=", "<"]);
            node(Kind::Query, &format!("SELECT * FROM ({{}}) AS z WHERE {number} {sign} {bound}"), vec![query])
        } else {
            query
        };
        let tree = node(Kind::From, &format!("({{}}) AS {name}"), vec![query]);
        Source { tree, columns: out, named: None }
    }
}

/// Columns that both have under the same name, where both are read as they are; all of one type.
fn shared(left: &Source, right: &Source) -> Vec<(String, Ty)> {
    let (Some((_, left)), Some((_, right))) = (&left.named, &right.named) else { return vec![] };
    let both: Vec<(String, Ty)> = left.columns.iter().filter(|c| right.columns.contains(c)).cloned().collect();
    let clash = left.columns.iter().any(|(n, ty)| right.columns.iter().any(|(m, other)| n == m && ty != other));
    if clash { vec![] } else { both }
}

//! Which arrangements the joins of a plan read, told apart by what they hold: one that several joins read is made once, and
//! one that a named relation keeps anyway is not made at all.
//!
//! Nothing here is a choice: the renderer makes exactly these, but for those that it finds kept, and `EXPLAIN` names them.

use crate::flow::LookUp;
use crate::placed::kept_apart;
use crate::transform::describe;
use crate::{CatalogView, FlowPlan, Object, ObjectKind, stack};
use hw_repr::encoding::RowCodec;
use hw_repr::{GlobalId, RelationDesc, SqlType};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an arrangement holds: equal ones hold the same rows in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArrangedBy {
    /// The collection, see [`identity`].
    pub of: u64,
    /// Columns of its key, in order.
    pub key: Vec<usize>,
    /// Those in which NULL matches nothing: rows that have one are left out.
    pub strict: Vec<usize>,
}

impl ArrangedBy {
    /// A side of a binary join: the keys of that side, with what each one's NULL is.
    pub fn side(plan: &FlowPlan, key: Vec<usize>, null_safe: &[bool]) -> ArrangedBy {
        let safe = |i: usize| null_safe.get(i).copied().unwrap_or(false);
        let strict = key.iter().enumerate().filter(|(i, _)| !safe(*i)).map(|(_, c)| *c).collect();
        ArrangedBy { of: identity(plan), key, strict }
    }

    /// What a step of a delta join looks up; `of` stands for its input.
    pub fn looked_up(of: u64, step: &LookUp) -> ArrangedBy {
        let key = step.key.iter().map(|s| s.column).collect();
        let strict = step.key.iter().filter(|s| !s.null_safe).map(|s| s.column).collect();
        ArrangedBy { of, key, strict }
    }
}

/// Both sides of a [`FlowPlan::Join`].
pub fn sides(left: &FlowPlan, right: &FlowPlan, on: &[(usize, usize)], null_safe: &[bool]) -> [ArrangedBy; 2] {
    let key = |side: usize| on.iter().map(|k| if side == 0 { k.0 } else { k.1 }).collect();
    [ArrangedBy::side(left, key(0), null_safe), ArrangedBy::side(right, key(1), null_safe)]
}

/// A hash of what a plan computes, whatever its columns are called. Node by node: plans may be deep.
pub fn identity(plan: &FlowPlan) -> u64 {
    let (mut hasher, mut todo) = (DefaultHasher::new(), vec![plan]);
    while let Some(node) = todo.pop() {
        let own = match node {
            FlowPlan::Get { id, columns, .. } => hash((id, columns)),
            FlowPlan::Constant { rows, desc } => hash((rows, desc.types())),
            FlowPlan::Mfp { filter, project, .. } => hash((filter, project)),
            FlowPlan::Join { on, null_safe, .. } => hash((on, null_safe)),
            FlowPlan::DeltaJoin { inputs, paths, output, .. } => hash((inputs.len(), paths, output)),
            FlowPlan::Reduce { group, aggregates, .. } => hash((group, aggregates)),
            FlowPlan::TopK { group, order, numbers, skip, limit, .. } => hash((group, order, numbers, skip, limit)),
            FlowPlan::Union { inputs } => hash(inputs.len()),
            FlowPlan::Let { id, .. } | FlowPlan::Shared { id, .. } => hash(id),
            FlowPlan::FlatMap { keep, calls, outer, .. } => hash((keep, calls, outer)),
            FlowPlan::Distinct { .. } | FlowPlan::Negate { .. } => 0,
        };
        (std::mem::discriminant(node), own).hash(&mut hasher);
        todo.extend(node.inputs());
    }
    hasher.finish()
}

/// Of anything, the same in one run of the program.
pub fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// True where a join keeps its inputs in the hash form: nothing is ever retracted from either.
pub fn is_hashed(left: &FlowPlan, right: &FlowPlan) -> bool {
    describe(left, &[]).append_only && describe(right, &[]).append_only
}

/// The arrangements of a plan's joins, and how many joins or inputs of joins read each. With `retractions` no join has
/// the hash form.
pub fn arrangements(plan: &FlowPlan, retractions: bool) -> HashMap<ArrangedBy, usize> {
    let mut all = HashMap::new();
    collect(plan, retractions, &mut all);
    all
}

fn collect(plan: &FlowPlan, retractions: bool, all: &mut HashMap<ArrangedBy, usize>) {
    match plan {
        FlowPlan::Join { left, right, on, null_safe } if retractions || !is_hashed(left, right) => {
            for side in sides(left, right, on, null_safe) {
                *all.entry(side).or_default() += 1;
            }
        }
        FlowPlan::DeltaJoin { inputs, paths, .. } => {
            let of: Vec<u64> = inputs.iter().map(identity).collect();
            // An input that several paths look up by one key is one reader.
            let mut mine: Vec<(usize, ArrangedBy)> = vec![];
            for step in paths.iter().flatten() {
                let by = (step.input, ArrangedBy::looked_up(of[step.input], step));
                if !mine.contains(&by) {
                    mine.push(by);
                }
            }
            for (_, by) in mine {
                *all.entry(by).or_default() += 1;
            }
        }
        _ => {}
    }
    plan.inputs().into_iter().for_each(|input| stack::deep(|| collect(input, retractions, all)));
}

/// True where binary joins share an arrangement, which each had of its own before that was known: what was saved of such
/// a view is numbered otherwise.
pub fn shares(plan: &FlowPlan, retractions: bool) -> bool {
    arrangements(plan, retractions).values().any(|readers| *readers > 1)
}

/// The arrangements that named relations keep whoever reads them, by relation: what each is called, and the columns of its
/// key. Those of a table or a materialized view are its own and its indexes'; a source keeps none.
#[derive(Clone, Debug, Default)]
pub struct Kept(pub HashMap<GlobalId, Vec<(String, Vec<usize>)>>);

impl Kept {
    /// What there is for the relations that a plan reads; of indexes those that are older than `than`, where that is given.
    pub fn of(plan: &FlowPlan, catalog: &dyn CatalogView, than: Option<GlobalId>) -> Kept {
        let mut kept = Kept::default();
        plan.for_each_get(&mut |id, _| {
            let Some(object) = catalog.get(id) else { return };
            if let ObjectKind::Table(desc) | ObjectKind::MaterializedView { desc, .. } = &object.kind {
                let own = || own_key(&object, desc).map(|key| (object.name.clone(), key));
                kept.0.entry(id).or_insert_with(|| own().into_iter().collect());
            }
        });
        if kept.0.is_empty() {
            return kept;
        }
        for object in catalog.objects().into_iter().filter(|o| than.is_none_or(|than| o.id < than)) {
            if let ObjectKind::Index { on, columns, expressions } = &object.kind
                && expressions.is_empty()
                && let Some(all) = kept.0.get_mut(on)
            {
                all.push((object.name.clone(), columns.clone()));
            }
        }
        kept
    }

    /// What keeps the rows that `plan` reads in the order of a key of a join.
    pub fn keeper(&self, plan: &FlowPlan, key: &[usize]) -> Option<&str> {
        let FlowPlan::Get { id, columns, desc, .. } = plan else { return None };
        let serves = |kept: &&(String, Vec<usize>)| order_in(key, columns, &desc.types(), &kept.1).is_some();
        self.0.get(id)?.iter().find(serves).map(|kept| kept.0.as_str())
    }

    /// Keys, as positions in what `plan` reads, by which it is kept.
    pub(crate) fn keys(&self, plan: &FlowPlan) -> Vec<Vec<usize>> {
        let FlowPlan::Get { id, columns, .. } = plan else { return vec![] };
        let place = |c: &usize| columns.iter().position(|read| read == c);
        let keys = self.0.get(id).into_iter().flatten();
        let keys = keys.filter_map(|kept| kept.1.iter().map(place).collect::<Option<Vec<usize>>>());
        keys.filter(|key| self.keeper(plan, key).is_some()).collect()
    }
}

/// By which columns a relation is served, where its rows are on the owners of their keys.
fn own_key(object: &Object, desc: &RelationDesc) -> Option<Vec<usize>> {
    let key = object.kept_by();
    let key = if key.is_empty() { (0..desc.arity()).collect() } else { key };
    let apart = match &object.kind {
        ObjectKind::MaterializedView { plan, .. } => kept_apart(plan, &desc.types(), &key, false),
        _ => None,
    };
    apart.is_none().then_some(key)
}

/// The columns of a join's key in the order in which the key of a served arrangement has them. `None` where that has others,
/// or where equal values may have other bytes there. `columns` of the relation are read, of these `types`.
pub fn order_in(key: &[usize], columns: &[usize], types: &[SqlType], served: &[usize]) -> Option<Vec<usize>> {
    let own: Vec<usize> = key.iter().map(|c| columns.get(*c).copied()).collect::<Option<_>>()?;
    let of_key: Vec<SqlType> = key.iter().map(|c| types.get(*c).copied()).collect::<Option<_>>()?;
    if own.len() != served.len() || RowCodec::has_print_tails(&of_key) {
        return None;
    }
    let order: Vec<usize> = served.iter().map(|c| own.iter().position(|o| o == c)).collect::<Option<_>>()?;
    // Each once.
    (0..own.len()).all(|place| order.contains(&place)).then_some(order)
}

/// The named relations of a plan, as it reads them, by identity.
pub fn named(plan: &FlowPlan) -> HashMap<u64, &FlowPlan> {
    let (mut all, mut todo) = (HashMap::new(), vec![plan]);
    while let Some(node) = todo.pop() {
        if matches!(node, FlowPlan::Get { .. }) {
            all.insert(identity(node), node);
        }
        todo.extend(node.inputs());
    }
    all
}

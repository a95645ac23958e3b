//! Delta joins of three to five inputs, drawn at random, against the binary joins they stand for: NULLs and copies, keys in
//! which NULL equals NULL, inputs that are read twice, changes of several inputs in one tick, restarts with another
//! number of workers, and views that are computed anew. Catches pairs of one tick that are counted twice or never, state that is
//! let go of too early, rows that are joined again after a restart.

use super::*;

/// A collection of two columns.
fn leaf(random: &mut Random) -> FlowPlan {
    let table = get(1 + random.below(2) as u32, false);
    let columns = |order: [usize; 2]| order.map(|c| ScalarExpr::Column(c, SqlType::Int8)).to_vec();
    let not_null = || ScalarExpr::Not(Box::new(ScalarExpr::IsNull(Box::new(ScalarExpr::Column(0, SqlType::Int8)))));
    let mfp = |filter, order| FlowPlan::Mfp {
        input: Box::new(table.clone()),
        filter,
        project: columns(order),
        names: vec!["a".into(), "b".into()],
    };
    match random.below(6) {
        0 => mfp(vec![], [1, 0]),
        1 => mfp(vec![not_null()], [0, 1]),
        2 => FlowPlan::Distinct { input: Box::new(table) },
        _ => table,
    }
}

/// A tree of binary joins.
pub fn tree(leaves: u64, random: &mut Random) -> FlowPlan {
    if leaves == 1 {
        return leaf(random);
    }
    let of_left = if random.below(2) == 0 { leaves - 1 } else { 1 + random.below(leaves - 1) };
    let (left, right) = (tree(of_left, random), tree(leaves - of_left, random));
    let (a, b) = (left.types().len() as u64, right.types().len() as u64);
    let keys = 1 + u64::from(random.below(4) == 0);
    let on: Vec<(usize, usize)> = (0..keys).map(|_| (random.below(a) as usize, random.below(b) as usize)).collect();
    let null_safe = on.iter().map(|_| random.below(4) == 0).collect();
    let join = FlowPlan::Join { left: Box::new(left), right: Box::new(right), on, null_safe };
    if random.below(3) > 0 {
        return join;
    }
    let width = join.types().len() as u64;
    let chosen: Vec<usize> = (0..1 + random.below(width)).map(|_| random.below(width) as usize).collect();
    let project = chosen.iter().map(|c| ScalarExpr::Column(*c, SqlType::Int8)).collect();
    let names = chosen.iter().map(|c| format!("x{c}")).collect();
    FlowPlan::Mfp { input: Box::new(join), filter: vec![], project, names }
}

fn is_delta(plan: &FlowPlan) -> bool {
    matches!(plan, FlowPlan::DeltaJoin { .. }) || plan.inputs().into_iter().any(is_delta)
}

/// Plans, each with a number.
pub type Plans = Vec<(FlowPlan, usize)>;

/// What is rendered, and what it means.
pub fn draw(count: usize, random: &mut Random) -> (Plans, Plans) {
    let (mut rendered, mut meant) = (vec![], vec![]);
    while meant.len() < count {
        let leaves = if random.below(6) == 0 { 5 } else { 3 + random.below(2) };
        let plan = tree(leaves, random);
        let mut delta = plan.clone();
        // By the rule, some are mixed with binary joins, and share arrangements with them.
        match random.below(3) {
            0 => hw_plan::delta::choose(&mut delta, &Default::default()),
            _ => hw_plan::delta::choose_always(&mut delta),
        }
        if !is_delta(&delta) && random.below(8) > 0 {
            continue;
        }
        let arity = plan.types().len();
        meant.push((plan, arity));
        rendered.push((delta, arity));
    }
    (rendered, meant)
}

fn run(workers: usize, restarts: bool, seed: u64) {
    let shape = Shape { workers, append_only: false, restarts, seed };
    BY_ALL.set(seed);
    let mut random = Random(seed);
    let (rendered, meant) = draw(6, &mut random);
    let flows: Vec<u32> = [1, 2].into_iter().chain((0..meant.len() as u32).map(|i| FIRST_VIEW + i)).collect();
    let mut running = Running::start(workers, &rendered, None, (0, 0));
    let mut tables = [Rows::new(), Rows::new()];
    let (mut disk, mut since_disk): (Option<Disk>, Ticks) = (None, vec![]);
    for tick in 1..25u64 {
        let mut changes = tables.each_mut().map(|table| {
            let mut changes = change(table, &mut random, false);
            // Small tables: five of them are joined.
            while table.len() > 9 {
                let (row, n) = table.pop_first().expect("rows");
                changes.push((row, -n));
            }
            changes
        });
        if random.below(8) == 0 {
            for (table, changes) in tables.iter_mut().zip(&mut changes) {
                changes.extend(std::mem::take(table).into_iter().map(|(row, n)| (row, -n)));
            }
        }
        running.tick(tick, &changes);
        since_disk.push(changes);
        // Several ticks may be under way at once.
        if random.below(3) > 0 || tick == 24 {
            running.check(tick, &meant, &tables, shape);
        } else {
            continue;
        }
        if tick % 5 == 0 {
            flows.iter().for_each(|id| running.engine.allow_compaction(GlobalId(*id), tick));
            running.engine.compact();
        }
        if restarts && random.below(3) == 0 {
            disk.get_or_insert_default().take(&running.engine, &flows, tick);
            since_disk.clear();
        }
        if let Some(disk) = disk.as_ref().filter(|_| random.below(3) == 0) {
            running.engine.shutdown();
            let workers = [1, 2, 4][random.below(3) as usize];
            // A correction needs a tick that the disk does not have.
            let mut some = || random.below(1 << meant.len());
            let anew = if since_disk.is_empty() { 0 } else { some() & some() & 0b1111 };
            running = Running::start(workers, &rendered, Some(disk), (tick, anew));
            for (i, changes) in since_disk.iter().enumerate() {
                running.tick(disk.tick + 1 + i as u64, changes);
            }
            running.check(tick, &meant, &tables, shape);
        }
    }
    running.engine.shutdown();
}

#[test]
fn delta_joins_on_one_worker() {
    (1..9).for_each(|seed| run(1, false, seed * 7919));
}

#[test]
fn delta_joins_on_two_workers() {
    (1..7).for_each(|seed| run(2, false, seed * 15_485_863));
}

#[test]
fn delta_joins_on_four_workers() {
    (1..5).for_each(|seed| run(4, false, seed * 32_452_843));
}

#[test]
fn delta_joins_go_on_after_restarts() {
    (1..13).for_each(|seed| run(1, true, seed * 104_729));
}

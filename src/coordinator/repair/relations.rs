//! What becomes of relations of which the checkpoint has damaged blocks: views are computed anew, of tables the rows are
//! kept that can be, and what is computed from those tables is computed anew too.

use super::log::LogPlan;
use super::{RepairReport, kept_records};
use hw_catalog::CatalogSnapshot;
use hw_dataflow::Layout;
use hw_plan::{Object, ObjectKind};
use hw_repr::{ChunkBody, GlobalId, RelationDesc, SqlError, Timestamp, UpdateBatch};
use hw_store::checkpoint::{Changed, Known, Salvage};
use hw_store::ticklog::Survey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Decides, and says what is lost.
pub(super) fn plan(
    salvage: &Salvage,
    survey: &Survey,
    log: &LogPlan,
    catalog: &CatalogSnapshot,
    report: &mut RepairReport,
) -> Result<Changed, SqlError> {
    let mut changed = Changed::default();
    let mut tables: BTreeMap<GlobalId, RelationDesc> = BTreeMap::new();
    let mut anew: BTreeSet<GlobalId> = BTreeSet::new();
    for id in salvage.damaged() {
        match catalog.user_object(id).map(|o| &o.kind) {
            Some(ObjectKind::Table(desc)) => drop(tables.insert(id, desc.clone())),
            Some(_) => drop(anew.insert(id)),
            None => {
                report
                    .steps
                    .push(format!("what the checkpoint has of a relation that is no longer there ({id}) is left out"));
                changed.dropped.insert(id);
            }
        }
    }
    let known = known_rows(survey, log, salvage.manifest().tick, &tables)?;
    for (id, known) in known {
        let said = salvage.look(id, &known)?;
        let name = catalog.user_object(id).map_or_else(|| id.to_string(), |o| full_name(o));
        let (blocks, lost, changes) = (said.blocks, said.lost, said.changes);
        report.steps.push(format!("table {name} goes on from {} rows at the checkpoint", said.kept));
        let mut text =
            format!("table {name}: {lost} rows or changes of rows, in {blocks} damaged blocks of the checkpoint");
        if changes > 0 {
            text += &format!(
                "; up to {changes} rows may be there as they were before a change, or though they were deleted"
            );
        }
        if said.known > 0 {
            text += &format!("; {} of these rows are there nevertheless: the tick log has them", said.known);
        }
        report.lost.push(text);
        anew.extend(catalog.dependants(id));
        changed.salvaged.insert(id, known);
    }
    let below: Vec<GlobalId> = anew.iter().flat_map(|id| catalog.dependants(*id)).collect();
    anew.extend(below);
    changed.dropped.extend(&anew);
    describe_anew(catalog, &anew, report);
    if salvage.damaged_headers() > 0 {
        report.steps.push(format!("{} chunk files get their first bytes again", salvage.damaged_headers()));
    }
    if salvage.lost_dead_letters() {
        report.steps.push("the dead letters of the checkpoint are left out".into());
        report.lost.push("rows of headwater.dead_letters from before the checkpoint".into());
    }
    Ok(changed)
}

fn full_name(object: &Object) -> String {
    format!("{}.{}", object.schema, object.name)
}

/// Says which views a start computes again, and from which sources.
fn describe_anew(catalog: &CatalogSnapshot, anew: &BTreeSet<GlobalId>, report: &mut RepairReport) {
    let of_kind = |id: &GlobalId| {
        let object = catalog.user_object(*id)?;
        let maintained = matches!(object.kind, ObjectKind::MaterializedView { .. } | ObjectKind::Index { .. });
        maintained.then(|| full_name(object))
    };
    let names: Vec<String> = anew.iter().filter_map(of_kind).collect();
    if names.is_empty() {
        return;
    }
    report.steps.push(format!("computed anew at the next start: {}", names.join(", ")));
    let (mut open, mut seen): (Vec<GlobalId>, BTreeSet<GlobalId>) = (anew.iter().copied().collect(), BTreeSet::new());
    let mut sources = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(object) = catalog.user_object(id).filter(|_| seen.insert(id)) else { continue };
        if matches!(object.kind, ObjectKind::Source(_)) {
            sources.insert(full_name(object));
        }
        open.extend(&object.depends_on);
    }
    if !sources.is_empty() {
        let sources: Vec<String> = sources.into_iter().collect();
        report.steps.push(format!(
            "for that all of these sources is read again, and a start says where it is gone: {}",
            sources.join(", ")
        ));
    }
}

/// What the log that is kept says of each table at the checkpoint's tick: by what it did last up to then, and by what it
/// takes back first after it.
fn known_rows(
    survey: &Survey,
    log: &LogPlan,
    tick: Timestamp,
    tables: &BTreeMap<GlobalId, RelationDesc>,
) -> Result<BTreeMap<GlobalId, Known>, SqlError> {
    let new = |(id, desc): (&GlobalId, &RelationDesc)| (*id, Told::new(!desc.keys.is_empty()));
    let mut told: BTreeMap<GlobalId, Told> = tables.iter().map(new).collect();
    if tables.is_empty() {
        return Ok(BTreeMap::new());
    }
    for record in kept_records(survey, log, 0) {
        let record = record?;
        // Within a tick the order says nothing.
        let mut net: BTreeMap<(GlobalId, Vec<u8>), (usize, i64)> = BTreeMap::new();
        for write in record.tables {
            let Some(desc) = tables.get(&write.table) else { continue };
            let diffs = Some(Arc::new(arrow::array::Int64Array::from(write.diffs)));
            let body = encode(desc, &UpdateBatch { rows: write.batch, diffs, time: record.time });
            for i in 0..body.len() {
                let sum = net.entry((write.table, body.row(i).to_vec())).or_insert((body.key(i).len(), 0));
                sum.1 += body.diffs.get(i);
            }
        }
        // What goes comes first, so that a key that is changed has its new row.
        let (mut gone, mut come): (Vec<_>, Vec<_>) = net.into_iter().partition(|(_, (_, diff))| *diff < 0);
        gone.append(&mut come);
        let mut first: BTreeSet<(GlobalId, Vec<u8>)> = BTreeSet::new();
        for ((table, row), (key_len, diff)) in gone.into_iter().filter(|(_, (_, diff))| *diff != 0) {
            let Some(told) = told.get_mut(&table) else { continue };
            let again = !first.insert((table, row[..key_len].to_vec()));
            told.add(row, key_len, diff, record.time > tick, again);
        }
    }
    Ok(told.into_iter().map(|(id, told)| (id, told.known())).collect())
}

/// What the log tells of a table.
#[derive(Default)]
struct Told {
    known: Known,
    /// Keys that were changed after the checkpoint.
    later: BTreeSet<Vec<u8>>,
    /// Without unique keys, by row: how often it came and the least of that, up to the checkpoint and after it.
    sums: BTreeMap<Vec<u8>, [(i64, i64); 2]>,
}

impl Told {
    fn new(unique: bool) -> Told {
        Told { known: Known { unique, ..Known::default() }, ..Told::default() }
    }

    /// A change of a row; `again` where the tick has changed another row of its key before.
    fn add(&mut self, row: Vec<u8>, key_len: usize, diff: i64, later: bool, again: bool) {
        if !self.known.unique {
            let (sum, least) = &mut self.sums.entry(row).or_default()[usize::from(later)];
            *sum += diff;
            *least = (*least).min(*sum);
            return;
        }
        let key = row[..key_len].to_vec();
        if !later {
            self.known.keys.insert(key, (diff > 0).then_some((row, 1)));
        } else if !again && self.later.insert(key.clone()) {
            self.known.keys.insert(key, (diff < 0).then_some((row, 1)));
        }
    }

    fn known(mut self) -> Known {
        for (row, [(sum, least), (_, later)]) in self.sums {
            let count = (sum - least).max(-later);
            if count > 0 {
                self.known.keys.insert(row.clone(), Some((row, count)));
            }
        }
        self.known
    }
}

/// Rows as a table's arrangement has them.
fn encode(desc: &RelationDesc, update: &UpdateBatch) -> ChunkBody {
    let key = desc.keys.first().filter(|k| !k.is_empty()).cloned().unwrap_or_else(|| (0..desc.arity()).collect());
    let mut body = ChunkBody::default();
    Layout::served(&desc.types(), &key).encode(update, &[], &mut body, usize::MAX, &mut |_| {});
    body
}

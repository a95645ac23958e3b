//! CREATE OR REPLACE of views and materialized views while everything runs.
//!
//! What is computed in another way, and all that is computed from it, gets new dataflows that fill beside the old ones
//! under temporary ids. When they have caught up, a tick that carries nothing else changes the catalog; when it is durable
//! and all have passed it they take the ids over, and the old ones go. Reads, and what comes later, find the new contents
//! from that tick on; running subscriptions get, at its time, the difference.
//!
//! Invariants: until then nothing of it is seen, or logged; between the tick and the change-over nothing at or after the
//! tick is shown; other statements that change the catalog wait. A client that gives up before the tick leaves nothing.

use crate::alter::replanned;
use crate::command::{Ddl, DdlDone, Reply, SubscribeRequest, Subscription};
use crate::core::{Ack, Core, Flow};
use crate::ddl::Effect;
use crate::drop::described;
use crate::known::Known;
use crate::session::CommitPoint;
use hw_catalog::{CatalogChange, CatalogSnapshot};
use hw_dataflow::FlowKind;
use hw_plan::statement::QualifiedName;
use hw_plan::{CatalogView, FlowPlan, Object, ObjectKind, Statement};
use hw_repr::{GlobalId, RelationDesc, SqlError, SqlState, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Dataflows that fill beside others have ids from here on; no object has.
pub(crate) const TEMPORARY: u32 = 0xF000_0000;

type Answer = Arc<Mutex<Option<Reply<DdlDone>>>>;

/// What a CREATE OR REPLACE does.
pub(crate) struct Replaced {
    /// To the catalog.
    pub effect: Effect,
    /// Objects whose dataflows are made anew, as they become; what is read comes first.
    pub flows: Vec<Object>,
}

/// The definition that is being replaced, and what waits for it.
#[derive(Default)]
pub(crate) struct Replacing {
    pub current: Option<Replacement>,
    /// Statements that change the catalog.
    pub ddl: VecDeque<Ddl>,
    /// Subscriptions, once the tick is closed.
    pub subscribes: Vec<(SubscribeRequest, Reply<Subscription>)>,
    /// The last id that was given to a dataflow that fills beside another.
    temporary: u32,
}

/// One that is under way.
pub(crate) struct Replacement {
    effect: Effect,
    /// Each object as it becomes, with the id under which it fills.
    flows: Vec<(Object, GlobalId)>,
    commit: Arc<CommitPoint>,
    reply: Answer,
    /// The tick that changes the catalog.
    at: Option<Timestamp>,
}

fn answer(to: &Answer, result: Result<DdlDone, SqlError>) {
    if let Some(reply) = to.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = reply.send(result);
    }
}

fn is_gone(to: &Answer) -> bool {
    to.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_none_or(|reply| reply.is_closed())
}

/// The object that a CREATE OR REPLACE replaces; `None` where it creates.
fn replaced_object(
    catalog: &CatalogSnapshot,
    name: &QualifiedName,
    is_view: bool,
) -> Result<Option<Arc<Object>>, SqlError> {
    let Some(object) = catalog.resolve(Some(&name.schema), &name.name) else { return Ok(None) };
    let fits = match object.kind {
        ObjectKind::View { .. } => is_view,
        ObjectKind::MaterializedView { .. } => !is_view,
        _ => false,
    };
    if fits {
        return Ok(Some(object));
    }
    let kind = if is_view { "view" } else { "materialized view" };
    let message = format!("\"{}\" is not a {kind}", name.name);
    Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message))
}

/// PostgreSQL's rule for views: what is there stays, more may follow.
fn check_columns(old: &RelationDesc, new: &RelationDesc) -> Result<(), SqlError> {
    let refused = |message: String| SqlError::new(SqlState::new("42P16"), message);
    if new.columns.len() < old.columns.len() {
        return Err(refused("cannot drop columns from view".into()));
    }
    for (was, is) in old.columns.iter().zip(&new.columns) {
        if was.name != is.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", was.name, is.name);
            return Err(
                refused(message).hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.")
            );
        }
        if was.ty != is.ty {
            let message =
                format!("cannot change data type of view column \"{}\" from {} to {}", was.name, was.ty, is.ty);
            return Err(refused(message));
        }
    }
    Ok(())
}

/// True where readers see the same columns.
fn same_columns(a: Option<&RelationDesc>, b: Option<&RelationDesc>) -> bool {
    let columns = |d: &RelationDesc| d.columns.iter().map(|c| (c.name.clone(), c.ty)).collect::<Vec<_>>();
    a.map(columns) == b.map(columns)
}

/// What a relation is computed by, how it is described, what becomes of its failing rows and by what it is kept.
type Computed<'a> = (&'a FlowPlan, &'a RelationDesc, hw_plan::OnError, &'a [usize]);

/// What computes a relation; `None` where nothing maintains it.
fn computed_by(object: &Object) -> Option<Computed<'_>> {
    match &object.kind {
        ObjectKind::MaterializedView { plan, desc, on_error, read_by, .. } => Some((plan, desc, *on_error, read_by)),
        _ => None,
    }
}

/// A replacement as it is worked out, object by object.
struct Staging<'a> {
    before: &'a CatalogSnapshot,
    after: CatalogSnapshot,
    changes: Vec<CatalogChange>,
    flows: Vec<Object>,
    anew: BTreeSet<GlobalId>,
}

impl Staging<'_> {
    /// `relaid`: its rows are of other columns though it is defined by the same.
    fn put(&mut self, old: &Object, new: Object, relaid: bool) -> Result<(), SqlError> {
        let other = match &new.kind {
            ObjectKind::Index { .. } => old.kind != new.kind,
            _ => computed_by(old) != computed_by(&new),
        };
        let change = match relaid || other {
            true => CatalogChange::ReplaceObject(new),
            false => CatalogChange::UpdateObject(new),
        };
        self.after = self.after.with_changes(std::slice::from_ref(&change))?;
        self.changes.push(change);
        Ok(())
    }

    /// Its dataflow is made anew where it is computed in another way, or from something that is.
    fn note_flow(&mut self, old: &Object, new: &Object) {
        let reads_new = match &new.kind {
            ObjectKind::MaterializedView { plan, .. } => {
                let mut reads = false;
                plan.for_each_get(&mut |id, _| reads |= self.anew.contains(&id));
                reads
            }
            ObjectKind::Index { on, .. } => self.anew.contains(on),
            _ => return,
        };
        if reads_new || computed_by(old) != computed_by(new) {
            self.anew.insert(new.id);
            self.flows.push(new.clone());
        }
    }

    /// What becomes of something that depends on what was replaced.
    fn follow(&mut self, id: GlobalId, root: &Object) -> Result<(), SqlError> {
        let Some(old) = self.before.get(id) else { return Ok(()) };
        let new = match &old.kind {
            ObjectKind::Index { on, columns, expressions } => {
                let planned = match expressions.is_empty() {
                    true => self.index_after(&old, *on, columns),
                    false => crate::alter::replanned_index(&old, &self.after),
                };
                planned.map_err(|e| unborne(root, &old, &e))?
            }
            ObjectKind::View { .. } | ObjectKind::MaterializedView { .. } => {
                let (desc, statement) = replanned(&old, &self.after).map_err(|e| unborne(root, &old, &e))?;
                if !same_columns(old.desc(), Some(&desc)) {
                    let e = SqlError::internal(format!("it would have other columns: {}", listed(&desc)));
                    return Err(unborne(root, &old, &e));
                }
                with_definition(&old, statement, false)
            }
            _ => return Ok(()),
        };
        let relaid = match &old.kind {
            ObjectKind::Index { on, .. } => {
                let types = |c: &CatalogSnapshot| c.get(*on).and_then(|o| o.desc().map(RelationDesc::types));
                types(self.before) != types(&self.after)
            }
            _ => false,
        };
        if new != *old || relaid {
            self.put(&old, new.clone(), relaid)?;
        }
        self.note_flow(&old, &new);
        Ok(())
    }

    /// An index goes with the columns of its names.
    fn index_after(&self, index: &Object, on: GlobalId, columns: &[usize]) -> Result<Object, SqlError> {
        let (was, is) = (self.before.get(on), self.after.get(on));
        let (Some(was), Some(is)) = (was.as_ref().and_then(|o| o.desc()), is.as_ref().and_then(|o| o.desc())) else {
            return Err(SqlError::internal("an index on nothing"));
        };
        let place = |c: &usize| {
            let name = was.columns.get(*c).map(|c| c.name.as_str()).unwrap_or_default();
            is.columns
                .iter()
                .position(|c| c.name == name)
                .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))
        };
        let columns = columns.iter().map(place).collect::<Result<Vec<usize>, SqlError>>()?;
        Ok(Object { kind: ObjectKind::Index { on, columns, expressions: vec![] }, ..index.clone() })
    }
}

fn listed(desc: &RelationDesc) -> String {
    desc.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect::<Vec<_>>().join(", ")
}

/// `2BP01`: a dependant cannot go on with the new definition.
fn unborne(root: &Object, user: &Object, why: &SqlError) -> SqlError {
    let message = format!("cannot replace {} because other objects depend on it", described(root));
    SqlError::new(SqlState::DEPENDENT_OBJECTS, message)
        .detail(format!("{} cannot go on with the new definition: {}", described(user), why.message))
        .hint("Change or drop it first.")
}

/// An object by the definition of a statement; its texts too, where they are `new_text`.
fn with_definition(old: &Object, statement: Statement, new_text: bool) -> Object {
    let mut object = old.clone();
    let mut text = |create_sql: String, depends: Vec<GlobalId>| {
        if new_text {
            object.create_sql = create_sql;
        }
        object.depends_on = depends;
    };
    let kept = match &old.kind {
        ObjectKind::View { query, .. } | ObjectKind::MaterializedView { query, .. } if !new_text => Some(query.clone()),
        _ => None,
    };
    match statement {
        Statement::CreateView { query, desc, create_sql, depends_on, .. } => {
            text(create_sql, depends_on);
            object.kind = ObjectKind::View { query: kept.unwrap_or(query), desc };
        }
        Statement::CreateMaterializedView { query, desc, plan, on_error, create_sql, depends_on, .. } => {
            text(create_sql, depends_on);
            let (query, read_by) = (kept.unwrap_or(query), hw_plan::transform::read_by(&plan));
            object.kind = ObjectKind::MaterializedView { query, desc, plan, on_error, read_by };
        }
        _ => {}
    }
    object
}

impl Core {
    /// What a CREATE OR REPLACE of something that is there does; `None` where it creates.
    pub(crate) fn plan_replacement(&self, statement: &Statement) -> Result<Option<Replaced>, SqlError> {
        let catalog = self.snapshot.load_full();
        let (name, desc, retain_ms, is_view) = match statement {
            Statement::CreateView { name, desc, or_replace: true, .. } => (name, desc, None, true),
            Statement::CreateMaterializedView { name, desc, retain_ms, or_replace: true, plan, .. } => {
                hw_dataflow::validate(plan)?;
                (name, desc, *retain_ms, false)
            }
            _ => return Ok(None),
        };
        let Some(old) = replaced_object(&catalog, name, is_view)? else { return Ok(None) };
        if let (true, Some(was)) = (is_view, old.desc()) {
            check_columns(was, desc)?;
        }
        let new = with_definition(&old, statement.clone(), true);
        crate::ddl::check_column_names(&new)?;
        if let Some(e) = new.depends_on.iter().find_map(|id| self.broken.get(id)) {
            return Err(e.clone());
        }
        let mut staging = Staging {
            before: &catalog,
            after: (*catalog).clone(),
            changes: vec![],
            flows: vec![],
            anew: BTreeSet::new(),
        };
        if new != *old {
            staging.put(&old, new.clone(), false)?;
        }
        staging.note_flow(&old, &new);
        if self.broken.contains_key(&old.id) && !staging.anew.contains(&old.id) && !is_view {
            staging.anew.insert(old.id);
            staging.flows.push(new.clone());
        }
        for id in catalog.dependants(old.id).into_iter().rev() {
            staging.follow(id, &old)?;
        }
        for object in staging.flows.iter().filter_map(computed_by) {
            hw_dataflow::validate(object.0)?;
        }
        let (mut changes, flows) = (staging.changes, staging.flows);
        let kept = catalog.retentions().get(&old.id).copied().unwrap_or(0);
        let ms = retain_ms.unwrap_or(0);
        if !is_view && ms != kept {
            changes.push(CatalogChange::RetainHistory { id: old.id, ms });
        }
        Ok(Some(Replaced { effect: Effect { changes, ..Effect::default() }, flows }))
    }

    /// Installs the new dataflows beside the old ones.
    pub(crate) fn begin_replacement(&mut self, replaced: Replaced, commit: Arc<CommitPoint>, reply: Reply<DdlDone>) {
        let mut ids: BTreeMap<GlobalId, GlobalId> = BTreeMap::new();
        for object in &replaced.flows {
            self.replacing.temporary = (self.replacing.temporary + 1) % (u32::MAX - TEMPORARY);
            ids.insert(object.id, GlobalId(TEMPORARY + self.replacing.temporary));
        }
        let reply: Answer = Arc::new(Mutex::new(Some(reply)));
        let flows =
            replaced.flows.into_iter().filter_map(|o| Some((ids.get(&o.id).copied()?, o))).map(|(id, o)| (o, id));
        let flows: Vec<(Object, GlobalId)> = flows.collect();
        let replacement = Replacement { effect: replaced.effect, flows, commit, reply, at: None };
        let installed = replacement.flows.iter().try_for_each(|(object, id)| {
            let time = self.last_tick;
            self.install_beside(object, *id, &ids, &replacement, time)
        });
        match installed {
            Ok(()) => self.replacing.current = Some(replacement),
            Err(e) => self.abandon(replacement, Err(e)),
        }
    }

    fn install_beside(
        &mut self,
        object: &Object,
        temporary: GlobalId,
        ids: &BTreeMap<GlobalId, GlobalId>,
        replacement: &Replacement,
        time: Timestamp,
    ) -> Result<(), SqlError> {
        let (mut plan, desc, key) = match &object.kind {
            ObjectKind::MaterializedView { plan, desc, .. } => (plan.clone(), desc.clone(), object.kept_by()),
            ObjectKind::Index { on, columns, expressions } => {
                let new = replacement.flows.iter().map(|(o, _)| o).find(|o| o.id == *on).cloned();
                let base = new.or_else(|| self.snapshot.load().get(*on).map(|o| (*o).clone()));
                let base = base.ok_or_else(|| SqlError::internal("an index on nothing"))?;
                let (plan, desc) = hw_plan::index::plan(&base, expressions);
                (plan, desc, columns.clone())
            }
            _ => return Err(SqlError::internal("nothing maintains it")),
        };
        let kind = FlowKind::View { plan: plan.clone(), desc: desc.clone(), key: key.clone() };
        let plain = crate::checkpoint::state::fingerprint(&kind, self.engine.assumes_retractions())?;
        let here = |id: GlobalId| ids.get(&id).copied().unwrap_or(id);
        rename_gets(&mut plan, &here);
        let mut beside = Object { id: temporary, ..object.clone() };
        if let ObjectKind::Index { on, .. } = &mut beside.kind {
            *on = here(*on);
        }
        self.install_view(&Arc::new(beside), plan, desc, key, time)?;
        if let Some(flow) = self.flows.get_mut(&temporary) {
            flow.fingerprint = crate::checkpoint::state::with_errors(plain);
            flow.earlier_fingerprint = plain;
        }
        Ok(())
    }

    /// The tick at which a replacement takes over that has not done so yet: nothing of that time or later is shown.
    pub(crate) fn replacing_at(&self) -> Option<Timestamp> {
        self.replacing.current.as_ref().and_then(|r| r.at)
    }

    /// Moves a replacement on, and what has waited for it.
    pub(crate) fn step_replacement(&mut self) {
        let Some(replacement) = self.replacing.current.take() else { return };
        match replacement.at {
            None if is_gone(&replacement.reply) => {
                let e = SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
                return self.abandon(replacement, Err(e));
            }
            None => {
                let flows = replacement.flows.iter().map(|(_, id)| self.flows.get(id));
                if let Some(e) = flows.clone().flatten().find_map(|f| f.failed.clone()).or(self.read_only.clone()) {
                    return self.abandon(replacement, Err(e));
                }
                if flows.flatten().all(Flow::is_live) {
                    return self.close_replacement(replacement);
                }
            }
            Some(at) if self.can_take_over(&replacement, at) => return self.take_over(replacement, at),
            // Whether it counts is for the next start to say.
            Some(at) if self.read_only.is_some() && self.durable < at => self.go_on_waiting(),
            Some(_) => {}
        }
        self.replacing.current = Some(replacement);
    }

    /// Closes the tick that changes the catalog.
    fn close_replacement(&mut self, mut replacement: Replacement) {
        if !replacement.commit.reach() {
            let e = SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
            return self.abandon(replacement, Err(e));
        }
        let reply = replacement.reply.clone();
        let ack: Ack = Box::new(move |result| {
            if let Err(e) = result {
                answer(&reply, Err(e));
            }
        });
        match self.commit_quietly(replacement.effect.changes.clone(), ack) {
            Some(at) => {
                replacement.at = Some(at);
                self.replacing.current = Some(replacement);
            }
            None => self.abandon(replacement, Ok(())),
        }
    }

    /// True where the tick is durable and everything has passed it: what was shown before, too, to be compared.
    fn can_take_over(&self, replacement: &Replacement, at: Timestamp) -> bool {
        let passed = |id: &GlobalId| self.engine.frontier(*id) > at;
        let old = |id: &GlobalId| self.flows.get(id).is_none_or(|f| !f.is_filled() || f.failed.is_some() || passed(id));
        self.durable >= at && replacement.flows.iter().all(|(object, id)| passed(id) && old(&object.id))
    }

    fn take_over(&mut self, replacement: Replacement, at: Timestamp) {
        let mut moves: Vec<(GlobalId, GlobalId)> = vec![];
        let mut graves: Vec<GlobalId> = vec![];
        for (object, temporary) in &replacement.flows {
            if let Some(old) = self.flows.remove(&object.id) {
                self.hand_over(&old, object, *temporary, at);
                self.replacing.temporary = (self.replacing.temporary + 1) % (u32::MAX - TEMPORARY);
                let grave = GlobalId(TEMPORARY + self.replacing.temporary);
                moves.push((object.id, grave));
                graves.push(grave);
            }
            moves.push((*temporary, object.id));
        }
        self.engine.rename(&moves);
        graves.into_iter().rev().for_each(|grave| self.engine.drop_flow(grave));
        let back: BTreeMap<GlobalId, GlobalId> = replacement.flows.iter().map(|(o, id)| (*id, o.id)).collect();
        for (object, temporary) in replacement.flows {
            let Some(mut flow) = self.flows.remove(&temporary) else { continue };
            flow.object = self.snapshot.load().get(object.id).unwrap_or_else(|| Arc::new(object));
            flow.imports.iter_mut().for_each(|id| *id = back.get(id).copied().unwrap_or(*id));
            flow.known = Known::from(at);
            let id = flow.object.id;
            self.broken.remove(&id);
            self.checkpoints.forget(id);
            self.changed.insert(id, at);
            self.flows.insert(id, flow);
            self.keep_history_of_inputs(id);
        }
        for change in &replacement.effect.changes {
            match change {
                CatalogChange::RetainHistory { id, ms } => self.keep_history(*id, *ms),
                CatalogChange::UpdateObject(object) => self.note_names(object.id),
                _ => {}
            }
        }
        self.acked = self.acked.max(at);
        self.retire_readers();
        self.show_catalog(self.durable);
        answer(&replacement.reply, Ok(DdlDone { notices: replacement.effect.notices }));
        self.go_on_waiting();
    }

    /// Subscribers of what was there go on with what takes its place.
    fn hand_over(&mut self, old: &Flow, new: &Object, temporary: GlobalId, at: Timestamp) {
        let comparable = old.is_filled() && old.failed.is_none() && same_columns(relation_of(old), new.desc());
        if comparable {
            self.continue_subscriptions(old.object.id, temporary, at);
        } else {
            self.end_subscriptions_with(old.object.id, |name| {
                SqlError::new(SqlState::new("0A000"), format!("the columns of \"{name}\" have changed"))
                    .hint("Subscribe again.")
            });
        }
    }

    /// Nothing of it is left but the answer.
    fn abandon(&mut self, replacement: Replacement, outcome: Result<(), SqlError>) {
        for (_, id) in replacement.flows.iter().rev() {
            if self.flows.remove(id).is_some() {
                self.engine.drop_flow(*id);
            }
        }
        self.retire_readers();
        if let Err(e) = outcome {
            answer(&replacement.reply, Err(e));
        }
        self.go_on_waiting();
    }
}

fn relation_of(flow: &Flow) -> Option<&RelationDesc> {
    flow.object.desc()
}

/// A plan that reads other ids.
fn rename_gets(plan: &mut FlowPlan, to: &impl Fn(GlobalId) -> GlobalId) {
    if let FlowPlan::Get { id, .. } = plan {
        *id = to(*id);
    }
    plan.inputs_mut().into_iter().for_each(|input| rename_gets(input, to));
}

//! Statements that change the catalog.
//!
//! A statement is checked against the newest catalog, applied to it with the tick that carries it, its dataflow is
//! installed as of that tick, and it is acknowledged when the tick is durable.

use crate::checkpoint::state;
use crate::command::{Ddl, DdlDone, Reply};
use crate::core::{Core, Flow, Origin, Place};
use crate::hydrate::Begin;
use crate::known::Known;
use crate::replace::Replaced;
use crate::types::types_in;
use hw_catalog::{CatalogChange, CatalogSnapshot};
use hw_dataflow::{Correction, FlowKind, FlowSpec, RestoredFlow};
use hw_plan::statement::QualifiedName;
use hw_plan::{CatalogView, FlowPlan, IndexExpr, Object, ObjectKind, OnError, SourceConnector, Statement, TableRules};
use hw_repr::{GlobalId, RelationDesc, SqlError, SqlState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a statement does to the catalog, once checked.
#[derive(Default)]
pub(crate) struct Effect {
    pub changes: Vec<CatalogChange>,
    pub created: Vec<Object>,
    pub dropped: Vec<GlobalId>,
    pub notices: Vec<SqlError>,
}

impl Effect {
    /// The relation that is created, if any, keeps so many ms of history.
    fn retaining(mut self, ms: Option<u64>) -> Effect {
        let created = self.created.iter().map(|o| o.id);
        let retained = ms.filter(|ms| *ms > 0).into_iter().flat_map(|ms| created.clone().map(move |id| (id, ms)));
        let changes: Vec<CatalogChange> = retained.map(|(id, ms)| CatalogChange::RetainHistory { id, ms }).collect();
        self.changes.extend(changes);
        self
    }
}

impl Core {
    /// Executes a DDL statement.
    pub(crate) fn execute_ddl(&mut self, ddl: Ddl) {
        let Ddl { statement, planned, owner, commit, reply } = ddl;
        if let Some(e) = &self.read_only {
            let _ = reply.send(Err(e.clone()));
            return;
        }
        let planned = self.refreshed(statement, &planned).and_then(|statement| {
            let replaced = self.plan_replacement(&statement)?;
            let created = || Ok(Replaced { effect: self.plan_effect(statement, &owner)?, flows: vec![] });
            replaced.map_or_else(created, Ok)
        });
        match planned {
            Err(e) => drop(reply.send(Err(e))),
            Ok(replaced) if !replaced.flows.is_empty() => self.begin_replacement(replaced, commit, reply),
            Ok(replaced) if commit.reach() => self.carry_out(replaced.effect, reply),
            Ok(_) => drop(reply),
        }
    }

    /// A statement that was planned against a catalog that has changed since, planned again where that matters.
    fn refreshed(&self, statement: Statement, planned: &Arc<CatalogSnapshot>) -> Result<Statement, SqlError> {
        let catalog = self.snapshot.load_full();
        if Arc::ptr_eq(&catalog, planned) {
            return Ok(statement);
        }
        let again = |text: &str| Ok::<_, SqlError>(crate::alter::planned_text(text, &catalog)?.1);
        let mut fresh = match &statement {
            Statement::CreateView { create_sql, .. } | Statement::CreateMaterializedView { create_sql, .. } => {
                again(create_sql)?
            }
            Statement::CreateIndex { on, .. } => {
                let columns = |c: &CatalogSnapshot| c.get(*on).and_then(|o| o.desc().cloned());
                if columns(planned) != columns(&catalog) {
                    let message = "could not serialize access due to a change of the relation's columns";
                    return Err(SqlError::new(SqlState::SERIALIZATION, message));
                }
                return Ok(statement);
            }
            _ => return Ok(statement),
        };
        let said = match statement {
            Statement::CreateView { if_not_exists, or_replace, .. }
            | Statement::CreateMaterializedView { if_not_exists, or_replace, .. } => (if_not_exists, or_replace),
            _ => (false, false),
        };
        if let Statement::CreateView { if_not_exists, or_replace, .. }
        | Statement::CreateMaterializedView { if_not_exists, or_replace, .. } = &mut fresh
        {
            (*if_not_exists, *or_replace) = said;
        }
        Ok(fresh)
    }

    /// What has waited for a replacement to be over.
    pub(crate) fn go_on_waiting(&mut self) {
        for (request, reply) in std::mem::take(&mut self.replacing.subscribes) {
            self.start_subscribe(request, reply);
        }
        while self.replacing.current.is_none()
            && let Some(ddl) = self.replacing.ddl.pop_front()
        {
            self.execute_ddl(ddl);
        }
    }

    /// Changes the catalog, and starts what that asks for.
    fn carry_out(&mut self, effect: Effect, reply: Reply<DdlDone>) {
        if effect.changes.is_empty() {
            let _ = reply.send(Ok(DdlDone { notices: effect.notices }));
            return;
        }
        let notices = effect.notices;
        let ack = Box::new(move |result: Result<(), SqlError>| {
            let _ = reply.send(result.map(|()| DdlDone { notices }));
        });
        let Some(time) = self.commit_changes(effect.changes.clone(), ack) else { return };
        if let Some(undurable) = self.undurable.back_mut() {
            undurable.dropped = effect.dropped;
        }
        for object in effect.created {
            let object = self.snapshot.load().get(object.id).unwrap_or_else(|| Arc::new(object));
            self.install_or_break(&object, time);
        }
        for change in &effect.changes {
            if let CatalogChange::UpdateObject(object) = change {
                self.note_names(object.id);
            }
            match change {
                CatalogChange::UpdateObject(Object { id, kind: ObjectKind::Source(s), .. }) => {
                    self.pause_source(*id, s.paused);
                }
                CatalogChange::RetainHistory { id, ms } => self.keep_history(*id, *ms),
                _ => {}
            }
        }
        self.retire_readers();
    }

    /// What runs for an object says its new name from now on.
    pub(crate) fn note_names(&mut self, id: GlobalId) {
        let Some(object) = self.snapshot.load().get(id) else { return };
        if let Some(source) = self.sources.get_mut(&id) {
            source.object = object.clone();
        }
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.object = object;
        }
    }

    fn plan_effect(&self, statement: Statement, owner: &str) -> Result<Effect, SqlError> {
        match statement {
            Statement::CreateSchema { name, if_not_exists } => self.create_schema(name, if_not_exists),
            Statement::CreateConnection { name, desc, if_not_exists, create_sql } => {
                self.create(owner, name, if_not_exists, create_sql, vec![], ObjectKind::Connection(desc))
            }
            Statement::CreateSource { name, desc, if_not_exists, create_sql, depends_on } => {
                self.create_source(owner, name, if_not_exists, create_sql, depends_on, desc)
            }
            Statement::CreateTable {
                name,
                desc,
                rules,
                mut depends_on,
                retain_ms,
                if_not_exists,
                create_sql,
                filled: _,
            } => {
                depends_on.extend(types_in([&desc]));
                let effect =
                    self.create(owner, name, if_not_exists, create_sql, depends_on, ObjectKind::Table(desc))?;
                self.with_rules(effect.retaining(retain_ms), rules)
            }
            Statement::CreateView { name, query, desc, if_not_exists, or_replace: _, create_sql, depends_on } => {
                self.create(owner, name, if_not_exists, create_sql, depends_on, ObjectKind::View { query, desc })
            }
            Statement::CreateMaterializedView {
                name,
                query,
                desc,
                plan,
                on_error,
                retain_ms,
                if_not_exists,
                or_replace: _,
                create_sql,
                depends_on,
            } => {
                // What cannot be maintained must not reach the catalog: a start would meet it again.
                hw_dataflow::validate(&plan)?;
                let read_by = hw_plan::transform::read_by(&plan);
                let kind = ObjectKind::MaterializedView { query, desc, plan, on_error, read_by };
                let effect = self.create(owner, name, if_not_exists, create_sql, depends_on, kind)?;
                Ok(effect.retaining(retain_ms))
            }
            Statement::CreateIndex { name, on, columns, expressions, depends_on, if_not_exists, create_sql } => {
                if let Some(base) = self.snapshot.load().get(on) {
                    hw_dataflow::validate(&hw_plan::index::plan(&base, &expressions).0)?;
                }
                let kind = ObjectKind::Index { on, columns, expressions };
                self.create(owner, name, if_not_exists, create_sql, depends_on, kind)
            }
            Statement::Drop { ids, schemas, cascade, kind: _, skipped: _ } => self.drop_objects(ids, schemas, cascade),
            Statement::CreateType { name, definition, create_sql } => {
                self.create_type(owner, name, definition, create_sql)
            }
            Statement::CreateFunction { name, desc, replaces, create_sql, depends_on } => {
                self.create_function(owner, name, desc, replaces, create_sql, depends_on)
            }
            Statement::AlterType { id, change } => self.alter_type(id, change),
            Statement::Alter { target, change, tag: _ } => self.alter(target, change),
            Statement::AlterSourcePause { id, paused } => self.alter_pause(id, paused),
            other => Err(SqlError::internal(format!("not a catalog statement: {other:?}"))),
        }
    }

    fn create_schema(&self, name: String, if_not_exists: bool) -> Result<Effect, SqlError> {
        if !self.snapshot.load().has_schema(&name) {
            return Ok(Effect { changes: vec![CatalogChange::CreateSchema { name }], ..Effect::default() });
        }
        let e = SqlError::new(SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists"));
        exists(e, if_not_exists)
    }

    /// `None` where the name is free; else the outcome of meeting an object of that name.
    fn taken(&self, name: &QualifiedName, if_not_exists: bool) -> Option<Result<Effect, SqlError>> {
        let catalog = self.snapshot.load();
        if !catalog.has_schema(&name.schema) {
            let e = SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{}\" does not exist", name.schema));
            return Some(Err(e));
        }
        if matches!(name.schema.as_str(), "headwater" | "pg_catalog" | "information_schema") {
            let e = SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("schema \"{}\" belongs to the system", name.schema),
            );
            return Some(Err(e));
        }
        catalog.resolve(Some(&name.schema), &name.name)?;
        let e = SqlError::new(SqlState::DUPLICATE_TABLE, format!("relation \"{}\" already exists", name.name));
        Some(exists(e, if_not_exists))
    }

    fn create(
        &self,
        owner: &str,
        name: QualifiedName,
        if_not_exists: bool,
        create_sql: String,
        depends_on: Vec<GlobalId>,
        kind: ObjectKind,
    ) -> Result<Effect, SqlError> {
        let id = || GlobalId(self.catalog.next_oid());
        self.create_as(id, owner, name, if_not_exists, create_sql, depends_on, kind)
    }

    /// As [`Core::create`], with this id.
    #[allow(clippy::too_many_arguments, reason = "an object's parts")]
    pub(crate) fn create_as(
        &self,
        id: impl FnOnce() -> GlobalId,
        owner: &str,
        name: QualifiedName,
        if_not_exists: bool,
        create_sql: String,
        depends_on: Vec<GlobalId>,
        kind: ObjectKind,
    ) -> Result<Effect, SqlError> {
        if let Some(outcome) = self.taken(&name, if_not_exists) {
            return outcome;
        }
        self.check_dependencies(&depends_on)?;
        if let Some(e) = depends_on.iter().find_map(|id| self.broken.get(id)) {
            return Err(e.clone());
        }
        let id = id();
        let object = Object {
            id,
            schema: name.schema,
            name: name.name,
            owner: owner.into(),
            create_sql,
            depends_on,
            kind,
            rules: TableRules::default(),
        };
        check_column_names(&object)?;
        Ok(Effect {
            changes: vec![CatalogChange::CreateObject(object.clone())],
            created: vec![object],
            ..Effect::default()
        })
    }

    /// A table gets its rules, and an index for each of its unique constraints.
    fn with_rules(&self, mut effect: Effect, rules: TableRules) -> Result<Effect, SqlError> {
        if rules.is_empty() {
            return Ok(effect);
        }
        let Some(mut table) = effect.created.pop() else { return Ok(effect) };
        table.rules = rules;
        for change in &mut effect.changes {
            if let CatalogChange::CreateObject(object) = change {
                *object = table.clone();
            }
        }
        let indexes = table.rules.uniques.iter().map(|unique| {
            let name = QualifiedName { schema: table.schema.clone(), name: unique.name.clone() };
            if let Some(taken) = self.taken(&name, false) {
                taken?;
            }
            let names: Vec<&str> =
                unique.columns.iter().filter_map(|c| Some(table.desc()?.columns.get(*c)?.name.as_str())).collect();
            let create_sql =
                format!("CREATE UNIQUE INDEX {} ON {}.{} ({})", name.name, table.schema, table.name, names.join(", "));
            Ok(Object {
                id: GlobalId(self.catalog.next_oid()),
                schema: name.schema,
                name: name.name,
                owner: table.owner.clone(),
                create_sql,
                depends_on: vec![table.id],
                kind: ObjectKind::Index { on: table.id, columns: unique.columns.clone(), expressions: vec![] },
                rules: TableRules::default(),
            })
        });
        let indexes = indexes.collect::<Result<Vec<Object>, SqlError>>()?;
        effect.changes.extend(indexes.iter().cloned().map(CatalogChange::CreateObject));
        effect.created.push(table);
        effect.created.extend(indexes);
        Ok(effect)
    }

    /// The statement was planned against a snapshot that may have changed since.
    pub(crate) fn check_dependencies(&self, ids: &[GlobalId]) -> Result<(), SqlError> {
        let catalog = self.snapshot.load();
        match ids.iter().find(|id| catalog.get(**id).is_none()) {
            None => Ok(()),
            Some(_) => Err(SqlError::new(
                SqlState::UNDEFINED_TABLE,
                "a relation that the statement names was dropped meanwhile",
            )),
        }
    }

    fn create_source(
        &self,
        owner: &str,
        name: QualifiedName,
        if_not_exists: bool,
        create_sql: String,
        depends_on: Vec<GlobalId>,
        desc: hw_plan::SourceDesc,
    ) -> Result<Effect, SqlError> {
        let outputs = match desc.connector {
            SourceConnector::Nexmark(_) => desc.outputs.clone(),
            SourceConnector::Kafka(_) => vec![],
        };
        let schema = name.schema.clone();
        let mut depends_on = depends_on;
        depends_on.extend(types_in(desc.outputs.iter().map(|(_, d)| d)));
        let mut effect =
            self.create(owner, name, if_not_exists, create_sql.clone(), depends_on, ObjectKind::Source(desc))?;
        let Some(source) = effect.created.first().map(|o| o.id) else { return Ok(effect) };
        for (output, (name, desc)) in outputs.into_iter().enumerate() {
            let qualified = QualifiedName { schema: schema.clone(), name: name.clone() };
            if let Some(taken) = self.taken(&qualified, false) {
                taken?;
            }
            let object = Object {
                id: GlobalId(self.catalog.next_oid()),
                schema: schema.clone(),
                name,
                owner: owner.into(),
                create_sql: create_sql.clone(),
                depends_on: vec![source],
                kind: ObjectKind::SourceOutput { source, output, desc },
                rules: TableRules::default(),
            };
            effect.changes.push(CatalogChange::CreateObject(object.clone()));
            effect.created.push(object);
        }
        // The source itself starts last, when the ids of its relations are known.
        effect.created.rotate_left(1);
        Ok(effect)
    }

    fn alter_pause(&self, id: GlobalId, paused: bool) -> Result<Effect, SqlError> {
        let object = self
            .snapshot
            .load()
            .get(id)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, "the source does not exist"))?;
        let mut object = (*object).clone();
        let ObjectKind::Source(desc) = &mut object.kind else {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a source", object.name)));
        };
        desc.paused = paused;
        Ok(Effect { changes: vec![CatalogChange::UpdateObject(object)], ..Effect::default() })
    }

    /// Stops whatever ran for a dropped object.
    pub(crate) fn forget(&mut self, id: GlobalId) {
        if self.flows.remove(&id).is_some() {
            self.engine.drop_flow(id);
            self.end_subscriptions_of(id);
        }
        self.sources.remove(&id);
        self.broken.remove(&id);
        self.histories.remove(&id);
        self.changed.remove(&id);
        self.identities.remove(&id);
    }

    /// As [`Core::install`]. An object that cannot be started stays in the catalog, so that it can be dropped; its readers
    /// are told why.
    pub(crate) fn install_or_break(&mut self, object: &Arc<Object>, time: Timestamp) {
        if let Err(e) = self.install(object, time) {
            tracing::error!(object = %object.name, error = %e, "cannot be started");
            let message = format!("\"{}\" cannot be started: {}", object.name, e.message);
            let e = SqlError { message, ..e }.hint("Drop it; it can be created again in another form.");
            self.broken.insert(object.id, e);
        }
    }

    /// Starts what an object of the catalog needs, as of `time`.
    pub(crate) fn install(&mut self, object: &Arc<Object>, time: Timestamp) -> Result<(), SqlError> {
        match &object.kind {
            ObjectKind::Source(_) => self.add_source(object),
            ObjectKind::Table(desc) => {
                let kind = FlowKind::Table { desc: desc.clone(), key: object.kept_by() };
                self.install_flow(object, kind, BTreeMap::new(), vec![], time)?;
                self.engine.advance(object.id, time + 1);
                Ok(())
            }
            ObjectKind::MaterializedView { desc, plan, .. } => {
                self.install_view(object, plan.clone(), desc.clone(), object.kept_by(), time)
            }
            ObjectKind::Index { on, columns, expressions } => {
                self.install_index(object, *on, columns.clone(), expressions, time)
            }
            _ => Ok(()),
        }
    }

    fn install_index(
        &mut self,
        object: &Arc<Object>,
        on: GlobalId,
        columns: Vec<usize>,
        expressions: &[IndexExpr],
        time: Timestamp,
    ) -> Result<(), SqlError> {
        let base = self
            .snapshot
            .load()
            .get(on)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_TABLE, "the indexed relation does not exist"))?;
        let (plan, desc) = hw_plan::index::plan(&base, expressions);
        self.install_view(object, plan, desc, columns, time)
    }

    pub(crate) fn install_view(
        &mut self,
        object: &Arc<Object>,
        plan: FlowPlan,
        desc: RelationDesc,
        key: Vec<usize>,
        time: Timestamp,
    ) -> Result<(), SqlError> {
        let catalog = self.snapshot.load_full();
        let mut inputs: BTreeMap<GlobalId, BTreeSet<usize>> = BTreeMap::new();
        let mut imports: BTreeSet<GlobalId> = BTreeSet::new();
        plan.for_each_get(&mut |id, columns| match catalog.get(id).map(|o| o.kind.clone()) {
            Some(ObjectKind::Source(_) | ObjectKind::SourceOutput { .. }) => {
                inputs.entry(id).or_default().extend(columns.iter().copied());
            }
            _ => drop(imports.insert(id)),
        });
        self.install_flow(object, FlowKind::View { plan, desc, key }, inputs, imports.into_iter().collect(), time)
    }

    fn install_flow(
        &mut self,
        object: &Arc<Object>,
        kind: FlowKind,
        inputs: BTreeMap<GlobalId, BTreeSet<usize>>,
        imports: Vec<GlobalId>,
        time: Timestamp,
    ) -> Result<(), SqlError> {
        let catalog = self.snapshot.load_full();
        let plain = state::fingerprint(&kind, self.engine.assumes_retractions())?;
        let fingerprint = if plain == 0 { 0 } else { state::with_errors(plain) };
        let reads = imports.iter().filter_map(|id| self.flows.get(id)).map(|f| f.earlier_fingerprint);
        let earlier_fingerprint = state::with_reads(plain, reads);
        let (restored, corrects) = self.begins_with(object.id, &imports, fingerprint, [plain, earlier_fingerprint]);
        let same = restored.as_ref().is_some_and(|r| r.fingerprint == fingerprint);
        let time = corrects.as_ref().map_or(time, |c| c.at);
        let known = self.known.get(&object.id).copied().unwrap_or(0);
        let created = if self.log.is_some() { time } else { known };
        let read = imports.iter().filter_map(|id| self.flows.get(id));
        let own = Known::from(corrects.as_ref().map_or(created, |c| c.at));
        let (known, corrected) = read.fold((own, corrects.is_some()), |(k, c), f| (k.and(&f.known), f.corrected || c));
        // Without imports nothing forces history to enter at `time`: it may come in steps below it.
        let stepped = imports.is_empty() && !inputs.is_empty() && restored.is_none();
        let (origin, begin) = match (&restored, &corrects) {
            (Some(r), _) => (Origin::Restored, Begin::Restored(r.upper)),
            (None, Some(_)) => (Origin::Corrected, Begin::Corrected),
            (None, None) => (Origin::New, Begin::Empty),
        };
        let relations: Vec<(GlobalId, RelationDesc)> =
            inputs.keys().filter_map(|id| Some((*id, catalog.get(*id)?.desc()?.clone()))).collect();
        self.engine.install(FlowSpec {
            id: object.id,
            name: object.name.clone(),
            kind: installed_as(object, kind),
            as_of: if stepped { 0 } else { time },
            fingerprint,
            inputs: relations,
            restored,
            corrects,
            dead_letter: object.on_error() == OnError::DeadLetter,
        })?;
        if same {
            self.checkpoints.saved.insert(object.id, fingerprint);
        }
        for (relation, columns) in &inputs {
            self.want_columns(*relation, columns);
        }
        let hydration = self.begin_hydration(object.id, &inputs, stepped, time, begin);
        let flow = Flow {
            object: object.clone(),
            inputs: inputs.into_keys().collect(),
            imports,
            place: Place::Filling,
            behind: None,
            hydration,
            failed: None,
            fingerprint,
            earlier_fingerprint,
            origin,
            known,
            corrected,
        };
        self.flows.insert(object.id, flow);
        Ok(())
    }

    /// What a checkpoint had of a flow under its fingerprint, or under an `earlier` one where it has no errors, or of what it
    /// showed, where it cannot go on from that.
    fn begins_with(
        &mut self,
        id: GlobalId,
        imports: &[GlobalId],
        fingerprint: u64,
        earlier: [u64; 2],
    ) -> (Option<Arc<RestoredFlow>>, Option<Correction>) {
        let Some(saved) = self.restored.remove(&id) else { return (None, None) };
        let goes_on = |id| self.flows.get(id).is_some_and(|f| f.origin != Origin::New);
        let same =
            saved.fingerprint == fingerprint || earlier.contains(&saved.fingerprint) && !state::has_errors(&saved);
        if same && imports.iter().all(goes_on) {
            return (Some(saved), None);
        }
        tracing::info!(relation = %id, same, "what the checkpoint has of it was computed otherwise: it is computed anew");
        // What was shown at the last tick was shown.
        let at = saved.upper.max(self.last_tick + 1);
        (None, Some(Correction { shown: saved, at }))
    }
}

/// Names of columns are bounded as those of relations are.
pub(crate) fn check_column_names(object: &Object) -> Result<(), SqlError> {
    let columns = object.desc().map(|d| d.columns.as_slice()).unwrap_or_default();
    let Some(long) = columns.iter().find(|c| c.name.len() > hw_catalog::snapshot::NAME_BYTES_MAX) else {
        return Ok(());
    };
    let begin: String = long.name.chars().take(40).collect();
    let bytes = long.name.len();
    Err(SqlError::new(SqlState::new("42622"), format!("the name of column \"{begin}...\" is too long"))
        .detail(format!("It has {bytes} bytes; a name has at most {}.", hw_catalog::snapshot::NAME_BYTES_MAX)))
}

pub(crate) fn exists(e: SqlError, if_not_exists: bool) -> Result<Effect, SqlError> {
    if !if_not_exists {
        return Err(e);
    }
    let notice = SqlError { message: format!("{}, skipping", e.message), ..e };
    Ok(Effect { notices: vec![notice], ..Effect::default() })
}

/// Joins of other flows may read an index of columns: the engine knows it as one.
fn installed_as(object: &Object, kind: FlowKind) -> FlowKind {
    match &object.kind {
        ObjectKind::Index { on, columns, expressions } if expressions.is_empty() => {
            FlowKind::Index { on: *on, columns: columns.clone() }
        }
        _ => kind,
    }
}

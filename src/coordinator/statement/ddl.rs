//! DDL on the session's side: what needs the outside world before the coordinator decides.

use super::{Session, done};
use crate::command::{Command, Ddl};
use crate::external;
use crate::session::{Executed, Notice, Outcome};
use hw_plan::{CatalogView, ObjectKind, SourceConnector, SourceDesc, Statement};
use hw_repr::{GlobalId, SqlError, SqlState};
use hw_sql::ParsedStatement;
use std::collections::BTreeSet;

impl Session {
    pub(super) async fn run_ddl(
        &mut self,
        mut statement: Statement,
        parsed: &ParsedStatement,
    ) -> Result<Executed, SqlError> {
        let tag = tag(&statement);
        let mut notices = skipped_notices(&statement);
        if let Some(notice) = self.same_definition(&statement) {
            notices.push(notice);
            return Ok(Executed { outcome: Outcome::Complete { tag }, notices, parameter_status: vec![] });
        }
        tracing::debug!(statement = %parsed.text, "ddl");
        statement = self.contact_upstream(statement).await?;
        let (owner, commit) = (self.user.clone(), self.commit.clone());
        let planned = self.planned_against.load_full();
        let request = |reply| Command::Ddl(Box::new(Ddl { statement, planned, owner, commit, reply }));
        let answer = self.handle.request(request).await?;
        notices.extend(answer.notices.into_iter().map(|error| Notice { severity: "NOTICE", error }));
        let mut executed = done(Outcome::Complete { tag });
        executed.notices = notices;
        Ok(executed)
    }

    /// Where [`Session::keep_identical`] is on: a notice when the object exists with this very definition.
    fn same_definition(&self, statement: &Statement) -> Option<Notice> {
        if !self.keeps_identical() {
            return None;
        }
        let (name, create_sql) = match statement {
            Statement::CreateConnection { name, create_sql, .. }
            | Statement::CreateSource { name, create_sql, .. }
            | Statement::CreateTable { name, create_sql, .. }
            | Statement::CreateView { name, create_sql, .. }
            | Statement::CreateMaterializedView { name, create_sql, .. }
            | Statement::CreateIndex { name, create_sql, .. } => (name, create_sql),
            _ => return None,
        };
        let catalog = self.handle.snapshot.load_full();
        let object = catalog.resolve(Some(&name.schema), &name.name)?;
        // The text of a view may be of a time when `*` was kept as such.
        let again = || match crate::alter::planned_text(&object.create_sql, &catalog).ok()?.1 {
            Statement::CreateView { create_sql, .. } | Statement::CreateMaterializedView { create_sql, .. } => {
                Some(create_sql)
            }
            _ => None,
        };
        (object.create_sql == *create_sql || again().as_ref() == Some(create_sql)).then(|| Notice {
            severity: "NOTICE",
            error: SqlError::new(
                SqlState::DUPLICATE_TABLE,
                format!("\"{}\" exists with the same definition, left as it is", name.name),
            ),
        })
    }

    /// Connections and sources are contacted before they are created; ends of idle sources are asked for before a
    /// view over them is, so that it shows everything that was there.
    async fn contact_upstream(&self, statement: Statement) -> Result<Statement, SqlError> {
        let catalog = self.handle.snapshot.load_full();
        match statement {
            Statement::CreateConnection { ref desc, .. } => {
                let desc = desc.clone();
                blocking(move || external::validate_connection(&desc)).await?;
                Ok(statement)
            }
            Statement::CreateSource { name, mut desc, if_not_exists, create_sql, depends_on } => {
                let desc = blocking(move || {
                    external::resolve_source(&mut desc, &*catalog)?;
                    Ok(desc)
                })
                .await?;
                Ok(Statement::CreateSource { name, desc, if_not_exists, create_sql, depends_on })
            }
            Statement::CreateMaterializedView { ref plan, .. } => {
                let mut relations = BTreeSet::new();
                plan.for_each_get(&mut |id, _| {
                    relations.insert(id);
                });
                self.refresh_ends(relations).await?;
                Ok(statement)
            }
            Statement::CreateIndex { on, .. } => {
                self.refresh_ends(BTreeSet::from([on])).await?;
                Ok(statement)
            }
            other => Ok(other),
        }
    }

    /// Tells the coordinator how far the Kafka sources among `relations` go now.
    pub(super) async fn refresh_ends(&self, relations: BTreeSet<GlobalId>) -> Result<(), SqlError> {
        let catalog = self.handle.snapshot.load_full();
        for id in relations {
            let Some(object) = catalog.get(id) else { continue };
            let ObjectKind::Source(desc @ SourceDesc { connector: SourceConnector::Kafka(_), .. }) = &object.kind
            else {
                continue;
            };
            let upstream = external::upstream(desc, &*catalog)?;
            let asked = object.clone();
            let marks = blocking(move || external::upstream_marks(&asked, &upstream)).await?;
            self.handle.request(|reply| Command::Marks { source: object.id, marks, reply }).await?;
        }
        Ok(())
    }
}

/// Runs what waits for the network off the connection's task.
pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    tokio::task::spawn_blocking(f).await.map_err(|e| SqlError::internal(format!("background work failed: {e}")))?
}

fn tag(statement: &Statement) -> String {
    match statement {
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::CreateConnection { .. } => "CREATE CONNECTION",
        Statement::CreateSource { .. } => "CREATE SOURCE",
        Statement::CreateTable { .. } => "CREATE TABLE",
        Statement::CreateView { .. } => "CREATE VIEW",
        Statement::CreateMaterializedView { .. } => "CREATE MATERIALIZED VIEW",
        Statement::CreateIndex { .. } => "CREATE INDEX",
        Statement::CreateFunction { .. } => "CREATE FUNCTION",
        Statement::CreateType { .. } => "CREATE TYPE",
        Statement::AlterType { .. } => "ALTER TYPE",
        Statement::Drop { kind, .. } => kind,
        Statement::Alter { tag, .. } => tag,
        _ => "ALTER SOURCE",
    }
    .to_string()
}

fn skipped_notices(statement: &Statement) -> Vec<Notice> {
    let Statement::Drop { skipped, kind, .. } = statement else { return vec![] };
    let noun = kind.strip_prefix("DROP ").map_or_else(|| "relation".to_string(), str::to_lowercase);
    let shown = |name: &String| match noun.as_str() {
        // With the types of its arguments.
        "function" => format!("function {name}"),
        noun => format!("{noun} \"{name}\""),
    };
    let notice = |name: &String| Notice {
        severity: "NOTICE",
        error: SqlError::new(SqlState::new("00000"), format!("{} does not exist, skipping", shown(name))),
    };
    skipped.iter().map(notice).collect()
}

//! The extended query protocol: prepared statements and portals.

use crate::pg::connection::{Connection, Fail};
use crate::pg::decode;
use crate::pg::encode::{Format, expand_formats};
use crate::pg::frontend::{Bind, Frontend};
use crate::pg::rows::{Portion, RowCursor};
use hw_coordinator::session::{Outcome, Prepared};
use hw_repr::{Datum, SqlError, SqlState};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use std::sync::Arc;

/// Prepared statements a connection may hold, and portals likewise.
const NAMES_MAX: usize = 10_000;

/// A prepared statement.
pub struct Statement {
    prepared: Prepared,
}

/// A bound statement, and how far it has run.
pub struct Portal {
    statement: Arc<Statement>,
    formats: Vec<Format>,
    state: PortalState,
}

enum PortalState {
    Bound(Vec<Datum>),
    Running(Box<RowCursor>),
    /// All rows are sent; more Executes give none.
    Exhausted {
        tag: &'static str,
        count_in_tag: bool,
    },
    /// It gave no rows, or failed.
    Done,
}

impl Connection<'_> {
    /// Handles a message of the extended protocol other than Sync and Flush.
    pub(super) async fn extended(&mut self, message: Frontend) -> Result<(), Fail> {
        match message {
            Frontend::Parse { name, query, types } => self.parse(name, query, types).await,
            Frontend::Bind(bind) => self.bind(bind).await,
            Frontend::Describe(kind, name) => self.describe(kind, &name),
            Frontend::Execute { portal, max_rows } => self.execute_portal(&portal, max_rows).await,
            Frontend::Close(kind, name) => {
                match kind {
                    b'S' => drop(self.statements.remove(&name)),
                    b'P' => drop(self.portals.remove(&name)),
                    _ => return Err(bad_kind(kind)),
                }
                Ok(self.out.put(&Message::CloseComplete(CloseComplete::new()))?)
            }
            Frontend::CopyData(_) | Frontend::CopyDone | Frontend::CopyFail(_) => Ok(()),
            Frontend::NotText(_, error) => Err(error.into()),
            _ => Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "unexpected message").into()),
        }
    }

    async fn parse(&mut self, name: String, query: String, types: Vec<u32>) -> Result<(), Fail> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlState::new("42P05"), message).into());
        }
        if self.statements.len() >= NAMES_MAX {
            let message = format!("more than {NAMES_MAX} prepared statements on one connection");
            return Err(SqlError::new(SqlState::LIMIT_EXCEEDED, message).into());
        }
        self.statements.remove(&name);
        let declared = types.into_iter().map(decode::declared_type).collect::<Result<Vec<_>, _>>()?;
        let control = self.begin();
        self.settle(&control).await?;
        let prepared = control.guard(self.session.prepare(&query, &declared)).await??;
        self.statements.insert(name, Arc::new(Statement { prepared }));
        Ok(self.out.put(&Message::ParseComplete(ParseComplete::new()))?)
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Fail> {
        let statement = self.statement(&bind.statement)?;
        let types = &statement.prepared.param_types;
        if bind.params.len() != types.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.params.len(),
                bind.statement,
                types.len()
            );
            return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into());
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(SqlError::new(SqlState::new("42P03"), message).into());
        }
        if self.portals.len() >= NAMES_MAX {
            let message = format!("more than {NAMES_MAX} portals on one connection");
            return Err(SqlError::new(SqlState::LIMIT_EXCEEDED, message).into());
        }
        let formats = expand_formats(&bind.param_formats, types.len(), "parameter")?;
        let mut params = Vec::with_capacity(types.len());
        for (i, ((ty, format), raw)) in types.iter().zip(formats).zip(&bind.params).enumerate() {
            params.push(decode::parameter(*ty, format, raw.as_deref(), i + 1)?);
        }
        let formats = match &statement.prepared.desc {
            Some(desc) => expand_formats(&bind.result_formats, desc.arity(), "result")?,
            None => vec![],
        };
        self.portals.insert(bind.portal, Portal { statement, formats, state: PortalState::Bound(params) });
        Ok(self.out.put(&Message::BindComplete(BindComplete::new()))?)
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>, SqlError> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            SqlError::new(SqlState::new("26000"), message)
        })
    }

    fn describe(&mut self, kind: u8, name: &str) -> Result<(), Fail> {
        match kind {
            b'S' => {
                let statement = self.statement(name)?;
                self.out.put_parameter_types(&statement.prepared.param_types)?;
                Ok(self.out.put_description(statement.prepared.desc.as_ref(), &[])?)
            }
            b'P' => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                Ok(self.out.put_description(portal.statement.prepared.desc.as_ref(), &portal.formats)?)
            }
            _ => Err(bad_kind(kind)),
        }
    }

    /// The portal is out of the map while it runs; it comes back unless it failed.
    async fn execute_portal(&mut self, name: &str, max_rows: i32) -> Result<(), Fail> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let result = self.run_portal(name, &mut portal, u64::try_from(max_rows).unwrap_or(0)).await;
        if result.is_err() {
            portal.state = PortalState::Done;
        }
        self.portals.insert(name.to_owned(), portal);
        result
    }

    async fn run_portal(&mut self, name: &str, portal: &mut Portal, rows_max: u64) -> Result<(), Fail> {
        let control = self.begin();
        let mut cursor = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Bound(params) => {
                self.settle(&control).await?;
                match self.execute(&portal.statement.prepared, params, &control).await? {
                    Outcome::Empty => {
                        return Ok(self.out.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?);
                    }
                    Outcome::Complete { tag } => return Ok(self.out.put_complete(tag)?),
                    Outcome::CopyIn(copy) => return self.copy_in(copy, &control).await,
                    Outcome::CopyOut { desc, rows, options } => {
                        return self.copy_out(desc, rows, options, &control).await;
                    }
                    Outcome::Rows { desc, rows, tag, count_in_tag } => {
                        check_result_type(&portal.statement.prepared, &desc)?;
                        let cursor = RowCursor::new(desc, portal.formats.clone(), rows, tag, count_in_tag);
                        Box::new(cursor)
                    }
                }
            }
            PortalState::Running(cursor) => cursor,
            PortalState::Exhausted { tag, count_in_tag } => {
                portal.state = PortalState::Exhausted { tag, count_in_tag };
                let tag = if count_in_tag { format!("{tag} 0") } else { tag.to_owned() };
                return Ok(self.out.put_complete(tag)?);
            }
            PortalState::Done => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message).into());
            }
        };
        match cursor.send(rows_max, self.out, &control).await? {
            Portion::Suspended => {
                portal.state = PortalState::Running(cursor);
                Ok(self.out.put(&Message::PortalSuspended(PortalSuspended::new()))?)
            }
            Portion::Complete(tag) => {
                let (base, count_in_tag) = cursor.tag();
                portal.state = PortalState::Exhausted { tag: base, count_in_tag };
                Ok(self.out.put_complete(tag)?)
            }
        }
    }
}

/// The client decodes by the description it was given, so a result of other types must not be sent.
fn check_result_type(prepared: &Prepared, desc: &hw_repr::RelationDesc) -> Result<(), SqlError> {
    let described = prepared.desc.as_ref().map(|d| d.types());
    if described.as_deref() == Some(&desc.types()) {
        return Ok(());
    }
    Err(SqlError::unsupported("cached plan must not change result type").hint("Prepare the statement again."))
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(SqlState::new("34000"), format!("portal \"{name}\" does not exist"))
}

fn bad_kind(kind: u8) -> Fail {
    SqlError::new(SqlState::PROTOCOL_VIOLATION, format!("invalid message subtype {kind}")).into()
}

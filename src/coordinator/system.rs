//! Rows of the system relations that only the coordinator knows. Their columns are data in `catalog/builtin`.

use crate::core::{Core, Place};
use crate::replace::TEMPORARY;
use hw_plan::{ObjectKind, SourceConnector};
use hw_repr::datum::Float;
use hw_repr::{Datum, SqlError, SqlState};

type Rows = Vec<Vec<Datum>>;

fn text(s: impl Into<String>) -> Datum {
    Datum::Text(s.into())
}
fn int8(n: impl TryInto<i64>) -> Datum {
    Datum::Int8(n.try_into().unwrap_or(i64::MAX))
}
fn opt(s: Option<String>) -> Datum {
    s.map_or(Datum::Null, Datum::Text)
}

impl Core {
    /// The rows of `headwater.<name>` now.
    pub(crate) fn system_rows(&self, name: &str) -> Result<Rows, SqlError> {
        Ok(match name {
            "sources" => self.sources_rows(),
            "source_partitions" => self.partition_rows(),
            "views" => self.view_rows(),
            "operators" => self.operator_rows(),
            "dead_letters" => self.dead_letter_rows(),
            "checkpoints" => self.checkpoints.rows(),
            _ => {
                let e = SqlError::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("relation \"headwater.{name}\" has no contents yet"),
                );
                return Err(e);
            }
        })
    }

    fn sources_rows(&self) -> Rows {
        let row = |s: &crate::source::LiveSource| {
            let (state, error) = s.state();
            let kind = match s.connector {
                SourceConnector::Kafka(_) => "kafka",
                SourceConnector::Nexmark(_) => "generator",
            };
            vec![
                int8(s.object.id.0),
                text(&s.object.schema),
                text(&s.object.name),
                text(kind),
                text(state),
                opt(error.map(|e| e.message)),
            ]
        };
        self.sources.values().map(row).collect()
    }

    fn partition_rows(&self) -> Rows {
        let mut out = vec![];
        for s in self.sources.values() {
            let ends = s.upstream_end();
            for (partition, position) in &s.positions {
                let end = ends.get(partition).copied();
                out.push(vec![
                    int8(s.object.id.0),
                    text(&s.object.name),
                    Datum::Int4(*partition),
                    Datum::Int8(*position),
                    // What the broker said last may be older than what it gave.
                    end.map_or(Datum::Null, |e| Datum::Int8(e.max(*position))),
                    end.map_or(Datum::Null, |e| Datum::Int8((e - position).max(0))),
                ]);
            }
        }
        out
    }

    fn view_rows(&self) -> Rows {
        let mut out = vec![];
        for (id, flow) in &self.flows {
            if !matches!(flow.object.kind, ObjectKind::MaterializedView { .. }) || id.0 >= TEMPORARY {
                continue;
            }
            let state = match (&flow.failed, &flow.hydration, flow.place) {
                (Some(_), _, _) => "failed",
                (_, Some(_), _) => "hydrating",
                (_, _, Place::Live) => "running",
                _ if self.engine.frontier(*id) == 0 => "hydrating",
                _ => "lagging",
            };
            let (rows, bytes) = self.engine.arranged(*id);
            let behind = self.last_tick.saturating_sub(self.engine.frontier(*id).saturating_sub(1));
            let errors = self.count_errors(*id);
            out.push(vec![
                int8(id.0),
                text(&flow.object.schema),
                text(&flow.object.name),
                text(state),
                Datum::Float8(Float(if flow.hydration.is_some() { 0.0 } else { 1.0 })),
                int8(rows),
                int8(bytes),
                int8(behind),
                int8(errors),
            ]);
        }
        let catalog = self.visible.load();
        for object in self.broken.keys().filter_map(|id| hw_plan::CatalogView::get(&**catalog, *id)) {
            if let ObjectKind::MaterializedView { .. } = object.kind {
                let (id, zero) = (int8(object.id.0), int8(0));
                let state = [text(&object.schema), text(&object.name), text("failed"), Datum::Float8(Float(0.0))];
                out.push([id].into_iter().chain(state).chain(std::iter::repeat_n(zero, 4)).collect());
            }
        }
        out
    }

    fn operator_rows(&self) -> Rows {
        let row = |(n, o): (usize, hw_dataflow::OperatorStats)| {
            vec![
                int8(n),
                int8(o.flow.0),
                int8(o.worker),
                text(o.flow_name),
                text(o.operator),
                int8(o.busy_us),
                int8(o.taken_in),
                int8(o.given_out),
                int8(o.rows),
                int8(o.bytes),
                o.node.map_or(Datum::Null, int8),
            ]
        };
        self.engine.operators().into_iter().enumerate().map(row).collect()
    }

    fn dead_letter_rows(&self) -> Rows {
        let bytes = |b: &Option<Vec<u8>>| b.clone().map_or(Datum::Null, Datum::Bytea);
        let mut out = vec![];
        for s in self.sources.values() {
            for d in &s.dead {
                out.push(vec![
                    text(&s.object.name),
                    Datum::Int4(d.partition),
                    Datum::Int8(d.offset),
                    d.time_us.map_or(Datum::Null, Datum::TimestampTz),
                    bytes(&d.key),
                    bytes(&d.value),
                    d.headers
                        .as_ref()
                        .and_then(|h| hw_repr::text::jsonb_canonical(h).ok())
                        .map_or(Datum::Null, Datum::Jsonb),
                    text(&d.reason),
                ]);
            }
        }
        out
    }

    /// Counters and gauges in Prometheus' text format.
    pub(crate) fn metrics_text(&self) -> String {
        let mut out = String::new();
        let mut put = |name: &str, kind: &str, value: u64| {
            out.push_str(&format!("# TYPE {name} {kind}\n{name} {value}\n"));
        };
        put("headwater_ticks_total", "counter", self.stats.ticks);
        put("headwater_source_rows_total", "counter", self.stats.rows_in);
        put("headwater_dead_letters_total", "counter", self.stats.dead_letters);
        put("headwater_table_writes_total", "counter", self.stats.writes);
        put("headwater_read_timestamp", "gauge", self.read_ts);
        self.checkpoints.figures().into_iter().for_each(|(name, value)| put(name, "gauge", value));
        out.push_str("# TYPE headwater_source_lag gauge\n");
        for s in self.sources.values() {
            let ends = s.upstream_end();
            for (p, at) in &s.positions {
                let lag = ends.get(p).map_or(0, |e| (e - at).max(0));
                out.push_str(&format!(
                    "headwater_source_lag{{source=\"{}\",partition=\"{p}\"}} {lag}\n",
                    label(&s.object.name)
                ));
            }
        }
        out.push_str("# TYPE headwater_view_errors gauge\n");
        let lasting = || self.flows.iter().filter(|(id, _)| id.0 < TEMPORARY);
        for (id, flow) in lasting() {
            if let ObjectKind::MaterializedView { .. } = flow.object.kind {
                let (name, errors) = (label(&flow.object.name), self.count_errors(*id));
                out.push_str(&format!("headwater_view_errors{{view=\"{name}\"}} {errors}\n"));
            }
        }
        out.push_str("# TYPE headwater_operator_changes_total counter\n");
        for (id, flow) in lasting() {
            let (name, changes) = (label(&flow.object.name), self.engine.taken_in(*id));
            out.push_str(&format!("headwater_operator_changes_total{{relation=\"{name}\"}} {changes}\n"));
        }
        let arranged: Vec<_> = lasting().map(|(id, f)| (label(&f.object.name), self.engine.arranged(*id))).collect();
        out.push_str("# TYPE headwater_arranged_rows gauge\n");
        for (name, (rows, _)) in &arranged {
            out.push_str(&format!("headwater_arranged_rows{{relation=\"{name}\"}} {rows}\n"));
        }
        out.push_str("# TYPE headwater_arranged_bytes gauge\n");
        for (name, (_, bytes)) in &arranged {
            out.push_str(&format!("headwater_arranged_bytes{{relation=\"{name}\"}} {bytes}\n"));
        }
        out
    }
}

/// A label value, escaped as the format wants it.
fn label(s: &str) -> String {
    s.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

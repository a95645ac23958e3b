//! A server without its sockets, for one measurement.

use hw_coordinator::{CoordinatorConfig, Outcome, Session};
use std::path::Path;
use std::time::Duration;

/// What a measurement runs with, beside defaults.
pub fn config(data_dir: &Path, workers: usize) -> CoordinatorConfig {
    CoordinatorConfig {
        data_dir: data_dir.to_path_buf(),
        workers,
        memory_limit: None,
        checkpoint_interval: Duration::from_secs(10),
        subscribe_resume: Duration::from_secs(60),
        initial_password: None,
        discard_views: false,
        assume_retractions: false,
        recompute: vec![],
        platform: hw_coordinator::Platform::default(),
    }
}

/// Runs `body` with a session on an empty data directory below the current one.
pub fn with<T, F: Future<Output = Result<T, String>>>(
    workers: usize,
    body: impl FnOnce(Session) -> F,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let dir = tempfile::tempdir_in(".").map_err(|e| e.to_string())?;
        let handle = hw_coordinator::start(config(&dir.path().join("data"), workers)).map_err(|e| e.to_string())?;
        handle.ready().await.map_err(|e| e.to_string())?;
        let done = body(handle.session("headwater".into(), "headwater".into(), None)).await;
        handle.shutdown().await;
        done
    })
}

/// Runs a statement; its rows as text, columns separated by a bar.
pub async fn execute(session: &mut Session, sql: &str) -> Result<Vec<String>, String> {
    use futures::StreamExt;
    let describe = |e: hw_repr::SqlError| format!("{sql}: {e}");
    let prepared = session.prepare(sql, &[]).await.map_err(describe)?;
    let executed = session.execute(&prepared, vec![]).await.map_err(describe)?;
    let Outcome::Rows { desc, mut rows, .. } = executed.outcome else { return Ok(vec![]) };
    let types = desc.types();
    let mut out = vec![];
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(describe)?;
        for row in 0..batch.num_rows() {
            let mut text = vec![];
            for (column, ty) in batch.columns().iter().zip(&types) {
                let datum = hw_repr::Datum::from_array(column.as_ref(), row, *ty).map_err(describe)?;
                text.push(datum.to_text().unwrap_or_default());
            }
            out.push(text.join("|"));
        }
    }
    Ok(out)
}

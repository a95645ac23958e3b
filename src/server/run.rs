//! `headwater run`: applying .sql files to a server, and saying what to try next.

use crate::backend::{Backend, SessionBackend};
use futures::StreamExt;
use hw_coordinator::session::Outcome;
use hw_repr::SqlError;
use std::path::{Path, PathBuf};

/// A file to apply.
#[derive(Debug)]
pub struct SqlFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The .sql files that the arguments name, directories searched through, in path order, each once.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<SqlFile>, String> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        collect(path, true, &mut found).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        if found.len() == before {
            return Err(format!("no .sql files in {}", path.display()));
        }
    }
    found.sort();
    found.dedup();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Ok(SqlFile { path, text })
    };
    found.into_iter().map(read).collect()
}

fn collect(path: &Path, named: bool, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), false, found)?;
        }
    } else if named || path.extension().is_some_and(|e| e == "sql") {
        found.push(path.to_owned());
    }
    Ok(())
}

/// Applies the files in one session. The error names file and line.
pub async fn apply(backend: &dyn Backend, files: &[SqlFile]) -> Result<(), String> {
    let mut session = backend.session("headwater".into(), "headwater".into(), Some("headwater run".into()));
    session.keep_identical();
    for file in files {
        let located = |offset: usize, error: SqlError| describe(file, offset, &error);
        for (offset, sql) in session.split(&file.text).map_err(|e| located(0, e))? {
            apply_one(session.as_mut(), &sql).await.map_err(|e| located(offset, e))?;
        }
        tracing::info!(file = %file.path.display(), "applied");
    }
    Ok(())
}

async fn apply_one(session: &mut dyn SessionBackend, sql: &str) -> Result<(), SqlError> {
    let prepared = session.prepare(sql, &[]).await?;
    let executed = session.execute(&prepared, vec![]).await?;
    for notice in &executed.notices {
        tracing::info!("{}: {}", notice.severity, notice.error.message);
    }
    if let Outcome::Rows { mut rows, .. } = executed.outcome {
        while let Some(batch) = rows.next().await {
            batch?;
        }
    }
    Ok(())
}

fn describe(file: &SqlFile, offset: usize, error: &SqlError) -> String {
    let statement = file.text.get(offset..).unwrap_or_default();
    let leading = statement.len() - statement.trim_start().len();
    let within = error.position.map_or(leading, |p| statement.chars().take(p - 1).map(char::len_utf8).sum());
    let line = 1 + file.text.get(..offset + within).map_or(0, |before| before.matches('\n').count());
    let mut text = format!("{}:{line}: {} [{}]", file.path.display(), error.message, error.code.as_str());
    for (label, more) in [("detail", &error.detail), ("hint", &error.hint)] {
        if let Some(more) = more {
            text.push_str(&format!("\n  {label}: {more}"));
        }
    }
    text
}

/// The statements on the `-- try:` lines before the first statement of each file.
pub fn suggestions(files: &[SqlFile]) -> Vec<String> {
    let leading = |file: &SqlFile| {
        let lines: Vec<String> = file
            .text
            .lines()
            .map(str::trim)
            .take_while(|l| l.is_empty() || l.starts_with("--"))
            .map(str::to_owned)
            .collect();
        lines
    };
    let tried = |line: String| {
        let comment = line.trim_start_matches('-').trim();
        comment.strip_prefix("try:").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty())
    };
    files.iter().flat_map(leading).filter_map(tried).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::SqlState;

    #[test]
    fn files_in_path_order_and_their_suggestions() {
        let dir = std::env::temp_dir().join(format!("headwater-run-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("b")).expect("made");
        std::fs::write(dir.join("b/2.sql"), "-- try: SELECT 2;\nSELECT 1;\n-- try: not this\n").expect("written");
        std::fs::write(dir.join("a.sql"), "-- About.\n\n-- try: SELECT 1;\n").expect("written");
        std::fs::write(dir.join("README.md"), "-- try: no\n").expect("written");
        let files = read_files(&[dir.clone(), dir.join("a.sql")]).expect("read");
        let names: Vec<_> = files.iter().filter_map(|f| f.path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.sql", "2.sql"]);
        assert_eq!(suggestions(&files), ["SELECT 1;", "SELECT 2;"]);
        assert!(read_files(&[dir.join("none.sql")]).is_err());
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn errors_name_the_line() {
        let file = SqlFile { path: "x.sql".into(), text: "SELECT 1;\n\nSELECT\n  nope;".into() };
        let error = SqlError::new(SqlState::UNDEFINED_COLUMN, "no such column").hint("Look.").at(12);
        assert_eq!(describe(&file, 9, &error), "x.sql:4: no such column [42703]\n  hint: Look.");
        let error = SqlError::new(SqlState::UNDEFINED_COLUMN, "no such column");
        assert_eq!(describe(&file, 9, &error), "x.sql:3: no such column [42703]");
    }
}

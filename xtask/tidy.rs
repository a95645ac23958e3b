//! Rules that the compiler does not check: import direction, sizes, words.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom: a crate may depend on lower ones only.
const LAYERS: &[(&str, u8)] = &[
    ("hw-memory", 0),
    ("hw-repr", 0),
    ("hw-plan", 1),
    ("hw-scalar", 2),
    ("hw-sql", 3),
    ("hw-query", 3),
    ("hw-dataflow", 3),
    ("hw-connect", 3),
    ("hw-store", 3),
    ("hw-catalog", 3),
    ("hw-coordinator", 4),
    ("headwater", 5),
    ("hw-testkit", 6),
    ("hw-benches", 7),
    ("xtask", 7),
];
/// Lines of a file, tests included.
const FILE_LINES_MAX: usize = 800;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Functions above [`FUNCTION_LINES_MAX`]: may only go down.
const LONG_FUNCTIONS_MAX: usize = 3;
/// Markers of unfinished work.
const WORDS: &[&str] = &["todo!", "unimplemented!", "dbg!("];

/// Checks the tree below `root` and lists everything that is wrong.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut wrong = vec![];
    let mut files = vec![];
    for top in ["src", "catalog", "benches", "xtask"] {
        collect(&root.join(top), &mut files);
    }
    let mut long = vec![];
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
        if file.ends_with("Cargo.toml") {
            check_imports(&name, &text, &mut wrong);
        } else if name.ends_with(".rs") {
            check_source(&name, &text, &mut wrong);
            // A table of cases may be as long as it needs to be.
            if !name.contains("/tests") {
                long.extend(long_functions(&name, &text));
            }
        }
    }
    if long.len() > LONG_FUNCTIONS_MAX {
        wrong.push(format!("{} functions above {FUNCTION_LINES_MAX} lines, {LONG_FUNCTIONS_MAX} allowed", long.len()));
        wrong.append(&mut long);
    }
    for line in &wrong {
        eprintln!("tidy: {line}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("tidy: {} findings", wrong.len())) }
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") || path.ends_with("Cargo.toml") {
            out.push(path);
        }
    }
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(n, _)| *n == name).map(|(_, l)| *l)
}

/// Every dependency on a crate of ours lies in a lower layer. Dev-dependencies are exempt: tests may look up.
fn check_imports(file: &str, manifest: &str, wrong: &mut Vec<String>) {
    let mut section = "";
    let mut own = None;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if let (0, "[package]", Some(name)) = (0, section, line.strip_prefix("name = ")) {
            own = layer(name.trim_matches('"'));
            if own.is_none() {
                wrong.push(format!("{file}: a crate without a layer"));
            }
        } else if section == "[dependencies]" {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if let (Some(own), Some(other)) = (own, layer(name))
                && other >= own
            {
                wrong.push(format!("{file}: must not depend on {name}"));
            }
        }
    }
}

fn check_source(file: &str, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        wrong.push(format!("{file}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    if !text.starts_with("//!") && !file.ends_with("/tests.rs") {
        wrong.push(format!("{file}: does not start with a module comment"));
    }
    if file.ends_with("xtask/tidy.rs") {
        return;
    }
    for word in WORDS.iter().filter(|w| text.contains(**w)) {
        wrong.push(format!("{file}: contains {word}"));
    }
}

/// Functions above the limit, by the indentation that rustfmt gives their closing brace.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = vec![];
    for (at, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        if !is_function(body) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[at..].iter().position(|l| *l == close).map_or(0, |n| n + 1);
        let one_line = body.ends_with('}') || body.ends_with(';');
        if !one_line && length > FUNCTION_LINES_MAX {
            out.push(format!("{file}:{}: a function of {length} lines", at + 1));
        }
    }
    out
}

fn is_function(line: &str) -> bool {
    let mut rest = line;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.starts_with("fn ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upward_import_is_found() {
        let mut wrong = vec![];
        check_imports("a", "[package]\nname = \"hw-plan\"\n[dependencies]\nhw-repr.workspace = true\n", &mut wrong);
        assert!(wrong.is_empty());
        check_imports("a", "[package]\nname = \"hw-query\"\n[dependencies]\nhw-sql.workspace = true\n", &mut wrong);
        assert_eq!(wrong.len(), 1);
    }

    #[test]
    fn a_long_function_is_found() {
        let long = format!("impl A {{\n    pub fn f() {{\n{}    }}\n}}\n", "        a();\n".repeat(70));
        assert_eq!(long_functions("a", &long).len(), 1);
        let short = format!("fn f() {{\n{}}}\n", "    a();\n".repeat(60));
        assert_eq!(long_functions("a", &short).len(), 0);
    }
}

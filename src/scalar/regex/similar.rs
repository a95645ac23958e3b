//! Patterns of SIMILAR TO and of `substring(... SIMILAR ... ESCAPE ...)` as advanced regular expressions.

use hw_repr::{SqlError, SqlState};

/// The escape character of a pattern that names none.
pub(crate) const ESCAPE: &str = "\\";

/// `similar_to_escape`: the expression that matches a whole text where the pattern does. `%` is any text, `_` any
/// character; an escaped double quote separates the parts of `substring`, of which there may be three.
/// Errors: 22025 for an escape that is longer than a character, 2200C for more than two separators.
pub(crate) fn similar(pattern: &str, escape: &str) -> Result<String, SqlError> {
    let mut chars = escape.chars();
    let escape = chars.next();
    if chars.next().is_some() {
        return Err(SqlError::new(SqlState::new("22025"), "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    let mut out = String::from("^(?:");
    // How many brackets are open, and how far their first place is behind: 0 at it, 1 behind its caret.
    let (mut quotes, mut depth, mut place, mut escaped) = (0, 0, 0, false);
    for c in pattern.chars() {
        if escaped {
            match (c, depth > 0) {
                ('"', false) => {
                    out.push_str(match quotes {
                        0 => "){1,1}?(",
                        1 => "){1,1}(?:",
                        _ => {
                            return Err(SqlError::new(
                                SqlState::new("2200C"),
                                "SQL regular expression may not contain more than two escape-double-quote separators",
                            ));
                        }
                    });
                    quotes += 1;
                }
                _ => {
                    out.push('\\');
                    out.push(c);
                }
            }
            escaped = false;
            continue;
        }
        if Some(c) == escape {
            escaped = true;
            continue;
        }
        if depth > 0 {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            match c {
                ']' if place == 2 => depth -= 1,
                '[' => depth += 1,
                _ => {}
            }
            place = if c == '^' && place == 0 { 1 } else { 2 };
            continue;
        }
        match c {
            '[' => {
                out.push('[');
                (depth, place) = (1, 0);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '\\' | '.' | '^' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

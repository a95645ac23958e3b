//! JSON of any depth: readers of JSON stop at 128 levels, which forty additions in a row exceed.
//!
//! What nests deeper is cut into pieces of fewer levels: `{"$pieces": [...], "$root": ...}`, where `{"$piece": n}` stands
//! for piece `n`, which names only earlier ones. What does not nest deeply is written as it is.

use hw_repr::{SqlError, SqlState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Levels of a piece.
const PIECE_LEVELS: usize = 64;
/// Levels in all; an operator in an expression takes three.
const LEVELS_MAX: usize = 2000;
/// Room for what recurses over so many levels.
const STACK_BYTES: usize = 64 << 20;
const PIECES: &str = "$pieces";
const PIECE: &str = "$piece";
const ROOT: &str = "$root";

/// The JSON of a value. `54001` where it nests too deeply.
pub(crate) fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    stacker::grow(STACK_BYTES, || {
        let bytes = serde_json::to_vec(value)?;
        let levels = levels(&bytes);
        if levels > LEVELS_MAX {
            return Err(Error::Deep);
        }
        if levels <= PIECE_LEVELS {
            return Ok(bytes);
        }
        let mut pieces = vec![];
        let (root, _) = cut(serde_json::to_value(value)?, &mut pieces);
        let whole = Map::from_iter([(PIECES.to_string(), Value::Array(pieces)), (ROOT.to_string(), root)]);
        Ok(serde_json::to_vec(&whole)?)
    })
}

/// The value of [`to_vec`].
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    if !bytes.starts_with(format!("{{\"{PIECES}\":").as_bytes()) {
        return Ok(serde_json::from_slice(bytes)?);
    }
    stacker::grow(STACK_BYTES, || {
        let mut whole: Map<String, Value> = serde_json::from_slice(bytes)?;
        let (Some(Value::Array(cut)), Some(root)) = (whole.remove(PIECES), whole.remove(ROOT)) else {
            return Err(Error::Pieces);
        };
        let mut pieces: Vec<Option<Value>> = Vec::with_capacity(cut.len());
        for piece in cut {
            let piece = join(piece, &mut pieces)?;
            pieces.push(Some(piece));
        }
        Ok(serde_json::from_value(join(root, &mut pieces)?)?)
    })
}

/// Why a value cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Of the library.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// More levels than are read.
    #[error("it nests more than {LEVELS_MAX} levels deep")]
    Deep,
    /// Pieces that do not fit together.
    #[error("its pieces do not fit together")]
    Pieces,
}

impl Error {
    /// What a client is told where a definition cannot be stored.
    pub(crate) fn refusal(&self) -> SqlError {
        if matches!(self, Error::Deep) {
            return SqlError::new(SqlState::new("54001"), "stack depth limit exceeded")
                .hint("The definition nests too deeply: split it into several views.");
        }
        SqlError::unsupported("the definition cannot be stored")
            .detail(self.to_string())
            .hint("It holds a constant that is no finite number; simplify the statement.")
    }
}

/// How deep the brackets of JSON nest.
fn levels(json: &[u8]) -> usize {
    let (mut level, mut most, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                level += 1;
                most = most.max(level);
            }
            b'}' | b']' if !quoted => level = level.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The value with what nests too deeply moved to `pieces`, and the levels that are left of it.
fn cut(value: Value, pieces: &mut Vec<Value>) -> (Value, usize) {
    let mut most = 0;
    let mut shorten = |child: Value| {
        let (mut child, mut levels) = cut(child, pieces);
        if levels >= PIECE_LEVELS {
            pieces.push(child);
            child = Value::Object(Map::from_iter([(PIECE.to_string(), Value::from(pieces.len() - 1))]));
            levels = 1;
        }
        most = most.max(levels);
        child
    };
    let value = match value {
        Value::Array(all) => Value::Array(all.into_iter().map(shorten).collect()),
        Value::Object(all) => Value::Object(all.into_iter().map(|(key, child)| (key, shorten(child))).collect()),
        leaf => return (leaf, 0),
    };
    (value, most + 1)
}

/// The value with its pieces back in their places.
fn join(value: Value, pieces: &mut [Option<Value>]) -> Result<Value, Error> {
    match value {
        Value::Array(all) => Ok(Value::Array(all.into_iter().map(|v| join(v, pieces)).collect::<Result<_, _>>()?)),
        Value::Object(all) => {
            if let (1, Some(Value::Number(number))) = (all.len(), all.get(PIECE)) {
                let at = number.as_u64().and_then(|n| usize::try_from(n).ok());
                return at.and_then(|at| pieces.get_mut(at)?.take()).ok_or(Error::Pieces);
            }
            let all = all.into_iter().map(|(key, v)| Ok((key, join(v, pieces)?)));
            Ok(Value::Object(all.collect::<Result<_, Error>>()?))
        }
        leaf => Ok(leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf(i64),
        Both(Box<Tree>, Box<Tree>),
    }

    fn chain(length: i64) -> Tree {
        (0..length).fold(Tree::Leaf(-1), |left, i| Tree::Both(Box::new(left), Box::new(Tree::Leaf(i))))
    }

    #[test]
    fn any_depth_comes_back_or_is_refused() {
        for length in [0, 1, 30, 31, 32, 33, 62, 64, 65, 127, 300, 999] {
            let bytes = to_vec(&chain(length)).expect("written");
            assert_eq!(from_slice::<Tree>(&bytes).expect("read"), chain(length), "{length}");
        }
        let refused = to_vec(&chain(1000)).expect_err("too deep");
        assert_eq!(refused.refusal().code, SqlState::new("54001"));
        let shallow = serde_json::to_vec(&chain(20)).expect("written");
        assert_eq!(to_vec(&chain(20)).expect("written"), shallow, "what does not nest is plain JSON");
        assert_eq!(levels(br#"{"a[{":"\"[[[","b":[{}]}"#), 3);
    }

    #[test]
    fn pieces_that_do_not_fit_are_an_error() {
        let whole = r#"{"$pieces":[{"Leaf":1}],"$root":{"Both":[{"$piece":0},{"$piece":0}]}}"#;
        assert!(matches!(from_slice::<Tree>(whole.as_bytes()), Err(Error::Pieces)));
        let none = r#"{"$pieces":[],"$root":{"$piece":7}}"#;
        assert!(matches!(from_slice::<Tree>(none.as_bytes()), Err(Error::Pieces)));
    }
}

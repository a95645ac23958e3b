//! Candidates of functions of jsonb and json.

use super::text::optional;
use super::{Signature, sig};
use hw_plan::Func;
use hw_repr::SqlType::{self, *};

/// `text[]`
pub(super) fn texts() -> SqlType {
    Text.array_of().unwrap_or(Text)
}

/// The candidates of a function.
pub(super) fn signatures(func: Func) -> Vec<Signature> {
    match func {
        Func::JsonGet => {
            vec![
                sig(&[Jsonb, Text], Jsonb),
                sig(&[Jsonb, Int4], Jsonb),
                sig(&[Json, Text], Json),
                sig(&[Json, Int4], Json),
            ]
        }
        Func::JsonGetText => {
            vec![
                sig(&[Jsonb, Text], Text),
                sig(&[Jsonb, Int4], Text),
                sig(&[Json, Text], Text),
                sig(&[Json, Int4], Text),
            ]
        }
        Func::JsonGetPath => vec![sig(&[Jsonb, texts()], Jsonb), sig(&[Json, texts()], Json)],
        Func::JsonGetPathText => vec![sig(&[Jsonb, texts()], Text), sig(&[Json, texts()], Text)],
        Func::JsonContains | Func::JsonContained => vec![sig(&[Jsonb, Jsonb], Bool)],
        Func::JsonExists => vec![sig(&[Jsonb, Text], Bool)],
        Func::JsonExistsAny | Func::JsonExistsAll => vec![sig(&[Jsonb, texts()], Bool)],
        Func::JsonTypeof | Func::JsonPretty => vec![sig(&[Jsonb], Text)],
        Func::JsonArrayLength => vec![sig(&[Jsonb], Int4)],
        Func::JsonStripNulls => vec![sig(&[Jsonb], Jsonb)],
        Func::JsonDeletePath => vec![sig(&[Jsonb, texts()], Jsonb)],
        Func::JsonSet | Func::JsonInsert => optional(&[Jsonb, texts(), Jsonb, Bool], 3, Jsonb),
        Func::JsonSetLax => optional(&[Jsonb, texts(), Jsonb, Bool, Text], 3, Jsonb),
        Func::JsonObject => optional(&[texts(), texts()], 1, Jsonb),
        Func::JsonTextObject => optional(&[texts(), texts()], 1, Json),
        Func::JsonTextTypeof => vec![sig(&[Json], Text)],
        Func::JsonTextArrayLength => vec![sig(&[Json], Int4)],
        Func::JsonTextStripNulls => vec![sig(&[Json], Json)],
        Func::JsonPathExists | Func::JsonPathMatch => optional(&[Jsonb, Text, Jsonb, Bool], 2, Bool),
        Func::JsonPathQueryArray | Func::JsonPathQueryFirst => optional(&[Jsonb, Text, Jsonb, Bool], 2, Jsonb),
        Func::JsonPathExistsOp | Func::JsonPathMatchOp => vec![sig(&[Jsonb, Text], Bool)],
        _ => vec![],
    }
}

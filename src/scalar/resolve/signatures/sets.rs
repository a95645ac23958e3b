//! Candidates of set-returning functions.

use super::text::optional;
use super::{NUM, Signature, sig};
use hw_plan::Func;
use hw_repr::SqlType::{self, *};

/// The candidates of a function; the result is the type of its column, where it has one. Functions of arrays are
/// resolved by rules of their own.
pub(super) fn signatures(func: Func) -> Vec<Signature> {
    let texts = || Text.array_of().unwrap_or(Text);
    match func {
        Func::GenerateSeries => {
            let mut all = vec![];
            for ty in [Int4, Int8, NUM] {
                all.extend(optional(&[ty, ty, ty], 2, ty));
            }
            all.extend([Timestamp, TimestampTz].map(|ty| sig(&[ty, ty, Interval], ty)));
            all
        }
        Func::StringToTable => optional(&[Text, Text, Text], 2, Text),
        Func::RegexpMatches => optional(&[Text, Text, Text], 2, texts()),
        Func::RegexpSplitToTable => optional(&[Text, Text, Text], 2, Text),
        Func::JsonPathQuery => optional(&[Jsonb, Text, Jsonb, Bool], 2, Jsonb),
        Func::JsonElements | Func::JsonEach | Func::JsonToRecord | Func::JsonToRecordset => one(Jsonb, Jsonb),
        Func::JsonElementsText | Func::JsonEachText | Func::JsonKeys => one(Jsonb, Text),
        Func::JsonTextElements | Func::JsonTextEach | Func::JsonTextToRecord | Func::JsonTextToRecordset => {
            one(Json, Json)
        }
        Func::JsonTextElementsText | Func::JsonTextEachText | Func::JsonTextKeys => one(Json, Text),
        Func::SetOrdinality => vec![sig(&[], Int8)],
        _ => vec![],
    }
}

fn one(arg: SqlType, result: SqlType) -> Vec<Signature> {
    vec![sig(&[arg], result)]
}

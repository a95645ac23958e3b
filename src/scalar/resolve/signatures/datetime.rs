//! The candidates of functions of dates, times and intervals.

use super::{NUM, Signature, sig};
use hw_plan::Func;
use hw_repr::SqlType::{self, *};

/// `None` for functions of another kind.
pub(super) fn signatures(func: Func) -> Option<Vec<Signature>> {
    let parts = |result| {
        [Date, Time, TimeTz, Timestamp, TimestampTz, Interval].iter().map(|t| sig(&[Text, *t], result)).collect()
    };
    let pair = |ty: SqlType| vec![sig(&[ty, ty], ty)];
    Some(match func {
        Func::DateTrunc => vec![
            sig(&[Text, Timestamp], Timestamp),
            sig(&[Text, TimestampTz], TimestampTz),
            sig(&[Text, Interval], Interval),
            sig(&[Text, TimestampTz, Text], TimestampTz),
        ],
        Func::DateBin => vec![
            sig(&[Interval, Timestamp, Timestamp], Timestamp),
            sig(&[Interval, TimestampTz, TimestampTz], TimestampTz),
        ],
        Func::Extract => parts(NUM),
        Func::DatePart => parts(Float8),
        Func::ToChar => [Timestamp, TimestampTz, Interval, Int4, Int8, NUM, Float4, Float8]
            .iter()
            .map(|t| sig(&[*t, Text], Text))
            .collect(),
        Func::ToTimestamp => vec![sig(&[Float8], TimestampTz), sig(&[Text, Text], TimestampTz)],
        Func::ToDate => vec![sig(&[Text, Text], Date)],
        Func::Timezone => vec![
            sig(&[Text, TimestampTz], Timestamp),
            sig(&[Text, Timestamp], TimestampTz),
            sig(&[Interval, TimestampTz], Timestamp),
            sig(&[Interval, Timestamp], TimestampTz),
            sig(&[Text, TimeTz], TimeTz),
            sig(&[Interval, TimeTz], TimeTz),
        ],
        Func::MakeDate => vec![sig(&[Int4, Int4, Int4], Date)],
        Func::MakeTime => vec![sig(&[Int4, Int4, Float8], Time)],
        Func::MakeTimestamp => vec![sig(&[Int4, Int4, Int4, Int4, Int4, Float8], Timestamp)],
        Func::MakeTimestampTz => vec![
            sig(&[Int4, Int4, Int4, Int4, Int4, Float8], TimestampTz),
            sig(&[Int4, Int4, Int4, Int4, Int4, Float8, Text], TimestampTz),
        ],
        Func::MakeInterval => {
            let all = [Int4, Int4, Int4, Int4, Int4, Int4, Float8];
            (0..=all.len()).map(|n| sig(&all[..n], Interval)).collect()
        }
        Func::Age => [Timestamp, TimestampTz].iter().map(|t| sig(&[*t, *t], Interval)).collect(),
        Func::JustifyHours | Func::JustifyDays | Func::JustifyInterval => vec![sig(&[Interval], Interval)],
        Func::IsFinite => [Date, Timestamp, TimestampTz, Interval].iter().map(|t| sig(&[*t], Bool)).collect(),
        Func::Overlaps => [Time, Timestamp, TimestampTz].iter().flat_map(|t| overlaps(*t)).collect(),
        Func::DateLarger | Func::DateSmaller => pair(Date),
        Func::TimeLarger | Func::TimeSmaller => pair(Time),
        Func::TimestampLarger | Func::TimestampSmaller => pair(Timestamp),
        Func::TimestampTzLarger | Func::TimestampTzSmaller => pair(TimestampTz),
        Func::IntervalLarger | Func::IntervalSmaller => pair(Interval),
        _ => return None,
    })
}

/// Periods by their ends, or by start and length.
fn overlaps(ty: SqlType) -> [Signature; 4] {
    [
        sig(&[ty, ty, ty, ty], Bool),
        sig(&[ty, Interval, ty, ty], Bool),
        sig(&[ty, ty, ty, Interval], Bool),
        sig(&[ty, Interval, ty, Interval], Bool),
    ]
}

//! Candidates of functions of text, regular expressions and bytea.

use super::json::texts;
use super::{Signature, sig};
use hw_plan::Func;
use hw_repr::SqlType::{self, *};

/// All arities from `least` on of a function with these arguments.
pub(super) fn optional(args: &[SqlType], least: usize, result: SqlType) -> Vec<Signature> {
    (least..=args.len()).map(|n| sig(&args[..n], result)).collect()
}

/// The candidates of a function.
pub(super) fn signatures(func: Func) -> Vec<Signature> {
    match func {
        Func::Concat => vec![
            sig(&[Text, Text], Text),
            sig(&[Bytea, Bytea], Bytea),
            sig(&[Jsonb, Jsonb], Jsonb),
            sig(&[Varbit(None), Varbit(None)], Varbit(None)),
        ],
        Func::Like => vec![sig(&[Text, Text], Bool), sig(&[Bytea, Bytea], Bool)],
        Func::ILike | Func::RegexMatch | Func::RegexIMatch | Func::StartsWith => vec![sig(&[Text, Text], Bool)],
        Func::Lower | Func::Upper | Func::Reverse | Func::Initcap | Func::QuoteIdent | Func::Unistr | Func::ToAscii => {
            vec![sig(&[Text], Text)]
        }
        Func::Md5 => vec![sig(&[Text], Text), sig(&[Bytea], Text)],
        Func::Length => {
            vec![sig(&[Text], Int4), sig(&[Bytea], Int4), sig(&[Bytea, Text], Int4), sig(&[Bit(None)], Int4)]
        }
        Func::OctetLength | Func::BitLength => vec![sig(&[Text], Int4), sig(&[Bytea], Int4), sig(&[Bit(None)], Int4)],
        Func::Substr => substrings(),
        Func::Substring => {
            let mut all = substrings();
            all.extend([sig(&[Text, Text], Text), sig(&[Text, Text, Text], Text)]);
            all.extend(optional(&[Bit(None), Int4, Int4], 2, Bit(None)));
            all
        }
        Func::Btrim | Func::Ltrim | Func::Rtrim => {
            vec![sig(&[Text], Text), sig(&[Text, Text], Text), sig(&[Bytea, Bytea], Bytea)]
        }
        Func::Replace | Func::Translate => vec![sig(&[Text, Text, Text], Text)],
        Func::SplitPart => vec![sig(&[Text, Text, Int4], Text)],
        Func::Strpos => vec![sig(&[Text, Text], Int4)],
        Func::Position => {
            vec![sig(&[Text, Text], Int4), sig(&[Bytea, Bytea], Int4), sig(&[Bit(None), Bit(None)], Int4)]
        }
        Func::Left | Func::Right | Func::Repeat => vec![sig(&[Text, Int4], Text)],
        Func::Lpad | Func::Rpad => vec![sig(&[Text, Int4], Text), sig(&[Text, Int4, Text], Text)],
        Func::Ascii => vec![sig(&[Text], Int4)],
        Func::Chr => vec![sig(&[Int4], Text)],
        Func::Overlay => {
            let mut all = optional(&[Text, Text, Int4, Int4], 3, Text);
            all.extend(optional(&[Bytea, Bytea, Int4, Int4], 3, Bytea));
            all.extend(optional(&[Bit(None), Bit(None), Int4, Int4], 3, Bit(None)));
            all
        }
        Func::Normalize => optional(&[Text, Text], 1, Text),
        Func::IsNormalized => optional(&[Text, Text], 1, Bool),
        Func::ParseIdent => optional(&[Text, Bool], 1, texts()),
        Func::LikeEscape => vec![sig(&[Text, Text], Text)],
        Func::SimilarToEscape => optional(&[Text, Text], 1, Text),
        _ => more(func),
    }
}

fn substrings() -> Vec<Signature> {
    let mut all = optional(&[Text, Int4, Int4], 2, Text);
    all.extend(optional(&[Bytea, Int4, Int4], 2, Bytea));
    all
}

fn more(func: Func) -> Vec<Signature> {
    match func {
        Func::RegexpReplace => {
            let mut all = optional(&[Text, Text, Text, Text], 3, Text);
            all.extend(optional(&[Text, Text, Text, Int4, Int4, Text], 4, Text));
            all
        }
        Func::RegexpLike => optional(&[Text, Text, Text], 2, Bool),
        Func::RegexpCount => optional(&[Text, Text, Int4, Text], 2, Int4),
        Func::RegexpInstr => optional(&[Text, Text, Int4, Int4, Int4, Text, Int4], 2, Int4),
        Func::RegexpSubstr => optional(&[Text, Text, Int4, Int4, Text, Int4], 2, Text),
        Func::GetByte => vec![sig(&[Bytea, Int4], Int4)],
        Func::SetByte => vec![sig(&[Bytea, Int4, Int4], Bytea)],
        Func::GetBit => vec![sig(&[Bytea, Int8], Int4), sig(&[Bit(None), Int4], Int4)],
        Func::SetBit => vec![sig(&[Bytea, Int8, Int4], Bytea), sig(&[Bit(None), Int4, Int4], Bit(None))],
        Func::BitCount => vec![sig(&[Bytea], Int8), sig(&[Bit(None)], Int8)],
        Func::Encode => vec![sig(&[Bytea, Text], Text)],
        Func::Decode | Func::ConvertTo => vec![sig(&[Text, Text], Bytea)],
        Func::ConvertFrom => vec![sig(&[Bytea, Text], Text)],
        Func::Convert => vec![sig(&[Bytea, Text, Text], Bytea)],
        Func::Sha224 | Func::Sha256 | Func::Sha384 | Func::Sha512 => vec![sig(&[Bytea], Bytea)],
        Func::RegexpMatch | Func::RegexpSplitToArray => optional(&[Text, Text, Text], 2, texts()),
        _ => super::json::signatures(func),
    }
}

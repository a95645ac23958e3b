//! Candidates of the functions of numbers.

use super::{INTS, NUM, Signature, each, sig};
use hw_plan::Func;
use hw_repr::SqlType::{self, Float8, Int4, Int8, Text};

/// The integers and bit strings.
fn with_bits() -> [SqlType; 4] {
    let [a, b, c] = INTS;
    [a, b, c, SqlType::Bit(None)]
}

/// `None` for a function that is not of this area.
pub(super) fn signatures(func: Func) -> Option<Vec<Signature>> {
    Some(match func {
        Func::PowerOf => each(&[Float8, NUM], 2),
        Func::Log => {
            let mut all = each(&[Float8, NUM], 1);
            all.push(sig(&[NUM, NUM], NUM));
            all
        }
        Func::Log10 => each(&[Float8, NUM], 1),
        Func::SquareRoot
        | Func::CubeRoot
        | Func::Cbrt
        | Func::Sin
        | Func::Cos
        | Func::Tan
        | Func::Cot
        | Func::Asin
        | Func::Acos
        | Func::Atan
        | Func::Sind
        | Func::Cosd
        | Func::Tand
        | Func::Cotd
        | Func::Asind
        | Func::Acosd
        | Func::Atand
        | Func::Sinh
        | Func::Cosh
        | Func::Tanh
        | Func::Asinh
        | Func::Acosh
        | Func::Atanh
        | Func::Degrees
        | Func::Radians => each(&[Float8], 1),
        Func::Atan2 | Func::Atan2d => each(&[Float8], 2),
        Func::Pi => vec![sig(&[], Float8)],
        Func::Quotient => each(&[NUM], 2),
        Func::Gcd | Func::Lcm => each(&[Int4, Int8, NUM], 2),
        Func::Factorial => vec![sig(&[Int8], NUM)],
        Func::WidthBucket => vec![sig(&[Float8, Float8, Float8, Int4], Int4), sig(&[NUM, NUM, NUM, Int4], Int4)],
        Func::Scale | Func::MinScale => vec![sig(&[NUM], Int4)],
        Func::TrimScale | Func::NumericInc => each(&[NUM], 1),
        Func::BitAnd | Func::BitOr | Func::BitXor => each(&with_bits(), 2),
        Func::BitNot => each(&with_bits(), 1),
        Func::ShiftLeft | Func::ShiftRight => with_bits().iter().map(|t| sig(&[*t, Int4], *t)).collect(),
        Func::ToHex => vec![sig(&[Int4], Text), sig(&[Int8], Text)],
        Func::ToNumber => vec![sig(&[Text, Text], NUM)],
        Func::SizePretty => vec![sig(&[Int8], Text), sig(&[NUM], Text)],
        Func::SizeBytes => vec![sig(&[Text], Int8)],
        _ => return None,
    })
}

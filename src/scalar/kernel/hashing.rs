//! PostgreSQL's hash functions (`hashtext` and its kin): Bob Jenkins' lookup3, as `src/common/hashfn.c` initialises it.
//! They are part of what users write to divide rows, so they must give PostgreSQL's numbers, on little-endian machines.

use super::string::Str;
use super::{Kernel, Prim, build, unsupported};
use crate::value::strict_nulls;
use arrow::datatypes::{Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use hw_plan::Func;
use hw_repr::{Datum, SqlError, SqlType};
use std::sync::Arc;

/// What the three words begin as, before the length is added.
const START: u32 = 0x9e37_79b9_u32.wrapping_add(3_923_095);

struct Words {
    a: u32,
    b: u32,
    c: u32,
}

impl Words {
    fn new(len: usize, seed: u64) -> Words {
        let start = START.wrapping_add(len as u32);
        let mut words = Words { a: start, b: start, c: start };
        if seed != 0 {
            words.a = words.a.wrapping_add((seed >> 32) as u32);
            words.b = words.b.wrapping_add(seed as u32);
            words.mix();
        }
        words
    }

    fn mix(&mut self) {
        let Words { a, b, c } = self;
        for (x, y, z, bits) in [(0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4)] {
            let mut w = [*a, *b, *c];
            w[x] = w[x].wrapping_sub(w[y]) ^ w[y].rotate_left(bits);
            w[y] = w[y].wrapping_add(w[z]);
            [*a, *b, *c] = w;
        }
    }

    fn finish(&mut self) {
        let Words { a, b, c } = self;
        for (x, y, bits) in [(2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)] {
            let mut w = [*a, *b, *c];
            w[x] = (w[x] ^ w[y]).wrapping_sub(w[y].rotate_left(bits));
            [*a, *b, *c] = w;
        }
    }

    /// 64 bits; the low 32 are what the functions without a seed give where it is 0.
    fn result(&self) -> u64 {
        u64::from(self.b) << 32 | u64::from(self.c)
    }
}

/// Of bytes.
fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut words = Words::new(bytes.len(), seed);
    let word = |b: &[u8]| b.iter().rev().fold(0u32, |w, b| w << 8 | u32::from(*b));
    let (blocks, rest) = bytes.as_chunks::<12>();
    for block in blocks {
        words.a = words.a.wrapping_add(word(&block[..4]));
        words.b = words.b.wrapping_add(word(&block[4..8]));
        words.c = words.c.wrapping_add(word(&block[8..]));
        words.mix();
    }
    let part = |from: usize| word(&rest[from.min(rest.len())..(from + 4).min(rest.len())]);
    words.a = words.a.wrapping_add(part(0));
    words.b = words.b.wrapping_add(part(4));
    // The lowest byte of the last word is the length's.
    words.c = words.c.wrapping_add(part(8) << 8);
    words.finish();
    words.result()
}

/// Of 32 bits.
fn hash_word(value: u32, seed: u64) -> u64 {
    let mut words = Words::new(4, seed);
    words.a = words.a.wrapping_add(value);
    words.finish();
    words.result()
}

/// Of 64 bits: a value that fits 32 has the hash that it has there.
fn hash_long(value: i64, seed: u64) -> u64 {
    let high = (value >> 32) as u32;
    hash_word(value as u32 ^ if value >= 0 { high } else { !high }, seed)
}

fn hash_float(value: f64, seed: u64) -> u64 {
    match value {
        // Both zeros are equal, and so are all NaNs.
        0.0 => seed,
        v if v.is_nan() => hash_bytes(&f64::NAN.to_le_bytes(), seed),
        v => hash_bytes(&v.to_le_bytes(), seed),
    }
}

/// Of an element of an array; NULL counts as 0.
fn hash_datum(value: &Datum, of: SqlType) -> Result<u32, SqlError> {
    Ok(match value {
        Datum::Null => 0,
        Datum::Int2(v) => hash_word(i32::from(*v) as u32, 0) as u32,
        Datum::Int4(v) => hash_word(*v as u32, 0) as u32,
        Datum::Int8(v) => hash_long(*v, 0) as u32,
        Datum::Bool(v) => hash_word(u32::from(*v), 0) as u32,
        Datum::Date(v) => hash_word(v.wrapping_sub(DAYS_TO_2000) as u32, 0) as u32,
        Datum::Float4(v) | Datum::Float8(v) => hash_float(v.0, 0) as u32,
        Datum::Text(v) if !matches!(of, SqlType::Char(_)) => hash_bytes(v.as_bytes(), 0) as u32,
        Datum::Bytea(v) => hash_bytes(v, 0) as u32,
        Datum::Uuid(v) => hash_bytes(v, 0) as u32,
        _ => return Err(unsupported(Func::HashArray, &[of])),
    })
}

/// Of an array, by its elements.
pub(super) fn array(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(Datum::Array(array)) = args.first() else { return Ok(Datum::Null) };
    let mut sum = 1u32;
    for value in &array.values {
        sum = sum.wrapping_mul(31).wrapping_add(hash_datum(value, array.element)?);
    }
    Ok(Datum::Int4(sum as i32))
}

/// From 1970 to PostgreSQL's first day.
const DAYS_TO_2000: i32 = 10_957;

/// Whether a function is one of [`kernel`]'s: none of them can fail.
pub(super) fn is_hash(func: Func) -> bool {
    use Func::*;
    matches!(func, HashInt2 | HashInt4 | HashInt8 | HashFloat4 | HashFloat8 | HashText)
        || matches!(func, HashInt4Extended | HashInt8Extended | HashTextExtended)
}

/// The kernel of a hash function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    /// Over a primitive column, without a seed or with one.
    macro_rules! number {
        ($ty:ty, $hash:expr) => {
            Box::new(move |args, rows| {
                let a = Prim::<$ty>::of(&args[0])?;
                Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| Ok($hash(a.get(i), 0) as i32))?))
            })
        };
        ($ty:ty, $hash:expr, seed) => {
            Box::new(move |args, rows| {
                let (a, seed) = (Prim::<$ty>::of(&args[0])?, Prim::<Int64Type>::of(&args[1])?);
                let f = |i| Ok($hash(a.get(i), seed.get(i) as u64) as i64);
                Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?))
            })
        };
    }
    Ok(match func {
        Func::HashInt2 => number!(Int16Type, |v: i16, s| hash_word(i32::from(v) as u32, s)),
        Func::HashInt4 => number!(Int32Type, |v: i32, s| hash_word(v as u32, s)),
        Func::HashInt8 => number!(Int64Type, hash_long),
        Func::HashFloat4 => number!(Float32Type, |v: f32, s| hash_float(f64::from(v), s)),
        Func::HashFloat8 => number!(Float64Type, hash_float),
        Func::HashInt4Extended => number!(Int32Type, |v: i32, s| hash_word(v as u32, s), seed),
        Func::HashInt8Extended => number!(Int64Type, hash_long, seed),
        Func::HashText => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            let f = |i| Ok(hash_bytes(a.get(i).as_bytes(), 0) as i32);
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        Func::HashTextExtended => Box::new(|args, rows| {
            let (a, seed) = (Str::of(&args[0])?, Prim::<Int64Type>::of(&args[1])?);
            let f = |i| Ok(hash_bytes(a.get(i).as_bytes(), seed.get(i) as u64) as i64);
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?))
        }),
        _ => return Err(unsupported(func, types)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::ArrayValue;

    /// What a PostgreSQL 15 answers.
    #[test]
    fn hashes_are_those_of_postgresql() {
        let text = |t: &str| hash_bytes(t.as_bytes(), 0) as i32;
        let texts = ["", "a", "hello world!", "żółw 0123456789 abcdefghij"];
        assert_eq!(texts.map(text), [-1_477_818_771, 1_075_015_857, 1_400_155_871, -2_004_741_756]);
        let word = |v: i32| hash_word(v as u32, 0) as i32;
        assert_eq!([-7, 5, -5].map(word), [-82_204_417, -1_330_264_708, 1_412_886_042]);
        let long = |v: i64| hash_long(v, 0) as i32;
        assert_eq!([5, -5, 5_000_000_000].map(long), [-1_330_264_708, 1_412_886_042, -694_934_712]);
        let float = |v: f64| hash_float(v, 0) as i32;
        assert_eq!([0.0, -0.0, 1.5, f64::NAN].map(float), [0, 0, 630_860_146, -1_275_764_840]);
        let array = |element, values: &[Datum]| {
            let array = ArrayValue::from_values(element, values.to_vec());
            super::array(&[Datum::Array(Box::new(array))], SqlType::Int4).expect("a hash")
        };
        let three = [Datum::Int4(1), Datum::Null, Datum::Int4(3)];
        assert_eq!(array(SqlType::Int4, &three[..1]), Datum::Int4(-1_905_059_995));
        assert_eq!(array(SqlType::Int4, &three), Datum::Int4(-1_134_681_668));
        assert_eq!(array(SqlType::Int4, &[]), Datum::Int4(1));
        assert_eq!(array(SqlType::Bool, &[Datum::Bool(true)]), Datum::Int4(-1_905_059_995));
        let words = ["a", "b"].map(|t| Datum::Text(t.into()));
        assert_eq!(array(SqlType::Text, &words), Datum::Int4(-1_103_066_928));
        let day = hw_repr::text::parse(SqlType::Date, "2020-01-01").expect("a date");
        assert_eq!(array(SqlType::Date, &[day]), Datum::Int4(462_473_195));
        assert_eq!(hash_bytes(b"a", 0) as i64, 3_591_986_179_850_072_241);
        assert_eq!(hash_bytes(b"hello world!", 42) as i64, 2_479_580_040_493_412_857);
        assert_eq!(hash_word(5, 7) as i64, 4_071_939_759_346_363_661);
        assert_eq!(hash_long(-5, -1i64 as u64) as i64, 248_623_639_600_507_184);
    }
}

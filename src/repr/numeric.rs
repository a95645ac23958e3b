//! Bare `numeric`: every value with its own display scale, NaN and the infinities.
//!
//! Owns the arithmetic with PostgreSQL's result scales, rounding and casts, and the ordered bytes by which a bare
//! numeric travels in Arrow: a comparable part (equal for 1.0 and 1.00, prefix-free, `memcmp` order is value order),
//! then a print tail, the scale. Text is in [`crate::numeric::Numeric::parse`] and `Display`; roots, logarithms and
//! powers are in [`math`], greatest common divisors and the like in [`integer`].
//!
//! Invariant: a value that fits [`Numeric::Small`] is never a [`Numeric::Big`], so `==` compares values and scales.
//! Beyond 131,072 digits before the point and 16,383 after it there is nothing: `22003`, as in PostgreSQL.

use crate::error::{SqlError, SqlState};
use arrow::datatypes::i256;
use num_bigint::BigInt;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

mod big;
mod bytes;
pub mod integer;
pub mod math;
mod parse;
mod serial;

pub use big::Big;

/// Most digits of the small form, and of a `numeric(p,s)`.
pub const DIGITS_MAX: u8 = 38;
/// Most digits before the point.
pub const WHOLE_DIGITS_MAX: u64 = 131_072;
/// Most digits after the point.
pub const SCALE_MAX: u32 = 16_383;
/// Most digits after the point that a quotient, root or logarithm is given (`NUMERIC_MAX_DISPLAY_SCALE`).
const DISPLAY_SCALE_MAX: u32 = 1_000;
/// Rounding reaches no further than this from the point (`NUMERIC_MAX_RESULT_SCALE`).
const ROUND_MAX: i32 = 2_000;
/// PostgreSQL's `NUMERIC_MIN_SIG_DIGITS`: what a quotient has at least.
const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// PostgreSQL's `DEC_DIGITS`: decimal digits in one digit of base 10,000.
const BASE_DIGITS: i32 = 4;
/// The greatest unscaled value of the small form.
pub const VALUE_MAX: i128 = 10i128.pow(38) - 1;

/// 1.0 and 1.00 are equal as SQL values but print differently; `==` tells them apart, [`Numeric::cmp_value`] does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Numeric {
    /// `value * 10^-scale`, at most 38 digits, at most 38 of them after the point: the common case, without heap.
    Small {
        /// Unscaled digits.
        value: i128,
        /// Digits after the point.
        scale: u8,
    },
    /// Every other number.
    Big(Box<Big>),
    /// Not a number: equal to itself and greater than everything else.
    NaN,
    /// Greater than every number.
    Infinity,
    /// Less than every number.
    NegInfinity,
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value overflows numeric format")
}

/// `22012`, as PostgreSQL words it.
fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// `10^n` for `n <= 38`.
fn pow10(n: u32) -> i128 {
    debug_assert!(n <= 38);
    10i128.pow(n)
}

fn wide(v: i128) -> i256 {
    i256::from_i128(v)
}

/// `v * 10^n` for `n <= 38`: never overflows 256 bits.
fn scaled_up(v: i128, n: u32) -> i256 {
    wide(v).wrapping_mul(wide(pow10(n)))
}

/// `n / d`, half away from zero. `d` is not zero.
fn div_round(n: i256, d: i256) -> i256 {
    let quotient = n.wrapping_div(d);
    let rest = n.wrapping_rem(d).wrapping_abs();
    let up = rest >= d.wrapping_abs().wrapping_sub(rest);
    match (up, n.is_negative() != d.is_negative()) {
        (false, _) => quotient,
        (true, false) => quotient.wrapping_add(i256::ONE),
        (true, true) => quotient.wrapping_sub(i256::ONE),
    }
}

/// How digits below a scale are dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Half away from zero.
    Round,
    /// Toward zero.
    Trunc,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

impl Numeric {
    /// Zero without decimals.
    pub const ZERO: Numeric = Numeric::Small { value: 0, scale: 0 };

    /// `value * 10^-scale`. Precondition: both fit the small form.
    #[inline]
    pub const fn small(value: i128, scale: u8) -> Numeric {
        debug_assert!(value <= VALUE_MAX && value >= -VALUE_MAX && scale <= DIGITS_MAX);
        Numeric::Small { value, scale }
    }

    /// `value * 10^-scale`; `22003` beyond the bounds of numeric.
    #[inline]
    pub fn new(value: i128, scale: u32) -> Result<Numeric, SqlError> {
        if value.unsigned_abs() <= VALUE_MAX as u128 && scale <= DIGITS_MAX.into() {
            return Ok(Numeric::Small { value, scale: scale as u8 });
        }
        Big::numeric(BigInt::from(value), scale)
    }

    /// `value * 10^-scale`; `22003` beyond the bounds of numeric.
    pub fn from_i256(value: i256, scale: u32) -> Result<Numeric, SqlError> {
        match value.to_i128() {
            Some(value) => Numeric::new(value, scale),
            None => Big::numeric(BigInt::from_signed_bytes_le(&value.to_le_bytes()), scale),
        }
    }

    /// `value * 10^-scale`; `22003` beyond the bounds of numeric.
    pub fn from_bigint(value: BigInt, scale: u32) -> Result<Numeric, SqlError> {
        Big::numeric(value, scale)
    }

    /// Unscaled digits and scale; `None` for NaN and the infinities.
    pub fn to_bigint(&self) -> Option<(BigInt, u32)> {
        match self {
            Numeric::Small { value, scale } => Some((BigInt::from(*value), (*scale).into())),
            Numeric::Big(b) => Some((b.value.clone(), b.scale.into())),
            _ => None,
        }
    }

    /// PostgreSQL's input function.
    pub fn parse(s: &str) -> Result<Numeric, SqlError> {
        parse::parse(s)
    }

    /// An integer, scale 0.
    #[inline]
    pub const fn from_i64(v: i64) -> Numeric {
        Numeric::Small { value: v as i128, scale: 0 }
    }

    /// An integer, scale 0.
    pub fn from_i128(v: i128) -> Numeric {
        match v.unsigned_abs() <= VALUE_MAX as u128 {
            true => Numeric::Small { value: v, scale: 0 },
            false => Numeric::Big(Box::new(Big { value: BigInt::from(v), scale: 0 })),
        }
    }

    /// PostgreSQL's cast from double precision: 15 significant digits.
    pub fn from_f64(v: f64) -> Result<Numeric, SqlError> {
        parse::from_float(v, 15)
    }

    /// PostgreSQL's cast from real: 6 significant digits.
    pub fn from_f32(v: f32) -> Result<Numeric, SqlError> {
        parse::from_float(v.into(), 6)
    }

    /// The nearest double; an infinity beyond its range.
    pub fn to_f64(&self) -> f64 {
        match self {
            // Both operands are exact below these bounds, so one division rounds once.
            Numeric::Small { value, scale } if value.unsigned_abs() < 1 << 53 && *scale <= 22 => {
                *value as f64 / 10f64.powi((*scale).into())
            }
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegInfinity => f64::NEG_INFINITY,
            _ => self.to_string().parse().expect("a number's text is a number"),
        }
    }

    /// PostgreSQL's cast to bigint: rounded; `22003` when out of range, `0A000` for NaN and the infinities.
    pub fn to_i64(&self) -> Result<i64, SqlError> {
        self.to_integer("bigint")
    }

    /// The cast to the integer type of this name.
    pub fn to_integer<T: TryFrom<i128>>(&self, ty: &str) -> Result<T, SqlError> {
        let out_of_range = || SqlError::new(SqlState::OUT_OF_RANGE, format!("{ty} out of range"));
        match self {
            Numeric::NaN => Err(SqlError::unsupported(format!("cannot convert NaN to {ty}"))),
            Numeric::Infinity | Numeric::NegInfinity => {
                Err(SqlError::unsupported(format!("cannot convert infinity to {ty}")))
            }
            _ => match self.round(0)? {
                Numeric::Small { value, .. } => T::try_from(value).map_err(|_| out_of_range()),
                _ => Err(out_of_range()),
            },
        }
    }

    /// Digits after the point; none for NaN and the infinities.
    #[inline]
    pub fn scale(&self) -> Option<u32> {
        match self {
            Numeric::Small { scale, .. } => Some((*scale).into()),
            Numeric::Big(b) => Some(b.scale.into()),
            _ => None,
        }
    }

    /// NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self, Numeric::NaN)
    }

    /// Neither NaN nor an infinity.
    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Small { .. } | Numeric::Big(_))
    }

    /// Zero, of any scale.
    pub fn is_zero(&self) -> bool {
        self.is_finite() && self.signum() == 0
    }

    /// Compares by value: 1.0 equals 1.00, NaN equals NaN and is the greatest.
    pub fn cmp_value(&self, other: &Numeric) -> Ordering {
        use Numeric::Small;
        match (self, other) {
            (Small { value: a, scale: s }, Small { value: b, scale: t }) => match s.cmp(t) {
                Ordering::Equal => a.cmp(b),
                Ordering::Less => scaled_up(*a, (t - s).into()).cmp(&wide(*b)),
                Ordering::Greater => wide(*a).cmp(&scaled_up(*b, (s - t).into())),
            },
            _ => big::cmp(self, other),
        }
    }

    /// Sum, at the greater scale.
    #[inline]
    pub fn add(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        let (Numeric::Small { value: a, scale: s }, Numeric::Small { value: b, scale: t }) = (self, other) else {
            return big::add(self, other);
        };
        if s == t
            && let Some(sum) = a.checked_add(*b)
        {
            return Numeric::new(sum, (*s).into());
        }
        let scale = *s.max(t);
        let sum = scaled_up(*a, (scale - s).into()).wrapping_add(scaled_up(*b, (scale - t).into()));
        Numeric::from_i256(sum, scale.into())
    }

    /// Difference, at the greater scale.
    #[inline]
    pub fn sub(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        self.add(&other.neg())
    }

    /// Product: the sum of both scales, exact up to 16,383 digits after the point.
    #[inline]
    pub fn mul(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        let (Numeric::Small { value: a, scale: s }, Numeric::Small { value: b, scale: t }) = (self, other) else {
            return big::mul(self, other);
        };
        let scale = u32::from(*s) + u32::from(*t);
        match a.checked_mul(*b) {
            Some(product) => Numeric::new(product, scale),
            None => Numeric::from_i256(wide(*a).wrapping_mul(wide(*b)), scale),
        }
    }

    /// Quotient, half away from zero, at PostgreSQL's `select_div_scale`: at least 16 significant digits, counted in
    /// whole digits of base 10,000, and no fewer decimals than either operand.
    pub fn div(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        let (Numeric::Small { value: a, scale: s }, Numeric::Small { value: b, scale: t }) = (self, other) else {
            return big::div(self, other);
        };
        if *b == 0 {
            return Err(division_by_zero());
        }
        let scale = div_scale(self, other);
        // The scale is no less than ours, so the dividend is only ever scaled up.
        let mut up = scale + u32::from(*t) - u32::from(*s);
        let divisor = wide(*b);
        let mut quotient = i256::ZERO;
        let mut rest = wide(*a);
        loop {
            let step = up.min(38);
            let dividend = rest.wrapping_mul(wide(pow10(step)));
            let Some(shifted) = quotient.checked_mul(wide(pow10(step))) else { return big::div(self, other) };
            up -= step;
            if up == 0 {
                return match shifted.checked_add(div_round(dividend, divisor)) {
                    Some(quotient) => Numeric::from_i256(quotient, scale),
                    None => big::div(self, other),
                };
            }
            quotient = match shifted.checked_add(dividend.wrapping_div(divisor)) {
                Some(quotient) => quotient,
                None => return big::div(self, other),
            };
            rest = dividend.wrapping_rem(divisor);
        }
    }

    /// Remainder of the truncated quotient, at the greater scale; takes the sign of the dividend.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        match self.aligned(other) {
            Some((_, b, _)) if b == i256::ZERO => Err(division_by_zero()),
            Some((a, b, scale)) => Numeric::from_i256(a.wrapping_rem(b), scale),
            None => big::rem(self, other),
        }
    }

    /// The quotient without its fraction (PostgreSQL's `div`), scale 0.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        match self.aligned(other) {
            Some((_, b, _)) if b == i256::ZERO => Err(division_by_zero()),
            Some((a, b, _)) => Numeric::from_i256(a.wrapping_div(b), 0),
            None => big::div_trunc(self, other),
        }
    }

    /// Both unscaled values at the greater scale, where both are small.
    fn aligned(&self, other: &Numeric) -> Option<(i256, i256, u32)> {
        let (Numeric::Small { value: a, scale: s }, Numeric::Small { value: b, scale: t }) = (self, other) else {
            return None;
        };
        let scale = *s.max(t);
        Some((scaled_up(*a, (scale - s).into()), scaled_up(*b, (scale - t).into()), scale.into()))
    }

    /// The negated value.
    #[inline]
    pub fn neg(&self) -> Numeric {
        match self {
            Numeric::Small { value, scale } => Numeric::Small { value: -value, scale: *scale },
            Numeric::Big(b) => Numeric::Big(Box::new(Big { value: -&b.value, scale: b.scale })),
            Numeric::NaN => Numeric::NaN,
            Numeric::Infinity => Numeric::NegInfinity,
            Numeric::NegInfinity => Numeric::Infinity,
        }
    }

    /// The absolute value.
    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.neg() } else { self.clone() }
    }

    /// -1, 0 or 1; 0 for NaN.
    pub fn signum(&self) -> i32 {
        match self {
            Numeric::Small { value, .. } => value.signum() as i32,
            Numeric::Big(b) => big::signum(&b.value),
            Numeric::NaN => 0,
            Numeric::Infinity => 1,
            Numeric::NegInfinity => -1,
        }
    }

    /// Half away from zero at `scale` decimals, which is taken as no further than 2,000 from the point. A negative
    /// scale rounds left of the point and leaves scale 0.
    pub fn round(&self, scale: i32) -> Result<Numeric, SqlError> {
        self.rescale(scale.clamp(-ROUND_MAX, ROUND_MAX), Cut::Round)
    }

    /// Toward zero at `scale` decimals, with the bound of [`Numeric::round`].
    pub fn trunc(&self, scale: i32) -> Result<Numeric, SqlError> {
        self.rescale(scale.clamp(-ROUND_MAX, ROUND_MAX), Cut::Trunc)
    }

    /// Toward zero at `scale` decimals, without a bound but that of numeric.
    pub fn rescaled(&self, scale: u32) -> Result<Numeric, SqlError> {
        self.rescale(scale.min(SCALE_MAX + 1) as i32, Cut::Trunc)
    }

    /// The greatest integer not above.
    pub fn floor(&self) -> Result<Numeric, SqlError> {
        self.rescale(0, Cut::Floor)
    }

    /// The least integer not below.
    pub fn ceil(&self) -> Result<Numeric, SqlError> {
        self.rescale(0, Cut::Ceil)
    }

    /// Brings to `scale`: pads with zeros, or drops digits.
    fn rescale(&self, scale: i32, how: Cut) -> Result<Numeric, SqlError> {
        let Numeric::Small { value, scale: own } = self else { return big::rescale(self, scale, how) };
        let drop = i32::from(*own) - scale;
        if drop <= 0 {
            return match drop.unsigned_abs() {
                up @ 0..=38 => Numeric::from_i256(scaled_up(*value, up), scale as u32),
                _ => big::rescale(self, scale, how),
            };
        }
        if drop > DIGITS_MAX.into() {
            // Every digit goes, the first lies below half a unit.
            return match how {
                Cut::Round | Cut::Trunc => Ok(Numeric::ZERO),
                Cut::Floor | Cut::Ceil => big::rescale(self, scale, how),
            };
        }
        let unit = pow10(drop as u32);
        let kept = match how {
            Cut::Round => {
                let (quotient, rest) = (value / unit, (value % unit).abs());
                quotient + if rest >= unit - rest { value.signum() } else { 0 }
            }
            Cut::Trunc => value / unit,
            Cut::Floor => value.div_euclid(unit),
            Cut::Ceil => -(-value).div_euclid(unit),
        };
        match scale {
            0.. => Numeric::new(kept, scale as u32),
            -38..0 => Numeric::from_i256(scaled_up(kept, scale.unsigned_abs()), 0),
            _ => big::rescale(self, scale, how),
        }
    }

    /// PostgreSQL's cast to `numeric(precision, scale)`; `22003` when the integer part does not fit.
    pub fn cast(&self, precision: u8, scale: i8) -> Result<Numeric, SqlError> {
        let field = |detail: String| {
            SqlError::new(SqlState::OUT_OF_RANGE, "numeric field overflow")
                .detail(format!("A field with precision {precision}, scale {scale} {detail}"))
        };
        if self.is_nan() {
            return Ok(Numeric::NaN);
        }
        if !self.is_finite() {
            return Err(field("cannot hold an infinite value.".to_string()));
        }
        let bound = i32::from(precision) - i32::from(scale);
        let too_great = || {
            let bound = if bound == 0 { "1".to_string() } else { format!("10^{bound}") };
            field(format!("must round to an absolute value less than {bound}."))
        };
        let rounded = self.round(scale.into())?;
        let Numeric::Small { value, .. } = rounded else { return Err(too_great()) };
        let digits = i32::from(precision) - if scale < 0 { i32::from(scale) } else { 0 };
        if digits < 38 && value.unsigned_abs() >= pow10(digits.max(0) as u32) as u128 {
            return Err(too_great());
        }
        Ok(rounded)
    }

    /// As [`Numeric::cast`], for a precision up to 1000 and a scale from -1000 to 1000.
    pub fn limited(&self, precision: i32, scale: i32) -> Result<Numeric, SqlError> {
        let field = |detail: String| {
            SqlError::new(SqlState::OUT_OF_RANGE, "numeric field overflow")
                .detail(format!("A field with precision {precision}, scale {scale} {detail}"))
        };
        if self.is_nan() {
            return Ok(Numeric::NaN);
        }
        if !self.is_finite() {
            return Err(field("cannot hold an infinite value.".to_string()));
        }
        let rounded = self.round(scale)?;
        let bound = precision - scale;
        let ten = BigInt::from(10).pow(bound.unsigned_abs());
        let (value, digits) = rounded.to_bigint().ok_or_else(|| SqlError::internal("a finite number"))?;
        // value / 10^digits against 10^bound
        let unit = BigInt::from(10).pow(digits);
        let magnitude = if value < BigInt::from(0) { -value } else { value };
        let too_great = match bound {
            0.. => magnitude >= ten * unit,
            _ => magnitude * ten >= unit,
        };
        if too_great {
            let bound = if bound == 0 { "1".to_string() } else { format!("10^{bound}") };
            return Err(field(format!("must round to an absolute value less than {bound}.")));
        }
        Ok(rounded)
    }

    /// The unscaled value of a `Decimal128(precision, scale)`; `22003` as [`Numeric::cast`], `0A000` for NaN, which a
    /// fixed-point column does not hold.
    pub fn to_decimal(&self, precision: u8, scale: i8) -> Result<i128, SqlError> {
        match self.cast(precision, scale)? {
            Numeric::Small { value, .. } if scale < 0 => Ok(value / pow10(scale.unsigned_abs().into())),
            Numeric::Small { value, .. } => Ok(value),
            _ => Err(SqlError::unsupported(format!("NaN of type numeric({precision},{scale}) is not supported"))
                .hint("Use numeric without a precision.")),
        }
    }

    /// From the unscaled value of a `Decimal128(_, scale)`.
    #[inline]
    pub fn from_decimal(value: i128, scale: i8) -> Result<Numeric, SqlError> {
        match u8::try_from(scale) {
            Ok(scale) => Numeric::new(value, scale.into()),
            Err(_) => Numeric::from_i256(scaled_up(value, u32::from(scale.unsigned_abs()).min(38)), 0),
        }
    }

    /// The same value with the least scale: trailing zeros after the point dropped.
    pub fn normalize(&self) -> Numeric {
        match self {
            Numeric::Small { value, scale } => {
                let (mut value, mut scale) = (*value, *scale);
                while scale > 0 && value % 10 == 0 {
                    value /= 10;
                    scale -= 1;
                }
                Numeric::Small { value, scale }
            }
            _ => big::normalize(self),
        }
    }

    /// The ordered bytes: comparable part, then the print tail.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        self.write_bytes(&mut out);
        out
    }

    /// Appends the ordered bytes.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        bytes::write_comparable(self, out);
        bytes::write_tail(self.scale().unwrap_or(0), out);
    }

    /// Appends the comparable part, then the least scale as print tail: equal values give equal bytes.
    pub fn write_key_bytes(&self, out: &mut Vec<u8>) {
        let start = out.len();
        bytes::write_comparable(self, out);
        let scale = bytes::least_scale(&out[start..]);
        bytes::write_tail(scale, out);
    }

    /// From ordered bytes and nothing after them; `XX001` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Numeric, SqlError> {
        if whole_len(bytes) != bytes.len() {
            return Err(bytes::damaged());
        }
        bytes::read(bytes)
    }
}

/// Bytes of the comparable part at the start of `bytes`, without the print tail. No more than `bytes.len()`.
pub fn key_len(bytes: &[u8]) -> usize {
    bytes::key_len(bytes)
}

/// Bytes of the comparable part and the print tail at the start of `bytes`; more than there are where it is cut short.
pub fn whole_len(bytes: &[u8]) -> usize {
    let key = bytes::key_len(bytes);
    key + bytes.get(key).map_or(1, |tail| bytes::tail_len(*tail))
}

/// Appends the least print tail of a value by its comparable part, `key`.
pub fn write_least_tail(key: &[u8], out: &mut Vec<u8>) {
    bytes::write_tail(bytes::least_scale(key), out);
}

/// PostgreSQL's `select_div_scale`. Both are finite.
fn div_scale(a: &Numeric, b: &Numeric) -> u32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (leading_digit(a), leading_digit(b));
    let weight = weight_a - weight_b - i32::from(first_a <= first_b);
    let scale = MIN_SIGNIFICANT_DIGITS - weight * BASE_DIGITS;
    let least = a.scale().max(b.scale()).unwrap_or(0);
    (scale.max(0) as u32).max(least).min(DISPLAY_SCALE_MAX)
}

/// The first non-zero digit in base 10,000 and its weight; zero gives (0, 0).
fn leading_digit(n: &Numeric) -> (i32, u64) {
    let Numeric::Small { value, scale } = n else {
        return big::leading_digits(n).map_or((0, 0), |(weight, first, _)| (weight, first));
    };
    let value = value.unsigned_abs();
    let Some(log) = value.checked_ilog10() else { return (0, 0) };
    let weight = (log as i32 - i32::from(*scale)).div_euclid(BASE_DIGITS);
    // The digit spans the decimal positions 4 * weight and up: shift the value there.
    let shift = i32::from(*scale) + weight * BASE_DIGITS;
    let first = if shift >= 0 { value / 10u128.pow(shift as u32) } else { value * 10u128.pow(-shift as u32) };
    (weight, first as u64)
}

impl FromStr for Numeric {
    type Err = SqlError;
    fn from_str(s: &str) -> Result<Self, SqlError> {
        Numeric::parse(s)
    }
}

/// PostgreSQL's output function.
impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, scale) = match self {
            Numeric::Small { value, scale } => (*value, *scale),
            Numeric::Big(b) => return b.fmt(f),
            Numeric::NaN => return f.write_str("NaN"),
            Numeric::Infinity => return f.write_str("Infinity"),
            Numeric::NegInfinity => return f.write_str("-Infinity"),
        };
        let sign = if value < 0 { "-" } else { "" };
        let magnitude = value.unsigned_abs();
        if scale == 0 {
            return write!(f, "{sign}{magnitude}");
        }
        let unit = 10u128.pow(scale.into());
        let width = usize::from(scale);
        write!(f, "{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
    }
}

#[cfg(test)]
mod tests;

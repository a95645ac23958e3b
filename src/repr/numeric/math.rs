//! Roots, exponentials, logarithms and powers, with PostgreSQL's result scales.
//!
//! Values are computed in fixed point with more digits than are shown, then rounded once, half away from zero.

use super::big::{count_digits, divide_round, leading_digits, power_of_ten, signum};
use super::{Big, DISPLAY_SCALE_MAX, MIN_SIGNIFICANT_DIGITS, Numeric, ROUND_MAX, WHOLE_DIGITS_MAX, overflow};
use crate::error::{SqlError, SqlState};
use num_bigint::{BigInt, Sign};

/// log10(e), as many digits as the choice of scales depends on.
#[expect(clippy::approx_constant, reason = "the digits that PostgreSQL chooses scales by")]
const LOG10_E: f64 = 0.434294481903252;
/// Beyond this nothing is exponentiated.
const EXPONENT_MAX: f64 = 3.0 * ROUND_MAX as f64;
/// How often a logarithm's argument is brought closer to 1 by a square root.
const ROOTS: u32 = 8;

/// `2201F`
pub fn power_error(message: &str) -> SqlError {
    SqlError::new(SqlState::new("2201F"), message)
}

/// `2201E`
pub fn log_error(message: &str) -> SqlError {
    SqlError::new(SqlState::new("2201E"), message)
}

/// `2201F`: a power that is no real number.
pub fn complex_error() -> SqlError {
    power_error("a negative number raised to a non-integer power yields a complex result")
}

/// `2201F`: a pole.
pub fn zero_power_error() -> SqlError {
    power_error("zero raised to a negative power is undefined")
}

/// At least `least` and what the operands show, at most what is displayed.
fn result_scale(least: i32, operands: &[&Numeric]) -> u32 {
    let shown = operands.iter().filter_map(|n| n.scale()).max().unwrap_or(0);
    (least.max(0) as u32).max(shown).min(DISPLAY_SCALE_MAX)
}

/// `value * 10^-from` rounded to `to` decimals.
fn rounded(value: BigInt, from: u32, to: u32) -> Result<Numeric, SqlError> {
    match from.checked_sub(to) {
        Some(drop) => Big::numeric(divide_round(&value, &power_of_ten(drop)), to),
        None => Big::numeric(value * power_of_ten(to - from), to),
    }
}

/// `v * 10^digits`, rounded to an integer. `v` is finite.
fn fixed(v: &Numeric, digits: u32) -> BigInt {
    let (value, scale) = v.to_bigint().unwrap_or_default();
    match digits.checked_sub(scale) {
        Some(up) => value * power_of_ten(up),
        None => divide_round(&value, &power_of_ten(scale - digits)),
    }
}

/// The square root, to at least 16 significant digits; `2201F` of a negative number.
pub fn sqrt(v: &Numeric) -> Result<Numeric, SqlError> {
    if v.signum() < 0 {
        return Err(power_error("cannot take square root of a negative number"));
    }
    let Some((value, own)) = v.to_bigint() else { return Ok(v.clone()) };
    let weight = leading_digits(v).map_or(0, |(weight, ..)| weight);
    let scale = result_scale(MIN_SIGNIFICANT_DIGITS - ((weight + 1) * 4 / 2 - 1), &[v]);
    let radicand = match (2 * scale).checked_sub(own) {
        Some(up) => value * power_of_ten(up),
        None => value / power_of_ten(own - 2 * scale),
    };
    let root = radicand.sqrt();
    let rest = radicand - &root * &root;
    // (root + 1/2)^2 is root^2 + root + 1/4.
    Big::numeric(if rest > root { root + 1 } else { root }, scale)
}

/// `e^v`; `22003` where that is too great.
pub fn exp(v: &Numeric) -> Result<Numeric, SqlError> {
    match v {
        Numeric::NegInfinity => return Ok(Numeric::ZERO),
        Numeric::NaN | Numeric::Infinity => return Ok(v.clone()),
        _ => {}
    }
    let weight = (v.to_f64() * LOG10_E).clamp(-f64::from(ROUND_MAX), f64::from(ROUND_MAX));
    exp_at(v, result_scale(MIN_SIGNIFICANT_DIGITS - weight as i32, &[v]))
}

fn exp_at(v: &Numeric, scale: u32) -> Result<Numeric, SqlError> {
    let approximate = v.to_f64();
    if approximate >= EXPONENT_MAX {
        return Err(overflow());
    }
    if approximate <= -EXPONENT_MAX {
        return Big::numeric(BigInt::ZERO, scale);
    }
    let digits = scale + (approximate * LOG10_E).max(0.0) as u32 + 20;
    let one = power_of_ten(digits);
    let x = fixed(v, digits);
    // e^x = (e^(x / 2^halvings))^(2^halvings)
    let halvings = ((&x / &one).magnitude().bits() + 8) as u32;
    let reduced = x >> halvings;
    let (mut sum, mut term, mut k) = (one.clone(), one.clone(), 1u32);
    while term.sign() != Sign::NoSign {
        term = term * &reduced / (&one * k);
        // A division that rounds toward zero ends.
        sum += &term;
        k += 1;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    rounded(sum, digits, scale)
}

fn check_logarithm(v: &Numeric) -> Result<(), SqlError> {
    match v.signum() {
        0 if !v.is_nan() => Err(log_error("cannot take logarithm of zero")),
        ..0 => Err(log_error("cannot take logarithm of a negative number")),
        _ => Ok(()),
    }
}

/// The natural logarithm, to at least 16 significant digits; `2201E` where there is none.
pub fn ln(v: &Numeric) -> Result<Numeric, SqlError> {
    check_logarithm(v)?;
    if !v.is_finite() {
        return Ok(v.clone());
    }
    let scale = result_scale(MIN_SIGNIFICANT_DIGITS - ln_weight(v), &[v]);
    rounded(fixed_ln(v, scale + 8), scale + 8, scale)
}

/// The logarithm of `v` to `base`; `22012` for the base 1.
pub fn log(base: &Numeric, v: &Numeric) -> Result<Numeric, SqlError> {
    if base.is_nan() || v.is_nan() {
        return Ok(Numeric::NaN);
    }
    check_logarithm(base)?;
    check_logarithm(v)?;
    match (base.is_finite(), v.is_finite()) {
        (false, false) => return Ok(Numeric::NaN),
        (false, true) => return Ok(Numeric::ZERO),
        (true, false) => return Ok(Numeric::Infinity),
        (true, true) => {}
    }
    let (base_weight, weight) = (ln_weight(base), ln_weight(v));
    let scale = result_scale(MIN_SIGNIFICANT_DIGITS - (weight - base_weight), &[base, v]);
    let digits = scale + 15 + weight.max(0) as u32 + 2 * base_weight.unsigned_abs();
    let (n, d) = (fixed_ln(v, digits), fixed_ln(base, digits));
    if d.sign() == Sign::NoSign {
        return Err(super::division_by_zero());
    }
    Big::numeric(divide_round(&(n * power_of_ten(scale)), &d), scale)
}

/// About the decimal weight of the first digit of `ln(v)`; `v` is positive.
fn ln_weight(v: &Numeric) -> i32 {
    let (low, high) = (Numeric::small(9, 1), Numeric::small(11, 1));
    if v.cmp_value(&low).is_ge() && v.cmp_value(&high).is_le() {
        // ln(1 + x) is about x.
        let x = v.sub(&Numeric::from_i64(1)).unwrap_or(Numeric::ZERO);
        return leading_digits(&x).map_or(0, |(weight, first, _)| weight * 4 + (first as f64).log10() as i32);
    }
    let Some((weight, first, second)) = leading_digits(v) else { return 0 };
    let ln = ((first * 10_000 + second) as f64).ln() + f64::from((weight - 1) * 4) * std::f64::consts::LN_10;
    ln.abs().log10() as i32
}

/// `ln(v) * 10^digits` of a positive `v`.
fn fixed_ln(v: &Numeric, digits: u32) -> BigInt {
    let (value, scale) = v.to_bigint().unwrap_or_default();
    let work = digits + 15;
    // v = f * 10^exponent, f from 1/sqrt(10) to sqrt(10), so that nothing cancels out where v is about 1.
    let mut exponent = count_digits(value.magnitude()) as i64 - i64::from(scale);
    let leading = leading_digits(v).map_or(0, |(_, first, second)| first * 10_000 + second);
    let leading = leading as f64 / 10f64.powi(leading.max(1).ilog10() as i32 + 1);
    if leading < 0.316_227_766 {
        exponent -= 1;
    }
    let shift = i64::from(work) - i64::from(scale) - exponent;
    let f = match shift {
        0.. => value * power_of_ten(shift as u32),
        _ => divide_round(&value, &power_of_ten(shift.unsigned_abs() as u32)),
    };
    let mut ln = ln_near_one(f, work);
    if exponent != 0 {
        ln += ln_near_one(power_of_ten(work + 1), work) * exponent;
    }
    divide_round(&ln, &power_of_ten(work - digits))
}

/// `ln(f)`, both times `10^digits`.
fn ln_near_one(mut f: BigInt, digits: u32) -> BigInt {
    let one = power_of_ten(digits);
    for _ in 0..ROOTS {
        f = (f * &one).sqrt();
    }
    // ln(f) = 2 artanh((f - 1) / (f + 1))
    let z = (&f - &one) * &one / (&f + &one);
    let square = &z * &z / &one;
    let (mut sum, mut power, mut k) = (BigInt::ZERO, z, 1u32);
    while power.sign() != Sign::NoSign {
        sum += &power / k;
        power = power * &square / &one;
        k += 2;
    }
    sum << (ROOTS + 1)
}

/// `base^exponent` as POSIX's `pow` has it for NaN and the infinities; `2201F` where it is not defined.
pub fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric, SqlError> {
    if !base.is_finite() || !exponent.is_finite() {
        return special_power(base, exponent);
    }
    let whole = is_integer(exponent);
    if base.is_zero() && exponent.signum() < 0 {
        return Err(zero_power_error());
    }
    if base.signum() < 0 && !whole {
        return Err(complex_error());
    }
    if whole && let Ok(n) = exponent.to_integer::<i32>("integer") {
        return integer_power(base, n);
    }
    if base.is_zero() {
        return Numeric::new(0, MIN_SIGNIFICANT_DIGITS as u32);
    }
    let magnitude = real_power(&base.abs(), exponent)?;
    Ok(if base.signum() < 0 && is_odd(exponent) { magnitude.neg() } else { magnitude })
}

/// Without a fraction. NaN and the infinities are not.
pub(super) fn is_integer(v: &Numeric) -> bool {
    v.is_finite() && v.trunc(0).is_ok_and(|whole| whole.cmp_value(v).is_eq())
}

fn is_odd(v: &Numeric) -> bool {
    v.trunc(0).ok().and_then(|whole| whole.to_bigint()).is_some_and(|(value, _)| value.bit(0))
}

fn special_power(base: &Numeric, exponent: &Numeric) -> Result<Numeric, SqlError> {
    let one = Numeric::from_i64(1);
    if exponent.is_zero() || base.cmp_value(&one).is_eq() {
        return Ok(one);
    }
    if base.is_nan() || exponent.is_nan() {
        return Ok(Numeric::NaN);
    }
    if base.is_zero() && exponent.signum() < 0 {
        return Err(zero_power_error());
    }
    if !exponent.is_finite() {
        let order = base.abs().cmp_value(&one);
        return Ok(match (order.is_eq(), order.is_gt() == (exponent.signum() > 0)) {
            (true, _) => one,
            (false, true) => Numeric::Infinity,
            (false, false) => Numeric::ZERO,
        });
    }
    if base.signum() < 0 && !is_integer(exponent) {
        return Err(complex_error());
    }
    Ok(match exponent.signum() {
        ..=0 => Numeric::ZERO,
        _ if base.signum() < 0 && is_odd(exponent) => Numeric::NegInfinity,
        _ => Numeric::Infinity,
    })
}

/// log10 of a magnitude other than zero, good to 15 digits.
fn log10(value: &BigInt, scale: u32) -> f64 {
    let digits = count_digits(value.magnitude());
    let drop = digits.saturating_sub(18) as u32;
    let head = value.magnitude() / power_of_ten(drop).magnitude();
    let head = u64::try_from(head).unwrap_or(u64::MAX) as f64;
    head.log10() + f64::from(drop) - f64::from(scale)
}

/// A power of a finite number, at 16 decimals or those of the base.
fn integer_power(base: &Numeric, exponent: i32) -> Result<Numeric, SqlError> {
    let scale = result_scale(MIN_SIGNIFICANT_DIGITS, &[base]);
    let (value, own) = base.to_bigint().unwrap_or_default();
    if exponent == 0 {
        return Numeric::new(1, 0)?.rescale(scale as i32, super::Cut::Round);
    }
    if signum(&value) == 0 {
        return Big::numeric(BigInt::ZERO, scale);
    }
    let weight = f64::from(exponent) * log10(&value, own);
    if weight > WHOLE_DIGITS_MAX as f64 + 1.0 {
        return Err(overflow());
    }
    if weight < -f64::from(scale) - 2.0 {
        return Big::numeric(BigInt::ZERO, scale);
    }
    // Every multiplication may lose half a unit of the last digit kept, and the exponent multiplies that.
    let kept = weight.max(0.0) as u64 + u64::from(scale) + 25;
    let times = exponent.unsigned_abs();
    let mut result = Floating { mantissa: BigInt::from(1), exponent: 0 };
    let square = Floating { mantissa: value, exponent: -i64::from(own) };
    for bit in (0..32 - times.leading_zeros()).rev() {
        result = result.times(&result.clone(), kept);
        if times >> bit & 1 == 1 {
            result = result.times(&square, kept);
        }
    }
    if exponent < 0 {
        let shift = i64::from(scale) - result.exponent;
        return match shift {
            0.. => Big::numeric(divide_round(&power_of_ten(shift as u32), &result.mantissa), scale),
            _ => Big::numeric(BigInt::ZERO, scale),
        };
    }
    match result.exponent {
        0.. => rounded(result.mantissa * power_of_ten(result.exponent as u32), 0, scale),
        _ => rounded(result.mantissa, result.exponent.unsigned_abs() as u32, scale),
    }
}

/// `mantissa * 10^exponent`
#[derive(Clone)]
struct Floating {
    mantissa: BigInt,
    exponent: i64,
}

impl Floating {
    /// The product, of which no more than about `kept` digits are.
    fn times(&self, other: &Floating, kept: u64) -> Floating {
        let mut mantissa = &self.mantissa * &other.mantissa;
        let mut exponent = self.exponent + other.exponent;
        // Digits from the number of bits: at most one too many is dropped.
        let digits = (mantissa.bits() as f64 * std::f64::consts::LOG10_2) as u64;
        if let Some(drop) = digits.checked_sub(kept)
            && drop > 0
        {
            mantissa = divide_round(&mantissa, &power_of_ten(drop as u32));
            exponent += drop as i64;
        }
        Floating { mantissa, exponent }
    }
}

/// `base^exponent` of a positive base by its logarithm.
fn real_power(base: &Numeric, exponent: &Numeric) -> Result<Numeric, SqlError> {
    // Eight digits choose the scale.
    let rough = (8 - ln_weight(base)).max(0) as u32;
    let logarithm = |digits: u32| -> Result<Numeric, SqlError> {
        let (e, scale) = exponent.to_bigint().unwrap_or_default();
        rounded(fixed_ln(base, digits) * e, digits + scale, digits)
    };
    let approximate = logarithm(rough)?.to_f64();
    if approximate.abs() > 3.01 * f64::from(ROUND_MAX) {
        return match approximate > 0.0 {
            true => Err(overflow()),
            false => Big::numeric(BigInt::ZERO, DISPLAY_SCALE_MAX),
        };
    }
    let weight = approximate * LOG10_E;
    let scale = result_scale(MIN_SIGNIFICANT_DIGITS - weight as i32, &[base, exponent]);
    // The exponent multiplies the error of the logarithm.
    let (e, exponent_scale) = exponent.to_bigint().unwrap_or_default();
    let whole = (count_digits(e.magnitude()) as u32).saturating_sub(exponent_scale);
    let digits = scale + weight.max(0.0) as u32 + whole + 15;
    exp_at(&logarithm(digits)?, scale)
}

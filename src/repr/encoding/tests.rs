//! Order, equality, round trips and the golden bytes. Values come from a seeded generator that is rich in near-misses.

use super::*;
use crate::array::ArrayValue;
use crate::datum::{Float, IntervalValue, datums_to_array};
use crate::numeric::Numeric;
use std::cmp::Ordering;

const TYPES: [SqlType; 17] = [
    SqlType::Bool,
    SqlType::Int2,
    SqlType::Int4,
    SqlType::Int8,
    SqlType::Float4,
    SqlType::Float8,
    SqlType::Numeric(Some((20, 3))),
    SqlType::Numeric(None),
    SqlType::Text,
    SqlType::Bytea,
    SqlType::Date,
    SqlType::Time,
    SqlType::Timestamp,
    SqlType::TimestampTz,
    SqlType::Interval,
    SqlType::Uuid,
    SqlType::Jsonb,
];

/// xorshift64*: the same values on every run.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
    fn int(&mut self) -> i64 {
        match self.below(4) {
            0 => [0, 1, -1, i64::MAX, i64::MIN, 255, 256, -256][self.below(8) as usize],
            1 => self.below(7) as i64 - 3,
            _ => self.next() as i64 >> self.below(64),
        }
    }
    fn float(&mut self) -> f64 {
        match self.below(3) {
            0 => {
                [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1.5][self.below(8) as usize]
            }
            1 => self.int() as f64 / 8.0,
            _ => f64::from_bits(self.next()),
        }
    }
    fn numeric(&mut self) -> Numeric {
        let digits = 10i128.pow(self.below(39) as u32);
        let value = (i128::from(self.next()) << 64 | i128::from(self.next())) % digits;
        let value = if self.below(3) == 0 { i128::from(self.below(300) as i64 - 150) * 10 } else { value };
        if self.below(4) == 0 {
            return self.great_numeric(value);
        }
        Numeric::small(value, self.below(39) as u8)
    }
    /// What is not of the small form.
    fn great_numeric(&mut self, value: i128) -> Numeric {
        match self.below(6) {
            0 => Numeric::NaN,
            1 => Numeric::Infinity,
            2 => Numeric::NegInfinity,
            3 => Numeric::parse(&format!("{value}{:0>40}e-{}", self.next(), self.below(200))).expect("a numeric"),
            4 => Numeric::parse(&format!("{value}e{}", self.below(200))).expect("a numeric"),
            _ => Numeric::parse(&format!("{value}e-{}", self.below(200))).expect("a numeric"),
        }
    }
    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(12)).map(|_| [0, 0, 1, 97, 98, 255][self.below(6) as usize]).collect()
    }
    fn text(&mut self) -> String {
        (0..self.below(12)).map(|_| ['\0', '\u{1}', 'a', 'b', 'é', '😀'][self.below(6) as usize]).collect()
    }
    fn interval(&mut self) -> IntervalValue {
        let days = self.below(9) as i32 - 4;
        match self.below(2) {
            0 => IntervalValue {
                months: self.below(3) as i32 - 1,
                days: 30 * (days / 3),
                micros: 86_400_000_000 * i64::from(days % 3),
            },
            _ => IntervalValue { months: self.int() as i32, days: self.int() as i32, micros: self.int() / 1000 },
        }
    }
    fn datum(&mut self, ty: SqlType) -> Datum {
        if self.below(8) == 0 {
            return Datum::Null;
        }
        match ty {
            SqlType::Bool => Datum::Bool(self.below(2) == 0),
            SqlType::Int2 => Datum::Int2(self.int() as i16),
            SqlType::Int4 => Datum::Int4(self.int() as i32),
            SqlType::Int8 => Datum::Int8(self.int()),
            SqlType::Float4 => Datum::Float4(Float(f64::from(self.float() as f32))),
            SqlType::Float8 => Datum::Float8(Float(self.float())),
            SqlType::Numeric(Some((_, scale))) => Datum::Numeric(Numeric::small(self.int().into(), scale as u8)),
            SqlType::Numeric(None) => Datum::Numeric(self.numeric()),
            SqlType::Text | SqlType::Varchar(_) => Datum::Text(self.text()),
            SqlType::Bytea => Datum::Bytea(self.bytes()),
            SqlType::Date => Datum::Date(self.int() as i32),
            SqlType::Time => Datum::Time(self.int()),
            SqlType::Timestamp => Datum::Timestamp(self.int()),
            SqlType::TimestampTz => Datum::TimestampTz(self.int()),
            SqlType::Interval => Datum::Interval(self.interval()),
            SqlType::Uuid => Datum::Uuid((i128::from(self.next()) << 60).to_be_bytes()),
            SqlType::Jsonb => Datum::Jsonb(format!("{}", self.below(40))),
            SqlType::Array(element) => {
                let values = (0..self.below(4)).map(|_| self.datum(element.ty())).collect();
                Datum::Array(Box::new(ArrayValue::from_values(element.ty(), values)))
            }
            other => self.datum(other.carrier()),
        }
    }
}

fn float_cmp(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// PostgreSQL's order, NULLs last; jsonb as text.
fn postgres_cmp(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Null, _) | (_, Datum::Null) => a.is_null().cmp(&b.is_null()),
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b))
        | (Datum::Time(a), Datum::Time(b))
        | (Datum::Timestamp(a), Datum::Timestamp(b))
        | (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) | (Datum::Float8(a), Datum::Float8(b)) => float_cmp(a.0, b.0),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp_value(b),
        (Datum::Text(a), Datum::Text(b)) | (Datum::Jsonb(a), Datum::Jsonb(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Interval(a), Datum::Interval(b)) => a.total_micros().cmp(&b.total_micros()),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Array(a), Datum::Array(b)) => {
            let first = a.values.iter().zip(&b.values).map(|(a, b)| postgres_cmp(a, b)).find(|o| o.is_ne());
            first.unwrap_or_else(|| a.values.len().cmp(&b.values.len()))
        }
        _ => panic!("{a:?} and {b:?} are of two types"),
    }
}

fn encoded(codec: &RowCodec, row: &[Datum]) -> Vec<u8> {
    let mut out = vec![];
    codec.encode_datums(row, &mut out).expect("values of the types");
    out
}

/// Catches an encoding whose bytes sort or equal otherwise than the values do.
#[test]
fn order_and_equality_are_those_of_postgres() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for ty in TYPES {
        let codec = RowCodec::key(&[ty, SqlType::Int4]);
        for _ in 0..20_000 {
            let row = |r: &mut Random| [r.datum(ty), Datum::Int4(r.below(3) as i32)];
            let (a, b) = (row(&mut random), row(&mut random));
            let expected = postgres_cmp(&a[0], &b[0]).then_with(|| postgres_cmp(&a[1], &b[1]));
            assert_eq!(encoded(&codec, &a).cmp(&encoded(&codec, &b)), expected, "{a:?} against {b:?}");
        }
    }
}

/// Catches a column that does not come back as it was, or a row encoder that differs from the encoding of values.
#[test]
fn rows_come_back() {
    let mut random = Random(42);
    let codec = RowCodec::new(&TYPES);
    let rows: Vec<Vec<Datum>> = (0..2_000).map(|_| TYPES.iter().map(|t| random.datum(*t)).collect()).collect();
    let columns: Vec<ArrayRef> = TYPES
        .iter()
        .enumerate()
        .map(|(i, ty)| {
            let column: Vec<Datum> = rows.iter().map(|r| r[i].clone()).collect();
            datums_to_array(*ty, &column).expect("values of the types")
        })
        .collect();
    let (mut data, mut ends) = (vec![], vec![]);
    codec.encode_batch(&columns, 0..rows.len(), &mut data, &mut ends);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let encodings: Vec<&[u8]> = starts.zip(&ends).map(|(s, e)| &data[s as usize..*e as usize]).collect();
    for (row, bytes) in rows.iter().zip(&encodings) {
        assert_eq!(encoded(&codec, row), *bytes, "{row:?}");
        assert_eq!(codec.prefix_len(bytes, TYPES.len()), bytes.len());
        assert_eq!(encoded(&codec, &row[..5]).len(), codec.prefix_len(bytes, 5));
    }
    let decoded = codec.decode(&mut encodings.iter().copied()).expect("our own bytes");
    for (i, ty) in TYPES.iter().enumerate() {
        assert_eq!(decoded[i].data_type(), &ty.arrow());
        for (r, row) in rows.iter().enumerate() {
            let back = Datum::from_array(decoded[i].as_ref(), r, *ty).expect("a column of the type");
            let same = match (&row[i], &back) {
                (Datum::Float4(a), Datum::Float4(b)) | (Datum::Float8(a), Datum::Float8(b)) => {
                    // Zero keeps its sign.
                    float_cmp(a.0, b.0).is_eq() && (a.0.is_nan() || a.0.is_sign_negative() == b.0.is_sign_negative())
                }
                (a, b) => a == b,
            };
            assert!(same, "{:?} came back as {back:?}", row[i]);
        }
    }
    let some = codec.decode_columns(&mut encodings.iter().copied(), &[8, 2]).expect("our own bytes");
    assert_eq!([&some[0], &some[1]], [&decoded[8], &decoded[2]]);
}

/// Catches a panic, or an endless loop, on bytes cut short or flipped.
#[test]
fn damaged_bytes_are_errors() {
    let mut random = Random(7);
    let codec = RowCodec::new(&TYPES);
    for _ in 0..200 {
        let row: Vec<Datum> = TYPES.iter().map(|t| random.datum(*t)).collect();
        let bytes = encoded(&codec, &row);
        for end in 0..bytes.len() {
            assert!(codec.decode(&mut std::iter::once(&bytes[..end])).is_err(), "{row:?} cut at {end}");
        }
        let mut flipped = bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        flipped[at] ^= 1 << random.below(8);
        let _ = codec.decode_datums(&flipped);
        codec.prefix_len(&flipped, 99);
    }
}

/// Catches any change of the format: what is on disk must stay readable, or [`VERSION`] must rise.
#[test]
fn bytes_are_the_golden_ones() {
    let mut ours = format!("# Row encoding version {VERSION}: type, value, bytes, bytes in a key, vnode of these.\n");
    let samples: &[(SqlType, &[&str])] = &[
        (SqlType::Bool, &["f", "t"]),
        (SqlType::Int2, &["-32768", "-1", "0", "300"]),
        (SqlType::Int4, &["-1", "0", "70000"]),
        (SqlType::Int8, &["-9223372036854775808", "0", "5000000000"]),
        (SqlType::Float4, &["-1.5", "-0", "0", "1.5", "Infinity", "NaN"]),
        (SqlType::Float8, &["-Infinity", "-1.5", "-0", "0", "1.5", "NaN"]),
        (SqlType::Numeric(Some((10, 2))), &["-1.5", "0", "123.45"]),
        (SqlType::Numeric(None), &["-120", "-1.20", "0", "0.00", "0.001", "1.0", "1.00", "12345.6789"]),
        (SqlType::Text, &["", "a", "héllo"]),
        (SqlType::Bytea, &["\\x", "\\x00", "\\x610062"]),
        (SqlType::Date, &["1969-12-31", "2024-02-29"]),
        (SqlType::Time, &["00:00:00", "23:59:59.999999"]),
        (SqlType::Timestamp, &["2024-02-29 12:34:56.789"]),
        (SqlType::TimestampTz, &["2024-02-29 12:34:56.789+00"]),
        (SqlType::Interval, &["-1 mons", "1 day", "24:00:00", "1 mon -1 days +00:00:00.000001"]),
        (SqlType::Uuid, &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        (SqlType::Jsonb, &["{\"a\": 1}"]),
    ];
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (ty, values) in samples {
        let (rows, keys) = (RowCodec::new(&[*ty]), RowCodec::key(&[*ty]));
        let parsed = values.iter().map(|v| crate::text::parse(*ty, v).expect("a valid sample"));
        for datum in parsed.chain([Datum::Null]) {
            let (row, key) =
                (encoded(&rows, std::slice::from_ref(&datum)), encoded(&keys, std::slice::from_ref(&datum)));
            ours += &format!("{ty}\t{datum}\t{}\t{}\t{}\n", hex(&row), hex(&key), vnode(&key));
        }
    }
    // Asked at run time: one build directory may serve several checkouts.
    let path = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests") + "/golden/encoding.tsv";
    if std::env::var_os("HEADWATER_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &ours).expect("the golden file can be written");
    }
    assert_eq!(ours, std::fs::read_to_string(path).expect("the golden file is there"));
}

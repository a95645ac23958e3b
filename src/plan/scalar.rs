//! Scalar expressions over the columns of one relation.

use hw_repr::{Datum, SqlType};
use serde::{Deserialize, Serialize};

/// An expression whose functions and casts are already chosen and whose arguments already have the types these take:
/// nothing is coerced at run time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarExpr {
    /// Column `index` of the input.
    Column(usize, SqlType),
    /// A constant (`Datum::Null` has a type too).
    Literal(Datum, SqlType),
    /// A strict or non-strict function of its arguments; see [`Func`].
    Call {
        /// Which.
        func: Func,
        /// Arguments, of exactly the types the function takes.
        args: Vec<ScalarExpr>,
        /// Type of the result.
        ty: SqlType,
    },
    /// PostgreSQL's cast. Explicit casts truncate varchar(n); assignment casts raise 22001.
    Cast {
        /// What to cast.
        expr: Box<ScalarExpr>,
        /// To which type.
        to: SqlType,
        /// False for assignment casts.
        explicit: bool,
    },
    /// Three-valued AND. A later operand is evaluated only on rows that no earlier one made false.
    And(Vec<ScalarExpr>),
    /// Three-valued OR. A later operand is evaluated only on rows that no earlier one made true.
    Or(Vec<ScalarExpr>),
    /// Three-valued NOT.
    Not(Box<ScalarExpr>),
    /// `IS NULL`; never NULL itself.
    IsNull(Box<ScalarExpr>),
    /// `CASE WHEN c THEN r ... ELSE e END`, evaluated lazily per row.
    Case {
        /// (condition, result) pairs.
        branches: Vec<(ScalarExpr, ScalarExpr)>,
        /// ELSE, a NULL literal where absent.
        otherwise: Box<ScalarExpr>,
    },
    /// The first operand that is not NULL, evaluated lazily per row.
    Coalesce(Vec<ScalarExpr>),
}

macro_rules! funcs {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The closed set of scalar functions and operators. The argument types select the implementation
        /// (both arguments of an arithmetic or comparison operator have the same type unless said otherwise).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Func { $($(#[$doc])* $name,)* }
        impl Func {
            /// Every function.
            pub const ALL: &'static [Func] = &[$(Func::$name,)*];
            /// Its SQL name or operator, unique, used by EXPLAIN and fingerprints.
            pub fn name(&self) -> &'static str { match self { $(Func::$name => $text,)* } }
        }
    };
}
funcs! {
    /// `a + b`: int2/4/8, float4/8, numeric (both bare); also date + int4, timestamp[tz]/time + interval, interval + interval, date + interval (gives timestamp)
    Add = "+";
    /// `a - b`: as `+`; also date - date (int4), timestamp[tz] - same (interval), time - time (interval)
    Sub = "-";
    /// `a * b`; also interval * float8
    Mul = "*";
    /// `a / b`: 22012 on zero; also interval / float8
    Div = "/";
    /// `a % b`
    Mod = "%";
    /// `-a`
    Neg = "neg";
    /// `abs(a)`
    Abs = "abs";
    /// `a = b`
    Eq = "=";
    /// `a <> b`
    Ne = "<>";
    /// `a < b`
    Lt = "<";
    /// `a <= b`
    Le = "<=";
    /// `a > b`
    Gt = ">";
    /// `a >= b`
    Ge = ">=";
    /// `a IS NOT DISTINCT FROM b`
    NotDistinct = "is not distinct from";
    /// `a || b` on text, bytea or jsonb
    Concat = "||";
    /// `a LIKE b`, text
    Like = "like";
    /// `a ILIKE b`, text
    ILike = "ilike";
    /// `a ~ b`, text
    RegexMatch = "~";
    /// `a ~* b`, text
    RegexIMatch = "~*";
    // Arrays.
    /// `a = ANY (array)`
    AnyEq = "= any";
    /// `a <> ANY (array)`
    AnyNe = "<> any";
    /// `a < ANY (array)`
    AnyLt = "< any";
    /// `a <= ANY (array)`
    AnyLe = "<= any";
    /// `a > ANY (array)`
    AnyGt = "> any";
    /// `a >= ANY (array)`
    AnyGe = ">= any";
    /// `a like ANY (array)`
    AnyLike = "like any";
    /// `a ilike ANY (array)`
    AnyILike = "ilike any";
    /// `a ~ ANY (array)`
    AnyRegexMatch = "~ any";
    /// `a ~* ANY (array)`
    AnyRegexIMatch = "~* any";
    /// `a = ALL (array)`
    AllEq = "= all";
    /// `a <> ALL (array)`
    AllNe = "<> all";
    /// `a < ALL (array)`
    AllLt = "< all";
    /// `a <= ALL (array)`
    AllLe = "<= all";
    /// `a > ALL (array)`
    AllGt = "> all";
    /// `a >= ALL (array)`
    AllGe = ">= all";
    /// `a like ALL (array)`
    AllLike = "like all";
    /// `a ilike ALL (array)`
    AllILike = "ilike all";
    /// `a ~ ALL (array)`
    AllRegexMatch = "~ all";
    /// `a ~* ALL (array)`
    AllRegexIMatch = "~* all";
    /// `ARRAY[a, ...]`
    ArrayMake = "array of";
    /// `ARRAY[array, ...]`
    ArrayStack = "array of arrays";
    /// `array[i][j]`
    Subscript = "array subscript";
    /// `array[l:u]`: pairs of bounds
    Slice = "array slice";
    /// `array_append(array, element)`
    ArrayAppend = "array_append";
    /// `array_prepend(element, array)`
    ArrayPrepend = "array_prepend";
    /// `array_cat(array, array)`
    ArrayCat = "array_cat";
    /// `array_length(array, int4)`
    ArrayLength = "array_length";
    /// `array_lower(array, int4)`
    ArrayLower = "array_lower";
    /// `array_upper(array, int4)`
    ArrayUpper = "array_upper";
    /// `array_ndims(array)`
    ArrayNdims = "array_ndims";
    /// `array_dims(array)`
    ArrayDims = "array_dims";
    /// `cardinality(array)`
    Cardinality = "cardinality";
    /// `array_remove(array, element)`
    ArrayRemove = "array_remove";
    /// `array_replace(array, element, element)`
    ArrayReplace = "array_replace";
    /// `array_position(array, element [, int4])`
    ArrayPosition = "array_position";
    /// `array_positions(array, element)`
    ArrayPositions = "array_positions";
    /// `array_to_string(array, text [, text])`
    ArrayToString = "array_to_string";
    /// `string_to_array(text, text [, text])`
    StringToArray = "string_to_array";
    /// `array_fill(value, int4[] [, int4[]])`
    ArrayFill = "array_fill";
    /// `trim_array(array, int4)`
    TrimArray = "trim_array";
    /// `array @> array`
    ArrayContains = "array @>";
    /// `array <@ array`
    ArrayContained = "array <@";
    /// `array && array`
    ArrayOverlap = "&&";
    /// `width_bucket(value, thresholds)`
    WidthBucketArray = "width_bucket array";
    // Rows and enums.
    /// `ROW(...)`: the arguments are the fields of the result's type
    RowMake = "row of";
    /// Field of a row, by its position from 0, a constant
    RowField = "field of row";
    /// `row IS NULL`: every field is NULL
    RowIsNull = "row is null";
    /// `row IS NOT NULL`: no field is NULL
    RowIsNotNull = "row is not null";
    /// `row_to_json(record [, bool])`
    RowToJson = "row_to_json";
    /// `array_to_json(anyarray [, bool])`
    ArrayToJson = "array_to_json";
    /// `enum_first(anyenum)`
    EnumFirst = "enum_first";
    /// `enum_last(anyenum)`
    EnumLast = "enum_last";
    /// `enum_range(anyenum [, anyenum])`
    EnumRange = "enum_range";
    // Strings.
    /// `lower(text)`
    Lower = "lower";
    /// `upper(text)`
    Upper = "upper";
    /// `length(text)` in characters (int4), `length(bytea)` in bytes
    Length = "length";
    /// `octet_length(text|bytea)`
    OctetLength = "octet_length";
    /// `substr(text, int4 [, int4])`
    Substr = "substr";
    /// `btrim(text [, text])`
    Btrim = "btrim";
    /// `ltrim(text [, text])`
    Ltrim = "ltrim";
    /// `rtrim(text [, text])`
    Rtrim = "rtrim";
    /// `replace(text, text, text)`
    Replace = "replace";
    /// `split_part(text, text, int4)`
    SplitPart = "split_part";
    /// `strpos(text, text)`
    Strpos = "strpos";
    /// `left(text, int4)`
    Left = "left";
    /// `right(text, int4)`
    Right = "right";
    /// `repeat(text, int4)`
    Repeat = "repeat";
    /// `reverse(text)`
    Reverse = "reverse";
    /// `starts_with(text, text)`
    StartsWith = "starts_with";
    /// `concat(text, ...)`: NULLs skipped
    ConcatFn = "concat";
    /// `lpad(text, int4, text)`
    Lpad = "lpad";
    /// `rpad(text, int4, text)`
    Rpad = "rpad";
    /// `md5(text)`
    Md5 = "md5";
    /// `regexp_replace(text, text, text [, flags])`, `regexp_replace(text, text, text, start [, n [, flags]])`
    RegexpReplace = "regexp_replace";
    // Text, regular expressions and bytea.
    /// `substring(text, int4 [, int4])`, of bytea too; `substring(text, pattern [, escape])`
    Substring = "substring";
    /// `position(text, text)`, the first the whole; of bytea too
    Position = "position";
    /// `ascii(text)`: the code of the first character, or 0
    Ascii = "ascii";
    /// `chr(int4)`
    Chr = "chr";
    /// `initcap(text)`
    Initcap = "initcap";
    /// `translate(text, text, text)`
    Translate = "translate";
    /// `overlay(text, text, int4 [, int4])`, of bytea too
    Overlay = "overlay";
    /// `concat_ws(text, any, ...)`: NULLs skipped, NULL where the first is
    ConcatWs = "concat_ws";
    /// `format(text, any, ...)`
    Format = "format";
    /// `quote_ident(text)`
    QuoteIdent = "quote_ident";
    /// `quote_literal(text)`
    QuoteLiteral = "quote_literal";
    /// `quote_nullable(text)`: `NULL` for NULL
    QuoteNullable = "quote_nullable";
    /// `parse_ident(text [, bool])`: text[]
    ParseIdent = "parse_ident";
    /// `bit_length(text|bytea)`
    BitLength = "bit_length";
    /// `to_ascii(text)`: refused by every encoding but a few that are not here
    ToAscii = "to_ascii";
    /// `normalize(text [, form])`
    Normalize = "normalize";
    /// `text IS [form] NORMALIZED`
    IsNormalized = "is_normalized";
    /// `unistr(text)`
    Unistr = "unistr";
    /// `like_escape(pattern, escape)`: the pattern with backslash as its escape
    LikeEscape = "like_escape";
    /// `similar_to_escape(pattern [, escape])`: the regular expression
    SimilarToEscape = "similar_to_escape";
    /// `regexp_like(text, text [, flags])`
    RegexpLike = "regexp_like";
    /// `regexp_count(text, text [, start [, flags]])`
    RegexpCount = "regexp_count";
    /// `regexp_instr(text, text [, start [, n [, end [, flags [, group]]]]])`
    RegexpInstr = "regexp_instr";
    /// `regexp_substr(text, text [, start [, n [, flags [, group]]]])`
    RegexpSubstr = "regexp_substr";
    /// `regexp_match(text, text [, flags])`: text[]
    RegexpMatch = "regexp_match";
    /// `regexp_split_to_array(text, text [, flags])`: text[]
    RegexpSplitToArray = "regexp_split_to_array";
    /// `num_nulls(any, ...)`
    NumNulls = "num_nulls";
    /// `num_nonnulls(any, ...)`
    NumNonnulls = "num_nonnulls";
    /// `get_byte(bytea, int4)`
    GetByte = "get_byte";
    /// `set_byte(bytea, int4, int4)`
    SetByte = "set_byte";
    /// `get_bit(bytea, int8)`
    GetBit = "get_bit";
    /// `set_bit(bytea, int8, int4)`
    SetBit = "set_bit";
    /// `bit_count(bytea)`: int8
    BitCount = "bit_count";
    /// `encode(bytea, text)`
    Encode = "encode";
    /// `decode(text, text)`
    Decode = "decode";
    /// `convert_from(bytea, text)`
    ConvertFrom = "convert_from";
    /// `convert_to(text, text)`
    ConvertTo = "convert_to";
    /// `convert(bytea, text, text)`
    Convert = "convert";
    /// `sha224(bytea)`
    Sha224 = "sha224";
    /// `sha256(bytea)`
    Sha256 = "sha256";
    /// `sha384(bytea)`
    Sha384 = "sha384";
    /// `sha512(bytea)`
    Sha512 = "sha512";
    /// `hashint2(int2)`
    HashInt2 = "hashint2";
    /// `hashint4(int4)`
    HashInt4 = "hashint4";
    /// `hashint8(int8)`
    HashInt8 = "hashint8";
    /// `hashfloat4(float4)`
    HashFloat4 = "hashfloat4";
    /// `hashfloat8(float8)`
    HashFloat8 = "hashfloat8";
    /// `hashtext(text)`
    HashText = "hashtext";
    /// `hash_array(anyarray)`
    HashArray = "hash_array";
    /// `hashint4extended(int4, int8)`
    HashInt4Extended = "hashint4extended";
    /// `hashint8extended(int8, int8)`
    HashInt8Extended = "hashint8extended";
    /// `hashtextextended(text, int8)`
    HashTextExtended = "hashtextextended";
    /// `floor(float8|numeric)`
    Floor = "floor";
    /// `ceil(float8|numeric)`
    Ceil = "ceil";
    /// `round(float8)`, `round(numeric [, int4])`
    Round = "round";
    /// `trunc(float8)`, `trunc(numeric [, int4])`
    Trunc = "trunc";
    /// `sqrt(float8)`
    Sqrt = "sqrt";
    /// `power(float8, float8)`
    Power = "power";
    /// `exp(float8)`
    Exp = "exp";
    /// `ln(float8)`
    Ln = "ln";
    /// `sign(float8|numeric)`
    Sign = "sign";
    /// `mod(a, b)` is `%`; `greatest(a, ...)`: NULLs skipped
    Greatest = "greatest";
    /// `least(a, ...)`: NULLs skipped
    Least = "least";
    /// `nullif(a, b)`
    NullIf = "nullif";
    // Of subqueries: no function of SQL.
    /// `(rows, value)`: the value of a scalar subquery that gave this many rows; 21000 where there are several
    SingleRow = "single row";
    // Numbers.
    /// `a ^ b`, float8 or numeric
    PowerOf = "^";
    /// `|/ a`, float8
    SquareRoot = "|/";
    /// `||/ a`, float8
    CubeRoot = "||/";
    /// `cbrt(float8)`
    Cbrt = "cbrt";
    /// `log(float8|numeric)` to base 10, `log(numeric, numeric)` to the first
    Log = "log";
    /// `log10(float8|numeric)`
    Log10 = "log10";
    /// `sin(float8)`
    Sin = "sin";
    /// `cos(float8)`
    Cos = "cos";
    /// `tan(float8)`
    Tan = "tan";
    /// `cot(float8)`
    Cot = "cot";
    /// `asin(float8)`
    Asin = "asin";
    /// `acos(float8)`
    Acos = "acos";
    /// `atan(float8)`
    Atan = "atan";
    /// `atan2(float8, float8)`
    Atan2 = "atan2";
    /// `sind(float8)`
    Sind = "sind";
    /// `cosd(float8)`
    Cosd = "cosd";
    /// `tand(float8)`
    Tand = "tand";
    /// `cotd(float8)`
    Cotd = "cotd";
    /// `asind(float8)`
    Asind = "asind";
    /// `acosd(float8)`
    Acosd = "acosd";
    /// `atand(float8)`
    Atand = "atand";
    /// `atan2d(float8, float8)`
    Atan2d = "atan2d";
    /// `sinh(float8)`
    Sinh = "sinh";
    /// `cosh(float8)`
    Cosh = "cosh";
    /// `tanh(float8)`
    Tanh = "tanh";
    /// `asinh(float8)`
    Asinh = "asinh";
    /// `acosh(float8)`
    Acosh = "acosh";
    /// `atanh(float8)`
    Atanh = "atanh";
    /// `degrees(float8)`
    Degrees = "degrees";
    /// `radians(float8)`
    Radians = "radians";
    /// `pi()`
    Pi = "pi";
    /// `div(numeric, numeric)`
    Quotient = "div";
    /// `gcd(a, b)` of int4, int8 or numeric
    Gcd = "gcd";
    /// `lcm(a, b)` of int4, int8 or numeric
    Lcm = "lcm";
    /// `factorial(int8)`: numeric
    Factorial = "factorial";
    /// `width_bucket(float8|numeric, low, high, int4)`: int4
    WidthBucket = "width_bucket";
    /// `scale(numeric)`: int4, NULL for NaN and the infinities
    Scale = "scale";
    /// `min_scale(numeric)`
    MinScale = "min_scale";
    /// `trim_scale(numeric)`
    TrimScale = "trim_scale";
    /// `numeric_inc(numeric)`
    NumericInc = "numeric_inc";
    /// `a & b` of integers
    BitAnd = "&";
    /// `a | b` of integers
    BitOr = "|";
    /// `a # b` of integers
    BitXor = "#";
    /// `~ a` of an integer
    BitNot = "bitwise not";
    /// `a << int4` of an integer
    ShiftLeft = "<<";
    /// `a >> int4` of an integer
    ShiftRight = ">>";
    /// `to_hex(int4|int8)`
    ToHex = "to_hex";
    /// `to_number(text, text)`
    ToNumber = "to_number";
    /// `pg_size_pretty(int8|numeric)`
    SizePretty = "pg_size_pretty";
    /// `pg_size_bytes(text)`: int8
    SizeBytes = "pg_size_bytes";
    /// `date_trunc(text, timestamp|timestamptz|interval)`, `date_trunc(text, timestamptz, text)`
    DateTrunc = "date_trunc";
    /// `date_bin(interval, timestamp[tz], timestamp[tz])`
    DateBin = "date_bin";
    /// `extract(text from date|time|timestamp[tz]|interval)`: bare numeric
    Extract = "extract";
    /// `date_part(text, ...)`: float8
    DatePart = "date_part";
    /// `to_char(timestamp[tz]|interval, text)`
    ToChar = "to_char";
    /// `to_timestamp(float8)`, `to_timestamp(text, text)`
    ToTimestamp = "to_timestamp";
    // Dates, times and intervals.
    /// `to_date(text, text)`
    ToDate = "to_date";
    /// `timezone(text|interval, timestamp[tz])`, which `AT TIME ZONE` is
    Timezone = "timezone";
    /// `make_date(int4, int4, int4)`
    MakeDate = "make_date";
    /// `make_time(int4, int4, float8)`
    MakeTime = "make_time";
    /// `make_timestamp(int4, int4, int4, int4, int4, float8)`
    MakeTimestamp = "make_timestamp";
    /// `make_timestamptz(int4, int4, int4, int4, int4, float8 [, text])`
    MakeTimestampTz = "make_timestamptz";
    /// `make_interval(int4 x 6, float8)`, the last ones left out or not
    MakeInterval = "make_interval";
    /// `age(timestamp[tz], timestamp[tz])`
    Age = "age";
    /// `justify_hours(interval)`
    JustifyHours = "justify_hours";
    /// `justify_days(interval)`
    JustifyDays = "justify_days";
    /// `justify_interval(interval)`
    JustifyInterval = "justify_interval";
    /// `isfinite(date|timestamp[tz]|interval)`
    IsFinite = "isfinite";
    /// `overlaps(a, b, c, d)`, which `(a, b) OVERLAPS (c, d)` is: time or timestamp[tz], the second and the fourth
    /// intervals or not
    Overlaps = "overlaps";
    /// `date_larger(date, date)`
    DateLarger = "date_larger";
    /// `date_smaller(date, date)`
    DateSmaller = "date_smaller";
    /// `time_larger(time, time)`
    TimeLarger = "time_larger";
    /// `time_smaller(time, time)`
    TimeSmaller = "time_smaller";
    /// `timestamp_larger(timestamp, timestamp)`
    TimestampLarger = "timestamp_larger";
    /// `timestamp_smaller(timestamp, timestamp)`
    TimestampSmaller = "timestamp_smaller";
    /// `timestamptz_larger(timestamptz, timestamptz)`
    TimestampTzLarger = "timestamptz_larger";
    /// `timestamptz_smaller(timestamptz, timestamptz)`
    TimestampTzSmaller = "timestamptz_smaller";
    /// `interval_larger(interval, interval)`
    IntervalLarger = "interval_larger";
    /// `interval_smaller(interval, interval)`
    IntervalSmaller = "interval_smaller";
    /// `jsonb -> text|int4`
    JsonGet = "->";
    /// `jsonb ->> text|int4`
    JsonGetText = "->>";
    /// `jsonb @> jsonb`
    JsonContains = "@>";
    /// `jsonb_typeof(jsonb)`
    JsonTypeof = "jsonb_typeof";
    /// `jsonb_array_length(jsonb)`
    JsonArrayLength = "jsonb_array_length";
    // jsonb.
    /// `jsonb #> text[]`
    JsonGetPath = "#>";
    /// `jsonb #>> text[]`
    JsonGetPathText = "#>>";
    /// `jsonb_extract_path(jsonb, text, ...)`
    JsonExtractPath = "jsonb_extract_path";
    /// `jsonb_extract_path_text(jsonb, text, ...)`
    JsonExtractPathText = "jsonb_extract_path_text";
    /// `jsonb <@ jsonb`
    JsonContained = "<@";
    /// `jsonb ? text`
    JsonExists = "?";
    /// `jsonb ?| text[]`
    JsonExistsAny = "?|";
    /// `jsonb ?& text[]`
    JsonExistsAll = "?&";
    /// `jsonb_pretty(jsonb)`
    JsonPretty = "jsonb_pretty";
    /// `jsonb_strip_nulls(jsonb)`
    JsonStripNulls = "jsonb_strip_nulls";
    /// `jsonb #- text[]`
    JsonDeletePath = "#-";
    /// `jsonb_set(jsonb, text[], jsonb [, bool])`
    JsonSet = "jsonb_set";
    /// `jsonb_set_lax(jsonb, text[], jsonb [, bool [, text]])`
    JsonSetLax = "jsonb_set_lax";
    /// `jsonb_insert(jsonb, text[], jsonb [, bool])`
    JsonInsert = "jsonb_insert";
    /// `jsonb_object(text[] [, text[]])`
    JsonObject = "jsonb_object";
    /// `to_jsonb(any)`
    ToJsonb = "to_jsonb";
    /// `jsonb_build_array(any, ...)`
    JsonBuildArray = "jsonb_build_array";
    /// `jsonb_build_object(key, value, ...)`
    JsonBuildObject = "jsonb_build_object";
    /// `json_typeof(json)`
    JsonTextTypeof = "json_typeof";
    /// `json_array_length(json)`
    JsonTextArrayLength = "json_array_length";
    /// `json_extract_path(json, text, ...)`
    JsonTextExtractPath = "json_extract_path";
    /// `json_extract_path_text(json, text, ...)`
    JsonTextExtractPathText = "json_extract_path_text";
    /// `json_strip_nulls(json)`
    JsonTextStripNulls = "json_strip_nulls";
    /// `to_json(any)`
    ToJson = "to_json";
    /// `json_build_array(any, ...)`
    JsonTextBuildArray = "json_build_array";
    /// `json_build_object(key, value, ...)`
    JsonTextBuildObject = "json_build_object";
    /// `json_object(text[] [, text[]])`
    JsonTextObject = "json_object";
    /// `jsonb_path_exists(jsonb, jsonpath [, jsonb [, bool]])`; a path is text
    JsonPathExists = "jsonb_path_exists";
    /// `jsonb_path_match(jsonb, jsonpath [, jsonb [, bool]])`
    JsonPathMatch = "jsonb_path_match";
    /// `jsonb_path_query_array(jsonb, jsonpath [, jsonb [, bool]])`
    JsonPathQueryArray = "jsonb_path_query_array";
    /// `jsonb_path_query_first(jsonb, jsonpath [, jsonb [, bool]])`
    JsonPathQueryFirst = "jsonb_path_query_first";
    /// `jsonb @? jsonpath`
    JsonPathExistsOp = "@?";
    /// `jsonb @@ jsonpath`
    JsonPathMatchOp = "@@";
    // Calls with VARIADIC: the last argument is an array of the last arguments.
    /// `format(text, VARIADIC array)`
    VariadicFormat = "format variadic";
    /// `num_nulls(VARIADIC array)`
    VariadicNumNulls = "num_nulls variadic";
    /// `num_nonnulls(VARIADIC array)`
    VariadicNumNonnulls = "num_nonnulls variadic";
    /// `jsonb_build_array(VARIADIC array)`
    VariadicJsonBuildArray = "jsonb_build_array variadic";
    /// `jsonb_build_object(VARIADIC array)`
    VariadicJsonBuildObject = "jsonb_build_object variadic";
    /// `json_build_array(VARIADIC array)`
    VariadicJsonTextBuildArray = "json_build_array variadic";
    /// `json_build_object(VARIADIC array)`
    VariadicJsonTextBuildObject = "json_build_object variadic";
    // Set-returning functions: only within a [`crate::SetCall`].
    /// `generate_series(a, b [, step])`: int4/8, numeric; timestamp[tz] with an interval
    GenerateSeries = "generate_series";
    /// `generate_subscripts(array, int4 [, bool])`
    GenerateSubscripts = "generate_subscripts";
    /// `unnest(array)`
    Unnest = "unnest";
    /// `string_to_table(text, text [, text])`
    StringToTable = "string_to_table";
    /// `regexp_matches(text, text [, flags])`
    RegexpMatches = "regexp_matches";
    /// `regexp_split_to_table(text, text [, flags])`
    RegexpSplitToTable = "regexp_split_to_table";
    /// `jsonb_array_elements(jsonb)`
    JsonElements = "jsonb_array_elements";
    /// `jsonb_array_elements_text(jsonb)`
    JsonElementsText = "jsonb_array_elements_text";
    /// `jsonb_each(jsonb)`: key, value
    JsonEach = "jsonb_each";
    /// `jsonb_each_text(jsonb)`: key, value
    JsonEachText = "jsonb_each_text";
    /// `jsonb_object_keys(jsonb)`
    JsonKeys = "jsonb_object_keys";
    /// `jsonb_path_query(jsonb, jsonpath [, jsonb [, bool]])`
    JsonPathQuery = "jsonb_path_query";
    /// `jsonb_to_record(jsonb)`: the object, whose members become columns
    JsonToRecord = "jsonb_to_record";
    /// `jsonb_to_recordset(jsonb)`: the objects of an array
    JsonToRecordset = "jsonb_to_recordset";
    /// `json_array_elements(json)`
    JsonTextElements = "json_array_elements";
    /// `json_array_elements_text(json)`
    JsonTextElementsText = "json_array_elements_text";
    /// `json_each(json)`: key, value
    JsonTextEach = "json_each";
    /// `json_each_text(json)`: key, value
    JsonTextEachText = "json_each_text";
    /// `json_object_keys(json)`
    JsonTextKeys = "json_object_keys";
    /// `json_to_record(json)`
    JsonTextToRecord = "json_to_record";
    /// `json_to_recordset(json)`
    JsonTextToRecordset = "json_to_recordset";
    /// One row: any value, as a function of FROM
    SetOnce = "row of";
    /// 1, 2, ... beside the rows of other calls: WITH ORDINALITY
    SetOrdinality = "ordinality of";
}

impl Func {
    /// Of `op ANY (array)` and `op ALL (array)`: the operator, and whether it is ALL.
    pub fn quantified(self) -> Option<(Func, bool)> {
        Func::QUANTIFIED.iter().find_map(|(op, any, all)| match self {
            f if f == *any => Some((*op, false)),
            f if f == *all => Some((*op, true)),
            _ => None,
        })
    }

    /// `op ANY (array)`, or `op ALL (array)`; `None` for what is no such operator here.
    pub fn over_elements(self, all: bool) -> Option<Func> {
        let (_, any, every) = Func::QUANTIFIED.iter().find(|(op, ..)| *op == self)?;
        Some(if all { *every } else { *any })
    }

    const QUANTIFIED: &'static [(Func, Func, Func)] = &[
        (Func::Eq, Func::AnyEq, Func::AllEq),
        (Func::Ne, Func::AnyNe, Func::AllNe),
        (Func::Lt, Func::AnyLt, Func::AllLt),
        (Func::Le, Func::AnyLe, Func::AllLe),
        (Func::Gt, Func::AnyGt, Func::AllGt),
        (Func::Ge, Func::AnyGe, Func::AllGe),
        (Func::Like, Func::AnyLike, Func::AllLike),
        (Func::ILike, Func::AnyILike, Func::AllILike),
        (Func::RegexMatch, Func::AnyRegexMatch, Func::AllRegexMatch),
        (Func::RegexIMatch, Func::AnyRegexIMatch, Func::AllRegexIMatch),
    ];
}

impl ScalarExpr {
    /// The type of the result.
    pub fn ty(&self) -> SqlType {
        match self {
            ScalarExpr::Column(_, ty) | ScalarExpr::Literal(_, ty) | ScalarExpr::Call { ty, .. } => *ty,
            ScalarExpr::Cast { to, .. } => *to,
            ScalarExpr::And(_) | ScalarExpr::Or(_) | ScalarExpr::Not(_) | ScalarExpr::IsNull(_) => SqlType::Bool,
            ScalarExpr::Case { otherwise, .. } => otherwise.ty(),
            ScalarExpr::Coalesce(args) => args.first().map_or(SqlType::Text, ScalarExpr::ty),
        }
    }

    /// Direct operands.
    pub fn children(&self) -> Vec<&ScalarExpr> {
        match self {
            ScalarExpr::Column(..) | ScalarExpr::Literal(..) => vec![],
            ScalarExpr::Call { args, .. }
            | ScalarExpr::And(args)
            | ScalarExpr::Or(args)
            | ScalarExpr::Coalesce(args) => args.iter().collect(),
            ScalarExpr::Cast { expr, .. } | ScalarExpr::Not(expr) | ScalarExpr::IsNull(expr) => vec![expr],
            ScalarExpr::Case { branches, otherwise } => {
                let mut all: Vec<&ScalarExpr> = branches.iter().flat_map(|(c, r)| [c, r]).collect();
                all.push(otherwise);
                all
            }
        }
    }

    /// Calls `f` on every column position, to rewrite it.
    pub fn map_columns(&mut self, f: &mut impl FnMut(usize) -> usize) {
        match self {
            ScalarExpr::Column(i, _) => *i = f(*i),
            ScalarExpr::Literal(..) => {}
            ScalarExpr::Call { args, .. }
            | ScalarExpr::And(args)
            | ScalarExpr::Or(args)
            | ScalarExpr::Coalesce(args) => {
                args.iter_mut().for_each(|a| a.map_columns(f));
            }
            ScalarExpr::Cast { expr, .. } | ScalarExpr::Not(expr) | ScalarExpr::IsNull(expr) => expr.map_columns(f),
            ScalarExpr::Case { branches, otherwise } => {
                for (c, r) in branches {
                    c.map_columns(f);
                    r.map_columns(f);
                }
                otherwise.map_columns(f);
            }
        }
    }

    /// The columns it reads, ascending, without repeats.
    pub fn columns(&self) -> Vec<usize> {
        fn walk(e: &ScalarExpr, out: &mut Vec<usize>) {
            if let ScalarExpr::Column(i, _) = e {
                out.push(*i);
            }
            e.children().into_iter().for_each(|c| walk(c, out));
        }
        let mut out = vec![];
        walk(self, &mut out);
        out.sort_unstable();
        out.dedup();
        out
    }
}

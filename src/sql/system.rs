//! The functions of `pg_catalog` that tell of objects: `pg_get_viewdef`, `format_type`, casts to `regclass` and the
//! like. They run in ad-hoc reads only, over facts taken from the catalog snapshot the statement is planned against.

mod call;

use crate::typing::Kind;
use arrow::datatypes::{DataType, FieldRef};
use call::Call;
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use hw_plan::{FunctionDesc, IndexFacts, ObjectFacts};
use hw_repr::{Datum, SqlError, SqlType};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The catalog's facts by OID, and what of them a session sees without a schema.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// OID to schema and name.
    relations: HashMap<i64, (String, String)>,
    visible: HashSet<i64>,
    schemas: HashMap<i64, String>,
    roles: HashMap<i64, String>,
    views: HashMap<i64, String>,
    indexes: HashMap<i64, IndexFacts>,
    constraints: HashMap<i64, String>,
    publishable: HashSet<i64>,
    /// Types that statements have defined, by schema and name.
    types: HashMap<(String, String), i64>,
    /// Schema and definition.
    functions: HashMap<i64, (String, FunctionDesc)>,
    path: Vec<String>,
}

impl Facts {
    /// Puts the facts in order for a session with this search path.
    pub fn new(facts: ObjectFacts, search_path: &[String]) -> Facts {
        let mut path: Vec<String> = search_path.to_vec();
        if !path.iter().any(|s| s == "pg_catalog") {
            path.insert(0, "pg_catalog".into());
        }
        let mut first: HashMap<&str, (usize, i64)> = HashMap::new();
        for (oid, schema, name) in &facts.relations {
            let Some(rank) = path.iter().position(|s| s == schema) else { continue };
            let best = first.entry(name.as_str()).or_insert((rank, i64::from(*oid)));
            if rank < best.0 {
                *best = (rank, i64::from(*oid));
            }
        }
        let visible = first.into_values().map(|(_, oid)| oid).collect();
        let named = |all: Vec<(u32, String)>| all.into_iter().map(|(o, n)| (i64::from(o), n)).collect();
        Facts {
            visible,
            relations: facts.relations.into_iter().map(|(o, s, n)| (i64::from(o), (s, n))).collect(),
            schemas: named(facts.schemas),
            roles: named(facts.roles),
            views: named(facts.views),
            indexes: facts.indexes.into_iter().map(|i| (i64::from(i.oid), i)).collect(),
            constraints: named(facts.constraints),
            types: facts.types.into_iter().map(|(o, s, n)| ((s, n), i64::from(o))).collect(),
            functions: facts.functions.into_iter().map(|(o, s, _, f)| (i64::from(o), (s, f))).collect(),
            publishable: facts.publishable.into_iter().map(i64::from).collect(),
            path,
        }
    }
}

/// What an argument of a catalog function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    /// A type of ours.
    Of(SqlType),
    /// A relation: its OID, or its name in a literal.
    Relation,
    /// Anything, as it is.
    Any,
}

/// A catalog function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemFunction {
    pub name: &'static str,
    call: Call,
    pub args: &'static [Arg],
    /// How many of the arguments may be left out.
    pub optional: usize,
    pub result: SqlType,
    pub kind: Kind,
}

impl SystemFunction {
    /// Computes one row.
    pub fn evaluate(&self, facts: &Facts, args: &[Datum]) -> Result<Datum, SqlError> {
        (self.call)(facts, args)
    }
}

impl PartialEq for SystemFunction {
    fn eq(&self, o: &Self) -> bool {
        self.name == o.name
    }
}
impl Eq for SystemFunction {}
impl Hash for SystemFunction {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.name.hash(h);
    }
}

/// Those that tell of what no statement changes: of built-in types and encodings. Their calls with constants are constants,
/// in views too.
const LASTING: &[&str] = &[
    "format_type",
    "hw_in:regtype",
    "hw_out:regtype",
    "to_regtype",
    "pg_encoding_to_char",
    "pg_char_to_encoding",
    "pg_client_encoding",
    "getdatabaseencoding",
];

/// True where a function tells of nothing that could change.
pub(crate) fn is_lasting(function: &SystemFunction) -> bool {
    LASTING.contains(&function.name)
}

/// The catalog function of that name, in lower case and without schema.
pub(crate) fn system_function(name: &str) -> Option<SystemFunction> {
    call::ALL.iter().find(|f| f.name == name).copied()
}

/// A call of a catalog function on arguments of these types, over these facts.
pub(crate) fn system_udf(function: SystemFunction, types: Vec<SqlType>, facts: Arc<Facts>) -> Arc<ScalarUDF> {
    let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Stable);
    Arc::new(ScalarUDF::new_from_impl(SystemUdf { function, types, facts, signature }))
}

#[derive(Debug)]
struct SystemUdf {
    function: SystemFunction,
    types: Vec<SqlType>,
    facts: Arc<Facts>,
    signature: Signature,
}

impl PartialEq for SystemUdf {
    fn eq(&self, o: &Self) -> bool {
        self.function == o.function && self.types == o.types
    }
}
impl Eq for SystemUdf {}
impl Hash for SystemUdf {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.function.hash(h);
    }
}

fn external(e: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

impl ScalarUDFImpl for SystemUdf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.function.result.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(self.function.result.field(self.function.name, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|a| a.into_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = columns.iter().zip(&self.types).map(|(c, ty)| Datum::from_array(c.as_ref(), row, *ty));
            let values = values.collect::<Result<Vec<Datum>, SqlError>>().map_err(external)?;
            out.push((self.function.call)(&self.facts, &values).map_err(external)?);
        }
        let array = hw_repr::datum::datums_to_array(self.function.result, &out).map_err(external)?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

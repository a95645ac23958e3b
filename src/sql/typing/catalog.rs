//! Catalog functions, casts to regclass and the like, settings.

use super::{Kind, Reg, Typed, Typer, cast_known, unsupported};
use crate::system::{Arg, SystemFunction, system_function};
use datafusion_expr::Expr;
use hw_plan::ScalarExpr;
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::CastContext;
use std::sync::Arc;

impl Typer<'_> {
    /// A literal beside a regclass is one too.
    pub(super) fn name_literals(&mut self, args: &mut [Typed]) -> Result<(), SqlError> {
        let reg = args.iter().find_map(|a| match a.kind {
            Kind::Reg(reg) => Some(reg),
            _ => None,
        });
        let Some(reg) = reg else { return Ok(()) };
        for arg in args.iter_mut().filter(|a| a.unknown) {
            *arg = self.reg_cast(reg, arg.clone())?;
        }
        Ok(())
    }

    /// An OID as the name a client sees.
    pub(super) fn shown(&mut self, value: Typed) -> Result<Typed, SqlError> {
        match value.kind {
            Kind::Reg(reg) => self.system(&format!("hw_out:{}", reg.name()), vec![value]),
            _ => Ok(value),
        }
    }

    /// `value::regclass` and the like.
    pub(super) fn reg_cast(&mut self, reg: Reg, value: Typed) -> Result<Typed, SqlError> {
        match value.ty() {
            None | Some(SqlType::Text | SqlType::Varchar(_)) => {
                self.system(&format!("hw_in:{}", reg.name()), vec![value])
            }
            _ => {
                let expr = self.cast(value, SqlType::Int8, CastContext::Implicit)?;
                Ok(Typed { kind: Kind::Reg(reg), ..Typed::known(expr) })
            }
        }
    }

    /// A call of a catalog function.
    pub(super) fn system(&mut self, name: &str, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let function = system_function(name).ok_or_else(|| SqlError::internal(format!("no function {name}")))?;
        self.call_system(function, args)
    }

    pub(super) fn call_system(&mut self, function: SystemFunction, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let lasting = self.env.stored && crate::system::is_lasting(&function);
        let facts = if lasting { Arc::default() } else { self.env.facts()? };
        let most = function.args.len();
        if args.len() > most || args.len() + function.optional < most {
            let types: Vec<String> =
                args.iter().map(|a| a.ty().map_or_else(|| "unknown".into(), |t| t.to_string())).collect();
            return Err(crate::error::undefined_function(&format!("{}({})", function.name, types.join(", "))));
        }
        let (mut exprs, mut types, mut constants) = (vec![], vec![], vec![]);
        for (arg, wanted) in args.into_iter().zip(function.args) {
            let value = match wanted {
                Arg::Of(SqlType::Text) if !arg.unknown => {
                    let shown = self.shown(arg)?;
                    cast_known(shown.expr, SqlType::Text, CastContext::Explicit)?
                }
                Arg::Of(SqlType::Int4) => self.cast(arg, SqlType::Int4, CastContext::Assignment)?,
                Arg::Of(ty) => self.cast(arg, *ty, CastContext::Implicit)?,
                Arg::Relation => self.reg_cast(Reg::Class, arg)?.expr,
                Arg::Any => self.settle(arg)?,
            };
            types.push(value.ty());
            exprs.push(crate::emit::emit(&value, &self.slots)?);
            if let ScalarExpr::Literal(d, _) = value {
                constants.push(d);
            }
        }
        if constants.len() == exprs.len() {
            let value = ScalarExpr::Literal(function.evaluate(&facts, &constants)?, function.result);
            return Ok(Typed { kind: function.kind, ..Typed::known(value) });
        }
        if lasting {
            return Err(unsupported(&format!("{} of other than constants in a view", function.name)));
        }
        let udf = crate::system::system_udf(function, types, facts);
        let call = Expr::ScalarFunction(datafusion_expr::expr::ScalarFunction::new_udf(udf, exprs));
        Ok(Typed { kind: function.kind, ..self.slot(call, function.result) })
    }

    pub(super) fn setting(&mut self, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let literal = |t: Option<&Typed>| match t.map(|t| &t.expr) {
            Some(ScalarExpr::Literal(d, _)) => Some(d.clone()),
            _ => None,
        };
        let name = match (literal(args.first()), args.len()) {
            (Some(Datum::Text(name)), 1 | 2) => name,
            (Some(Datum::Null), 1 | 2) => return Ok(Typed::known(ScalarExpr::Literal(Datum::Null, SqlType::Text))),
            (None, 1 | 2) => return Err(unsupported("current_setting of other than a literal")),
            _ => return Err(crate::error::undefined_function("current_setting()")),
        };
        let missing_ok = match literal(args.get(1)) {
            Some(Datum::Bool(b)) => b,
            Some(Datum::Text(t)) => matches!(t.as_str(), "t" | "true" | "on"),
            _ => false,
        };
        match self.env.setting(&name)? {
            Some(value) => Ok(Typed::known(ScalarExpr::Literal(Datum::Text(value), SqlType::Text))),
            None if missing_ok => Ok(Typed::known(ScalarExpr::Literal(Datum::Null, SqlType::Text))),
            None => Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            )),
        }
    }
}

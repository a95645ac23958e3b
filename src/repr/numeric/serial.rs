//! Numerics in serialised plans: small ones as `value` and `scale`, which is what all were once, others as text.

use super::Numeric;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

impl Serialize for Numeric {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Numeric::Small { value, scale } = self else { return to.collect_str(self) };
        let mut fields = to.serialize_struct("Numeric", 2)?;
        fields.serialize_field("value", value)?;
        fields.serialize_field("scale", scale)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Numeric {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Form)
    }
}

struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = Numeric;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a numeric")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Numeric, E> {
        Numeric::parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numeric, A::Error> {
        let (mut value, mut scale) = (0i128, 0u8);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "value" => value = map.next_value()?,
                "scale" => scale = map.next_value()?,
                other => return Err(A::Error::unknown_field(other, &["value", "scale"])),
            }
        }
        Numeric::new(value, scale.into()).map_err(A::Error::custom)
    }
}

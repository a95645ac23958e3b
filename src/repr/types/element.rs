//! Types of the elements of arrays.

use super::SqlType;
use super::user::{self, UserType};
use serde::{Deserialize, Serialize};

/// A type that arrays can be of, by its OID and modifier: [`SqlType`] is small and holds no other type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ElementType {
    oid: u32,
    pub(super) typmod: i32,
    /// A type that has a definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserType>,
}

/// OIDs of types and of arrays of them, as `pg_type` has them.
const ARRAYS: &[(u32, u32)] = &[
    (16, 1000),
    (17, 1001),
    (18, 1002),
    (19, 1003),
    (20, 1016),
    (21, 1005),
    (23, 1007),
    (25, 1009),
    (26, 1028),
    (114, 199),
    (700, 1021),
    (701, 1022),
    (1042, 1014),
    (1043, 1015),
    (1082, 1182),
    (1083, 1183),
    (1114, 1115),
    (1184, 1185),
    (1186, 1187),
    (1266, 1270),
    (1560, 1561),
    (1562, 1563),
    (1700, 1231),
    (2205, 2210),
    (2206, 2211),
    (2950, 2951),
    (3802, 3807),
];

impl ElementType {
    /// `None` where there are no arrays of the type: an array's elements are no arrays, it has dimensions.
    pub fn of(ty: SqlType) -> Option<ElementType> {
        let oid = ty.oid();
        if let Some(user) = UserType::of(ty) {
            return Some(ElementType { oid, typmod: -1, user: Some(user) });
        }
        let known = ARRAYS.iter().any(|(element, _)| *element == oid) && !matches!(ty, SqlType::Array(_));
        known.then(|| ElementType { oid, typmod: ty.typmod(), user: None })
    }

    /// By the OID of the array type.
    pub(super) fn of_array(oid: u32, typmod: i32) -> Option<ElementType> {
        match ARRAYS.iter().find(|(_, array)| *array == oid) {
            Some((element, _)) => Some(ElementType { oid: *element, typmod, user: None }),
            None => ElementType::of(user::by_oid(oid.checked_sub(user::ARRAY_TYPE_OIDS)?)?),
        }
    }

    /// The type.
    pub fn ty(self) -> SqlType {
        match self.user {
            Some(user) => user.ty(),
            None => SqlType::from_oid(self.oid, self.typmod).unwrap_or(SqlType::Text),
        }
    }

    /// The OID of arrays of it.
    pub fn array_oid(self) -> u32 {
        if self.user.is_some() {
            return user::array_oid(self.oid);
        }
        ARRAYS.iter().find(|(element, _)| *element == self.oid).map_or(0, |(_, array)| *array)
    }
}

impl SqlType {
    /// The type of arrays of this one.
    pub fn array_of(self) -> Option<SqlType> {
        ElementType::of(self).map(SqlType::Array)
    }

    /// The type of the elements of an array.
    pub fn element(self) -> Option<SqlType> {
        match self {
            SqlType::Array(element) => Some(element.ty()),
            _ => None,
        }
    }
}

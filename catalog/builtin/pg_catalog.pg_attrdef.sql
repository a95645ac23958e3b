-- Column defaults and what generated columns are computed by.
-- oid 2604
CREATE TABLE pg_catalog.pg_attrdef (
  oid bigint NOT NULL,
  adrelid bigint NOT NULL,
  adnum smallint NOT NULL,
  adbin text NOT NULL
);

-- Range types (none).
-- oid 3541
CREATE TABLE pg_catalog.pg_range (
  rngtypid bigint NOT NULL,
  rngsubtype bigint NOT NULL,
  rngmultitypid bigint NOT NULL,
  rngcollation bigint NOT NULL,
  rngsubopc bigint NOT NULL,
  rngcanonical text,
  rngsubdiff text
);

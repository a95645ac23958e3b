-- Extensions (none).
-- oid 3079
CREATE TABLE pg_catalog.pg_extension (
  oid bigint NOT NULL,
  extname text NOT NULL,
  extowner bigint NOT NULL,
  extnamespace bigint NOT NULL,
  extrelocatable boolean NOT NULL,
  extversion text NOT NULL,
  extconfig text,
  extcondition text
);

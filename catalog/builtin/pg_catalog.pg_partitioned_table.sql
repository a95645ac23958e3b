-- Partitioned tables (none).
-- oid 3350
CREATE TABLE pg_catalog.pg_partitioned_table (
  partrelid bigint NOT NULL,
  partstrat text NOT NULL,
  partnatts smallint NOT NULL,
  partdefid bigint NOT NULL,
  partattrs text NOT NULL,
  partclass text NOT NULL,
  partcollation text NOT NULL,
  partexprs text
);

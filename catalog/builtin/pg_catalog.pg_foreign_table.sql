-- Foreign tables (none).
-- oid 3118
CREATE TABLE pg_catalog.pg_foreign_table (
  ftrelid bigint NOT NULL,
  ftserver bigint NOT NULL,
  ftoptions text
);

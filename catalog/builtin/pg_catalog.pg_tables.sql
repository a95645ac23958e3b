-- Tables.
-- oid 12040
CREATE TABLE pg_catalog.pg_tables (
  schemaname text NOT NULL,
  tablename text NOT NULL,
  tableowner text NOT NULL,
  tablespace text,
  hasindexes boolean NOT NULL,
  hasrules boolean NOT NULL,
  hastriggers boolean NOT NULL,
  rowsecurity boolean NOT NULL
);

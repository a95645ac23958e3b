-- Materialized views.
-- oid 12045
CREATE TABLE pg_catalog.pg_matviews (
  schemaname text NOT NULL,
  matviewname text NOT NULL,
  matviewowner text NOT NULL,
  tablespace text,
  hasindexes boolean NOT NULL,
  ispopulated boolean NOT NULL,
  definition text
);

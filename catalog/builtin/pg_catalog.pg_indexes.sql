-- Indexes, for people.
-- oid 12112
CREATE TABLE pg_catalog.pg_indexes (
  schemaname text,
  tablename text,
  indexname text,
  tablespace text,
  indexdef text
);

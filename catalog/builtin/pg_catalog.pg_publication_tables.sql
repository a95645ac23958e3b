-- Relations of publications (none).
-- oid 12103
CREATE TABLE pg_catalog.pg_publication_tables (
  pubname text,
  schemaname text,
  tablename text,
  attnames text,
  rowfilter text
);

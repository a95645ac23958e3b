-- Rules (none).
-- oid 12101
CREATE TABLE pg_catalog.pg_rules (
  schemaname text,
  tablename text,
  rulename text,
  definition text
);

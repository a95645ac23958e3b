-- Row security policies (none).
-- oid 12102
CREATE TABLE pg_catalog.pg_policies (
  schemaname text,
  tablename text,
  policyname text,
  permissive text,
  roles text,
  cmd text,
  qual text,
  with_check text
);

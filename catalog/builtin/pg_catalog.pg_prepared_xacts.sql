-- Prepared transactions (none).
-- oid 12104
CREATE TABLE pg_catalog.pg_prepared_xacts (
  transaction text,
  gid text,
  prepared timestamp with time zone,
  owner text,
  database text
);

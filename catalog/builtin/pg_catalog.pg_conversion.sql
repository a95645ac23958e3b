-- Encoding conversions (none).
-- oid 2607
CREATE TABLE pg_catalog.pg_conversion (
  oid bigint NOT NULL,
  conname text NOT NULL,
  connamespace bigint NOT NULL,
  conowner bigint NOT NULL,
  conforencoding integer NOT NULL,
  contoencoding integer NOT NULL,
  conproc text NOT NULL,
  condefault boolean NOT NULL
);

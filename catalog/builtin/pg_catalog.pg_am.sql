-- Access methods.
-- oid 2601
CREATE TABLE pg_catalog.pg_am (
  oid bigint NOT NULL,
  amname text NOT NULL,
  amhandler text NOT NULL,
  amtype text NOT NULL
);

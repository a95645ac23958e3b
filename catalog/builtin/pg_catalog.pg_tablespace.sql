-- Tablespaces.
-- oid 1213
CREATE TABLE pg_catalog.pg_tablespace (
  oid bigint NOT NULL,
  spcname text NOT NULL,
  spcowner bigint NOT NULL,
  spcacl text,
  spcoptions text
);

-- Schemas.
-- oid 2615
CREATE TABLE pg_catalog.pg_namespace (
  oid bigint NOT NULL,
  nspname text NOT NULL,
  nspowner bigint NOT NULL,
  nspacl text
);

-- Schemas of publications (none).
-- oid 6237
CREATE TABLE pg_catalog.pg_publication_namespace (
  oid bigint NOT NULL,
  pnpubid bigint NOT NULL,
  pnnspid bigint NOT NULL
);

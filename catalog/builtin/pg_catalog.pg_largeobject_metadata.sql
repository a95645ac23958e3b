-- Large objects (none).
-- oid 2995
CREATE TABLE pg_catalog.pg_largeobject_metadata (
  oid bigint NOT NULL,
  lomowner bigint NOT NULL,
  lomacl text
);

-- Transforms (none).
-- oid 3576
CREATE TABLE pg_catalog.pg_transform (
  oid bigint NOT NULL,
  trftype bigint NOT NULL,
  trflang bigint NOT NULL,
  trffromsql text NOT NULL,
  trftosql text NOT NULL
);

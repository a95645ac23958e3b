-- Collations.
-- oid 3456
CREATE TABLE pg_catalog.pg_collation (
  oid bigint NOT NULL,
  collname text NOT NULL,
  collnamespace bigint NOT NULL,
  collowner bigint NOT NULL,
  collprovider text NOT NULL,
  collisdeterministic boolean NOT NULL,
  collencoding integer NOT NULL,
  collcollate text,
  collctype text,
  colliculocale text,
  collversion text
);

-- Comments on shared objects (none).
-- oid 2396
CREATE TABLE pg_catalog.pg_shdescription (
  objoid bigint NOT NULL,
  classoid bigint NOT NULL,
  description text NOT NULL
);

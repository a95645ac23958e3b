-- Comments (none).
-- oid 2609
CREATE TABLE pg_catalog.pg_description (
  objoid bigint NOT NULL,
  classoid bigint NOT NULL,
  objsubid integer NOT NULL,
  description text NOT NULL
);

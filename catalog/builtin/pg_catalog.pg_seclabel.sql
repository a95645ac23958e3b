-- Security labels (none).
-- oid 3596
CREATE TABLE pg_catalog.pg_seclabel (
  objoid bigint NOT NULL,
  classoid bigint NOT NULL,
  objsubid integer NOT NULL,
  provider text NOT NULL,
  label text NOT NULL
);

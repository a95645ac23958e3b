-- Dependencies on shared objects (none listed).
-- oid 1214
CREATE TABLE pg_catalog.pg_shdepend (
  dbid bigint NOT NULL,
  classid bigint NOT NULL,
  objid bigint NOT NULL,
  objsubid integer NOT NULL,
  refclassid bigint NOT NULL,
  refobjid bigint NOT NULL,
  deptype text NOT NULL
);

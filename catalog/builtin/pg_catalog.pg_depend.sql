-- Dependencies (none listed).
-- oid 2608
CREATE TABLE pg_catalog.pg_depend (
  classid bigint NOT NULL,
  objid bigint NOT NULL,
  objsubid integer NOT NULL,
  refclassid bigint NOT NULL,
  refobjid bigint NOT NULL,
  refobjsubid integer NOT NULL,
  deptype text NOT NULL
);

-- Operator families (none listed).
-- oid 2753
CREATE TABLE pg_catalog.pg_opfamily (
  oid bigint NOT NULL,
  opfmethod bigint NOT NULL,
  opfname text NOT NULL,
  opfnamespace bigint NOT NULL,
  opfowner bigint NOT NULL
);

-- Operator classes (none listed).
-- oid 2616
CREATE TABLE pg_catalog.pg_opclass (
  oid bigint NOT NULL,
  opcmethod bigint NOT NULL,
  opcname text NOT NULL,
  opcnamespace bigint NOT NULL,
  opcowner bigint NOT NULL,
  opcfamily bigint NOT NULL,
  opcintype bigint NOT NULL,
  opcdefault boolean NOT NULL,
  opckeytype bigint NOT NULL
);

-- Extended statistics (none).
-- oid 3381
CREATE TABLE pg_catalog.pg_statistic_ext (
  oid bigint NOT NULL,
  stxrelid bigint NOT NULL,
  stxname text NOT NULL,
  stxnamespace bigint NOT NULL,
  stxowner bigint NOT NULL,
  stxstattarget integer NOT NULL,
  stxkeys text NOT NULL,
  stxkind text NOT NULL,
  stxexprs text
);

-- Text search configurations (none).
-- oid 3602
CREATE TABLE pg_catalog.pg_ts_config (
  oid bigint NOT NULL,
  cfgname text NOT NULL,
  cfgnamespace bigint NOT NULL,
  cfgowner bigint NOT NULL,
  cfgparser bigint NOT NULL
);

-- Text search dictionaries (none).
-- oid 3600
CREATE TABLE pg_catalog.pg_ts_dict (
  oid bigint NOT NULL,
  dictname text NOT NULL,
  dictnamespace bigint NOT NULL,
  dictowner bigint NOT NULL,
  dicttemplate bigint NOT NULL,
  dictinitoption text
);

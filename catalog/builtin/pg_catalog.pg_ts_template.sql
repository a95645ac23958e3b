-- Text search templates (none).
-- oid 3764
CREATE TABLE pg_catalog.pg_ts_template (
  oid bigint NOT NULL,
  tmplname text NOT NULL,
  tmplnamespace bigint NOT NULL,
  tmplinit text NOT NULL,
  tmpllexize text NOT NULL
);

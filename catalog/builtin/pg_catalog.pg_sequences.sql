-- Sequences (none).
-- oid 12100
CREATE TABLE pg_catalog.pg_sequences (
  schemaname text,
  sequencename text,
  sequenceowner text,
  data_type text,
  start_value bigint,
  min_value bigint,
  max_value bigint,
  increment_by bigint,
  cycle boolean,
  cache_size bigint,
  last_value bigint
);

-- How far each partition of each source has been read.
-- oid 9002
CREATE TABLE headwater.source_partitions (
  source_id bigint NOT NULL,
  source text NOT NULL,
  partition integer NOT NULL,
  position bigint,
  upstream_end bigint,
  lag bigint
);

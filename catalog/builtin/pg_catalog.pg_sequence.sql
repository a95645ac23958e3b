-- Sequences (none).
-- oid 2224
CREATE TABLE pg_catalog.pg_sequence (
  seqrelid bigint NOT NULL,
  seqtypid bigint NOT NULL,
  seqstart bigint NOT NULL,
  seqincrement bigint NOT NULL,
  seqmax bigint NOT NULL,
  seqmin bigint NOT NULL,
  seqcache bigint NOT NULL,
  seqcycle boolean NOT NULL
);

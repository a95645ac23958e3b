-- Checkpoints taken.
-- oid 9007
CREATE TABLE headwater.checkpoints (
  time bigint NOT NULL,
  started timestamp with time zone,
  duration_ms bigint,
  bytes bigint,
  files bigint,
  state text NOT NULL
);

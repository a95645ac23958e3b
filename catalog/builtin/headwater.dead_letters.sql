-- Messages that could not be decoded.
-- oid 9005
CREATE TABLE headwater.dead_letters (
  source text NOT NULL,
  partition integer NOT NULL,
  "offset" bigint NOT NULL,
  time timestamp with time zone,
  key bytea,
  value bytea,
  headers jsonb,
  reason text NOT NULL
);

-- Every materialized view: its state and size.
-- oid 9003
CREATE TABLE headwater.views (
  id bigint NOT NULL,
  schema text NOT NULL,
  name text NOT NULL,
  state text NOT NULL,
  progress double precision,
  rows bigint,
  bytes bigint,
  freshness_ms bigint,
  errors bigint
);

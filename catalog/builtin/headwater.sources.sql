-- Every source and its state.
-- oid 9001
CREATE TABLE headwater.sources (
  id bigint NOT NULL,
  schema text NOT NULL,
  name text NOT NULL,
  type text NOT NULL,
  state text NOT NULL,
  error text
);

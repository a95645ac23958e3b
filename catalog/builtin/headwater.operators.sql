-- Every operator of every dataflow, on each worker.
-- oid 9004
CREATE TABLE headwater.operators (
  id bigint NOT NULL,
  object_id bigint,
  worker bigint NOT NULL,
  name text NOT NULL,
  type text,
  elapsed_us bigint,
  rows_in bigint,
  rows_out bigint,
  arranged_rows bigint,
  arranged_bytes bigint,
  node bigint
);

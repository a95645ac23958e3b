-- Rows that a view could not compute.
-- oid 9006
CREATE TABLE headwater.view_errors (
  view_id bigint NOT NULL,
  view text NOT NULL,
  sqlstate text NOT NULL,
  message text NOT NULL,
  expression text,
  row jsonb,
  count bigint NOT NULL,
  detail text,
  hint text
);

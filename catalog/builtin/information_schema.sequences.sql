-- Sequences (none).
-- oid 12108
CREATE TABLE information_schema.sequences (
  sequence_catalog text,
  sequence_schema text,
  sequence_name text,
  data_type text,
  numeric_precision integer,
  numeric_precision_radix integer,
  numeric_scale integer,
  start_value text,
  minimum_value text,
  maximum_value text,
  increment text,
  cycle_option text
);

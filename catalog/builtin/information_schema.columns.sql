-- Columns, as the SQL standard lists them.
-- oid 13001
CREATE TABLE information_schema.columns (
  table_catalog text NOT NULL,
  table_schema text NOT NULL,
  table_name text NOT NULL,
  column_name text NOT NULL,
  ordinal_position integer NOT NULL,
  column_default text,
  is_nullable text NOT NULL,
  data_type text NOT NULL,
  character_maximum_length integer,
  character_octet_length integer,
  numeric_precision integer,
  numeric_precision_radix integer,
  numeric_scale integer,
  datetime_precision integer,
  interval_type text,
  collation_name text,
  domain_name text,
  udt_catalog text NOT NULL,
  udt_schema text NOT NULL,
  udt_name text NOT NULL,
  is_identity text NOT NULL,
  is_generated text NOT NULL,
  is_updatable text NOT NULL
);

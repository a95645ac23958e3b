-- Columns of keys.
-- oid 12116
CREATE TABLE information_schema.key_column_usage (
  constraint_catalog text,
  constraint_schema text,
  constraint_name text,
  table_catalog text,
  table_schema text,
  table_name text,
  column_name text,
  ordinal_position integer,
  position_in_unique_constraint integer
);

-- Columns of constraints.
-- oid 12117
CREATE TABLE information_schema.constraint_column_usage (
  table_catalog text,
  table_schema text,
  table_name text,
  column_name text,
  constraint_catalog text,
  constraint_schema text,
  constraint_name text
);

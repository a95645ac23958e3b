-- Relations, as the SQL standard lists them.
-- oid 13000
CREATE TABLE information_schema.tables (
  table_catalog text NOT NULL,
  table_schema text NOT NULL,
  table_name text NOT NULL,
  table_type text NOT NULL,
  self_referencing_column_name text,
  reference_generation text,
  user_defined_type_catalog text,
  user_defined_type_schema text,
  user_defined_type_name text,
  is_insertable_into text NOT NULL,
  is_typed text NOT NULL,
  commit_action text
);

-- Constraints of tables: primary keys.
-- oid 12115
CREATE TABLE information_schema.table_constraints (
  constraint_catalog text,
  constraint_schema text,
  constraint_name text,
  table_catalog text,
  table_schema text,
  table_name text,
  constraint_type text,
  is_deferrable text,
  initially_deferred text,
  enforced text,
  nulls_distinct text
);

-- Views.
-- oid 12114
CREATE TABLE information_schema.views (
  table_catalog text,
  table_schema text,
  table_name text,
  view_definition text,
  check_option text,
  is_updatable text,
  is_insertable_into text,
  is_trigger_updatable text,
  is_trigger_deletable text,
  is_trigger_insertable_into text
);

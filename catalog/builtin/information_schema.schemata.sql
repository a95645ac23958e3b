-- Schemas, as the SQL standard lists them.
-- oid 13002
CREATE TABLE information_schema.schemata (
  catalog_name text NOT NULL,
  schema_name text NOT NULL,
  schema_owner text NOT NULL,
  default_character_set_catalog text,
  default_character_set_schema text,
  default_character_set_name text,
  sql_path text
);

-- Foreign keys (none).
-- oid 12109
CREATE TABLE information_schema.referential_constraints (
  constraint_catalog text,
  constraint_schema text,
  constraint_name text,
  unique_constraint_catalog text,
  unique_constraint_schema text,
  unique_constraint_name text,
  match_option text,
  update_rule text,
  delete_rule text
);

-- Check constraints (none listed).
-- oid 12111
CREATE TABLE information_schema.check_constraints (
  constraint_catalog text,
  constraint_schema text,
  constraint_name text,
  check_clause text
);

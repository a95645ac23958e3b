-- Settings as PostgreSQL lists them.
-- oid 12110
CREATE TABLE pg_catalog.pg_settings (
  name text NOT NULL,
  setting text,
  unit text,
  category text,
  short_desc text,
  extra_desc text,
  context text,
  vartype text,
  source text,
  min_val text,
  max_val text,
  enumvals text,
  boot_val text,
  reset_val text,
  sourcefile text,
  sourceline integer,
  pending_restart boolean
);

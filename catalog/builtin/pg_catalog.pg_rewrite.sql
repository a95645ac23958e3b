-- Rewrite rules (none).
-- oid 2618
CREATE TABLE pg_catalog.pg_rewrite (
  oid bigint NOT NULL,
  rulename text NOT NULL,
  ev_class bigint NOT NULL,
  ev_type text NOT NULL,
  ev_enabled text NOT NULL,
  is_instead boolean NOT NULL,
  ev_qual text,
  ev_action text
);

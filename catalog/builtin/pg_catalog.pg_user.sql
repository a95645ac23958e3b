-- Roles that can log in.
-- oid 12113
CREATE TABLE pg_catalog.pg_user (
  usename text,
  usesysid bigint,
  usecreatedb boolean,
  usesuper boolean,
  userepl boolean,
  usebypassrls boolean,
  passwd text,
  valuntil timestamp with time zone,
  useconfig text
);

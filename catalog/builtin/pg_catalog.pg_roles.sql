-- Roles.
-- oid 12000
CREATE TABLE pg_catalog.pg_roles (
  rolname text NOT NULL,
  rolsuper boolean NOT NULL,
  rolinherit boolean NOT NULL,
  rolcreaterole boolean NOT NULL,
  rolcreatedb boolean NOT NULL,
  rolcanlogin boolean NOT NULL,
  rolreplication boolean NOT NULL,
  rolconnlimit integer NOT NULL,
  rolpassword text,
  rolvaliduntil timestamp with time zone,
  rolbypassrls boolean NOT NULL,
  rolconfig text,
  oid bigint NOT NULL
);

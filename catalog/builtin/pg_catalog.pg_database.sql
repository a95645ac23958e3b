-- The database.
-- oid 1262
CREATE TABLE pg_catalog.pg_database (
  oid bigint NOT NULL,
  datname text NOT NULL,
  datdba bigint NOT NULL,
  encoding integer NOT NULL,
  datlocprovider text NOT NULL,
  datistemplate boolean NOT NULL,
  datallowconn boolean NOT NULL,
  datconnlimit integer NOT NULL,
  datfrozenxid text,
  datminmxid text,
  dattablespace bigint NOT NULL,
  datcollate text NOT NULL,
  datctype text NOT NULL,
  daticulocale text,
  datcollversion text,
  datacl text
);

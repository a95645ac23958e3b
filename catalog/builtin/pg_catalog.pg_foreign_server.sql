-- Foreign servers (none).
-- oid 1417
CREATE TABLE pg_catalog.pg_foreign_server (
  oid bigint NOT NULL,
  srvname text NOT NULL,
  srvowner bigint NOT NULL,
  srvfdw bigint NOT NULL,
  srvtype text,
  srvversion text,
  srvacl text,
  srvoptions text
);

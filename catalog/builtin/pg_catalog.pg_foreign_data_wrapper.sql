-- Foreign data wrappers (none).
-- oid 2328
CREATE TABLE pg_catalog.pg_foreign_data_wrapper (
  oid bigint NOT NULL,
  fdwname text NOT NULL,
  fdwowner bigint NOT NULL,
  fdwhandler bigint NOT NULL,
  fdwvalidator bigint NOT NULL,
  fdwacl text,
  fdwoptions text
);

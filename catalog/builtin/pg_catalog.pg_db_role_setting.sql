-- Settings of roles and databases (none).
-- oid 2964
CREATE TABLE pg_catalog.pg_db_role_setting (
  setdatabase bigint NOT NULL,
  setrole bigint NOT NULL,
  setconfig text
);

-- Members of roles (none).
-- oid 1261
CREATE TABLE pg_catalog.pg_auth_members (
  roleid bigint NOT NULL,
  member bigint NOT NULL,
  grantor bigint NOT NULL,
  admin_option boolean NOT NULL
);

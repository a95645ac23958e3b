-- Default privileges (none).
-- oid 826
CREATE TABLE pg_catalog.pg_default_acl (
  oid bigint NOT NULL,
  defaclrole bigint NOT NULL,
  defaclnamespace bigint NOT NULL,
  defaclobjtype text NOT NULL,
  defaclacl text NOT NULL
);

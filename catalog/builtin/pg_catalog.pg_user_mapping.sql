-- User mappings (none).
-- oid 1418
CREATE TABLE pg_catalog.pg_user_mapping (
  oid bigint NOT NULL,
  umuser bigint NOT NULL,
  umserver bigint NOT NULL,
  umoptions text
);

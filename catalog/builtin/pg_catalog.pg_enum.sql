-- Values of enum types (none).
-- oid 3501
CREATE TABLE pg_catalog.pg_enum (
  oid bigint NOT NULL,
  enumtypid bigint NOT NULL,
  enumsortorder real NOT NULL,
  enumlabel text NOT NULL
);

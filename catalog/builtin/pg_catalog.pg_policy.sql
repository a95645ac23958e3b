-- Row security policies (none).
-- oid 3256
CREATE TABLE pg_catalog.pg_policy (
  oid bigint NOT NULL,
  polname text NOT NULL,
  polrelid bigint NOT NULL,
  polcmd text NOT NULL,
  polpermissive boolean NOT NULL,
  polroles text NOT NULL,
  polqual text,
  polwithcheck text
);

-- Publications (none).
-- oid 6104
CREATE TABLE pg_catalog.pg_publication (
  oid bigint NOT NULL,
  pubname text NOT NULL,
  pubowner bigint NOT NULL,
  puballtables boolean NOT NULL,
  pubinsert boolean NOT NULL,
  pubupdate boolean NOT NULL,
  pubdelete boolean NOT NULL,
  pubtruncate boolean NOT NULL,
  pubviaroot boolean NOT NULL
);

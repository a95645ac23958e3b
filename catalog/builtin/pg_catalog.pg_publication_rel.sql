-- Relations of publications (none).
-- oid 6106
CREATE TABLE pg_catalog.pg_publication_rel (
  oid bigint NOT NULL,
  prpubid bigint NOT NULL,
  prrelid bigint NOT NULL,
  prqual text,
  prattrs text
);

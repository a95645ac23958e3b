-- Inheritance (none).
-- oid 2611
CREATE TABLE pg_catalog.pg_inherits (
  inhrelid bigint NOT NULL,
  inhparent bigint NOT NULL,
  inhseqno integer NOT NULL,
  inhdetachpending boolean NOT NULL
);

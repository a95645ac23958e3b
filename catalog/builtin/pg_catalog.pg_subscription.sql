-- Subscriptions (none).
-- oid 6100
CREATE TABLE pg_catalog.pg_subscription (
  oid bigint NOT NULL,
  subdbid bigint NOT NULL,
  subskiplsn text NOT NULL,
  subname text NOT NULL,
  subowner bigint NOT NULL,
  subenabled boolean NOT NULL,
  subbinary boolean NOT NULL,
  substream boolean NOT NULL,
  subtwophasestate text NOT NULL,
  subdisableonerr boolean NOT NULL,
  subconninfo text NOT NULL,
  subslotname text,
  subsynccommit text NOT NULL,
  subpublications text NOT NULL
);

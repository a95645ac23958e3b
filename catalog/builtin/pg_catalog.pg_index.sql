-- Indexes.
-- oid 2610
CREATE TABLE pg_catalog.pg_index (
  indexrelid bigint NOT NULL,
  indrelid bigint NOT NULL,
  indnatts smallint NOT NULL,
  indnkeyatts smallint NOT NULL,
  indisunique boolean NOT NULL,
  indnullsnotdistinct boolean NOT NULL,
  indisprimary boolean NOT NULL,
  indisexclusion boolean NOT NULL,
  indimmediate boolean NOT NULL,
  indisclustered boolean NOT NULL,
  indisvalid boolean NOT NULL,
  indcheckxmin boolean NOT NULL,
  indisready boolean NOT NULL,
  indislive boolean NOT NULL,
  indisreplident boolean NOT NULL,
  indkey text NOT NULL,
  indcollation text NOT NULL,
  indclass text NOT NULL,
  indoption text NOT NULL,
  indexprs text,
  indpred text
);

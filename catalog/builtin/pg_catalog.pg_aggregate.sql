-- Aggregates (none listed).
-- oid 2600
CREATE TABLE pg_catalog.pg_aggregate (
  aggfnoid text NOT NULL,
  aggkind text NOT NULL,
  aggnumdirectargs smallint NOT NULL,
  aggtransfn text NOT NULL,
  aggfinalfn text NOT NULL,
  aggcombinefn text NOT NULL,
  aggserialfn text NOT NULL,
  aggdeserialfn text NOT NULL,
  aggmtransfn text NOT NULL,
  aggminvtransfn text NOT NULL,
  aggmfinalfn text NOT NULL,
  aggfinalextra boolean NOT NULL,
  aggmfinalextra boolean NOT NULL,
  aggfinalmodify text NOT NULL,
  aggmfinalmodify text NOT NULL,
  aggsortop bigint NOT NULL,
  aggtranstype bigint NOT NULL,
  aggtransspace integer NOT NULL,
  aggmtranstype bigint NOT NULL,
  aggmtransspace integer NOT NULL,
  agginitval text,
  aggminitval text
);

-- Event triggers (none).
-- oid 3466
CREATE TABLE pg_catalog.pg_event_trigger (
  oid bigint NOT NULL,
  evtname text NOT NULL,
  evtevent text NOT NULL,
  evtowner bigint NOT NULL,
  evtfoid bigint NOT NULL,
  evtenabled text NOT NULL,
  evttags text
);

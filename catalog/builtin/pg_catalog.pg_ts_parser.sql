-- Text search parsers (none).
-- oid 3601
CREATE TABLE pg_catalog.pg_ts_parser (
  oid bigint NOT NULL,
  prsname text NOT NULL,
  prsnamespace bigint NOT NULL,
  prsstart text NOT NULL,
  prstoken text NOT NULL,
  prsend text NOT NULL,
  prsheadline text NOT NULL,
  prslextype text NOT NULL
);

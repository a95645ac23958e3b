-- Languages of functions.
-- oid 2612
CREATE TABLE pg_catalog.pg_language (
  oid bigint NOT NULL,
  lanname text NOT NULL,
  lanowner bigint NOT NULL,
  lanispl boolean NOT NULL,
  lanpltrusted boolean NOT NULL,
  lanplcallfoid bigint NOT NULL,
  laninline bigint NOT NULL,
  lanvalidator bigint NOT NULL,
  lanacl text
);

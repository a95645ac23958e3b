-- Triggers (none).
-- oid 2620
CREATE TABLE pg_catalog.pg_trigger (
  oid bigint NOT NULL,
  tgrelid bigint NOT NULL,
  tgparentid bigint NOT NULL,
  tgname text NOT NULL,
  tgfoid bigint NOT NULL,
  tgtype smallint NOT NULL,
  tgenabled text NOT NULL,
  tgisinternal boolean NOT NULL,
  tgconstraint bigint NOT NULL,
  tgdeferrable boolean NOT NULL,
  tginitdeferred boolean NOT NULL
);

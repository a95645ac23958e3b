-- Constraints: primary keys, UNIQUE, CHECK.
-- oid 2606
CREATE TABLE pg_catalog.pg_constraint (
  oid bigint NOT NULL,
  conname text NOT NULL,
  connamespace bigint NOT NULL,
  contype text NOT NULL,
  condeferrable boolean NOT NULL,
  condeferred boolean NOT NULL,
  convalidated boolean NOT NULL,
  conrelid bigint NOT NULL,
  contypid bigint NOT NULL,
  conindid bigint NOT NULL,
  conparentid bigint NOT NULL,
  confrelid bigint NOT NULL,
  confupdtype text NOT NULL,
  confdeltype text NOT NULL,
  confmatchtype text NOT NULL,
  conislocal boolean NOT NULL,
  coninhcount integer NOT NULL,
  connoinherit boolean NOT NULL,
  conkey text,
  confkey text,
  conbin text
);

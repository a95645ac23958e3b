-- Casts (none listed).
-- oid 2605
CREATE TABLE pg_catalog.pg_cast (
  oid bigint NOT NULL,
  castsource bigint NOT NULL,
  casttarget bigint NOT NULL,
  castfunc bigint NOT NULL,
  castcontext text NOT NULL,
  castmethod text NOT NULL
);

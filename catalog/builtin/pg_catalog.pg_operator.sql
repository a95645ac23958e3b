-- Operators (none listed).
-- oid 2617
CREATE TABLE pg_catalog.pg_operator (
  oid bigint NOT NULL,
  oprname text NOT NULL,
  oprnamespace bigint NOT NULL,
  oprowner bigint NOT NULL,
  oprkind text NOT NULL,
  oprcanmerge boolean NOT NULL,
  oprcanhash boolean NOT NULL,
  oprleft bigint NOT NULL,
  oprright bigint NOT NULL,
  oprresult bigint NOT NULL,
  oprcom bigint NOT NULL,
  oprnegate bigint NOT NULL,
  oprcode bigint NOT NULL,
  oprrest text NOT NULL,
  oprjoin text NOT NULL
);

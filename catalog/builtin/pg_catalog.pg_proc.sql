-- Functions that statements have defined.
-- oid 1255
CREATE TABLE pg_catalog.pg_proc (
  oid bigint NOT NULL,
  proname text NOT NULL,
  pronamespace bigint NOT NULL,
  proowner bigint NOT NULL,
  prolang bigint NOT NULL,
  prokind text NOT NULL,
  provolatile text NOT NULL,
  proretset boolean NOT NULL,
  pronargs smallint NOT NULL,
  prorettype bigint NOT NULL,
  proargtypes text NOT NULL,
  proargnames text,
  prosrc text NOT NULL
);

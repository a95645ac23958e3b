-- Views.
-- oid 12035
CREATE TABLE pg_catalog.pg_views (
  schemaname text NOT NULL,
  viewname text NOT NULL,
  viewowner text NOT NULL,
  definition text
);

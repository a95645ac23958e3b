-- Relations of subscriptions (none).
-- oid 6102
CREATE TABLE pg_catalog.pg_subscription_rel (
  srsubid bigint NOT NULL,
  srrelid bigint NOT NULL,
  srsubstate text NOT NULL,
  srsublsn text
);

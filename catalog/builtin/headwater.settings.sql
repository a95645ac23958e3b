-- Settings and their values.
-- oid 9008
CREATE TABLE headwater.settings (
  name text NOT NULL,
  value text,
  description text
);

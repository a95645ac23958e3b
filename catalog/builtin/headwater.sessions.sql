-- Client sessions.
-- oid 9009
CREATE TABLE headwater.sessions (
  pid bigint NOT NULL,
  user_name text NOT NULL,
  database text NOT NULL,
  application_name text,
  client_address text,
  started timestamp with time zone,
  state text NOT NULL,
  query text
);

-- What is compared. Names that a directory does not have give the error that is expected.

SELECT nspname FROM pg_namespace ORDER BY 1
SELECT rolname, rolsuper FROM pg_roles ORDER BY 1
SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'shop') ORDER BY 1, 2
SELECT table_schema, table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema IN ('public', 'shop') ORDER BY table_schema, table_name, ordinal_position
SELECT conname, contype FROM pg_constraint ORDER BY 1
SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname IN ('public', 'shop') ORDER BY 1, 2
SELECT schemaname, matviewname, definition FROM pg_matviews ORDER BY 1, 2
SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname = 'shop' ORDER BY 1, 2
SHOW CREATE TABLE types
SHOW CREATE TABLE keyed
SHOW CREATE SOURCE nexmark
SHOW CREATE VIEW shop.big
SHOW CREATE MATERIALIZED VIEW shop.by_region
SHOW CREATE INDEX shop.by_name
SELECT schema, name, errors FROM headwater.views ORDER BY 1, 2
SELECT name, type FROM headwater.sources ORDER BY 1
SELECT source, partition, position FROM headwater.source_partitions ORDER BY 1, 2
SELECT view, sqlstate, message, count FROM headwater.view_errors ORDER BY 1, 2
SELECT id, b, i2, i4, i8, f4, f8, n, m FROM types ORDER BY id
SELECT id, v, CASE WHEN length(x) < 100 THEN x ELSE length(x)::text END, ba, d, tm, ts, tz, iv, u, j FROM types ORDER BY id
SELECT x = repeat('long text ', 2000) FROM types WHERE id = 6
SELECT * FROM shop.customers ORDER BY id
SELECT * FROM shop.orders ORDER BY customer, amount, pieces
SELECT * FROM keyed ORDER BY a, b
SELECT * FROM nothing
SELECT * FROM late ORDER BY k
SELECT * FROM shop.big ORDER BY customer, amount
SELECT * FROM filtered ORDER BY id
SELECT * FROM mapped ORDER BY id
SELECT id, f8, m, j FROM all_types ORDER BY id
SELECT * FROM by_float ORDER BY f8
SELECT * FROM shop.by_region ORDER BY region
SELECT region, orders FROM shop.by_region WHERE orders = 4
SELECT * FROM shop.joined ORDER BY name, amount
SELECT * FROM shop.pairs ORDER BY one, two
SELECT * FROM shop.regions ORDER BY region
SELECT * FROM shop.names ORDER BY text
SELECT * FROM shop.once ORDER BY text
SELECT * FROM shop.big_spenders ORDER BY customer
SELECT * FROM shop.top
SELECT * FROM shop.total
SELECT * FROM shop.none
SELECT * FROM shop.failing ORDER BY customer, share
SELECT * FROM shop.late_view ORDER BY region
SELECT id FROM shop.customers WHERE name = 'Chidi'
SELECT a, b FROM keyed WHERE v = 10 AND a = 1
SELECT count(*), sum(price), min(auction), max(auction) FROM n_joined
SELECT * FROM n_categories ORDER BY category
SELECT * FROM n_states ORDER BY state
SELECT * FROM n_total

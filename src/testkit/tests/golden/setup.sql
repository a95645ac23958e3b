-- What a golden data directory holds: every type, every operator that is maintained, and what there is beside them.
-- The expected results (*.expected) are to be understood from this text alone.

CREATE SCHEMA shop;
CREATE TABLE types (id int PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, n numeric(12, 2), m numeric, v varchar(10), x text, ba bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j jsonb);
-- An ordinary row; nothing; the greatest; the least; what is odd; what is long.
INSERT INTO types VALUES (1, true, 7, 70, 700, 1.5, 0.1, 12.5, 1.50, 'abc', 'text', '\x00ff10', '2024-02-29', '12:34:56.789', '2024-02-29 12:34:56', '2024-02-29 12:34:56+02', '1 month 2 days 03:04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": 1, "a": [true, null]}');
INSERT INTO types (id) VALUES (2);
INSERT INTO types VALUES (3, true, 32767, 2147483647, 9223372036854775807, '3.4028235e38', '1.7976931348623157e308', 9999999999.99, 99999999999999999999999999999999999999, 'zzzzzzzzzz', '', '', '9999-12-31', '23:59:59.999999', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999999+00', '10 years 11 months 30 days 23:59:59.999999', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"deep": {"er": [{"x": [[], {}, [1, 2.50, -0.001]]}, "ü\n\"quoted\""]}, "": null}');
INSERT INTO types VALUES (4, false, -32768, -2147483648, -9223372036854775808, '-3.4028235e38', '-1.7976931348623157e308', -9999999999.99, -0.000000000000000001, '', '', '\x', '0001-01-01', '00:00:00', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '-1 month -2 days -03:04:05', '00000000-0000-0000-0000-000000000000', 'false');
INSERT INTO types VALUES (5, false, 0, 0, 0, '-0.0', '-0.0', 0, 0.00, ' ', 'tab	and
newline', '\x00', '1970-01-01', '00:00:00.000001', '1969-12-31 23:59:59.999999', '1970-01-01 00:00:00+00', '00:00:00', '00000000-0000-0000-0000-000000000001', '[]');
INSERT INTO types VALUES (6, NULL, NULL, NULL, NULL, 'NaN', 'NaN', NULL, NULL, 'äöüß€', repeat('long text ', 2000), NULL, NULL, NULL, NULL, NULL, NULL, NULL, '"text"');
INSERT INTO types (id, f4, f8) VALUES (7, '-Infinity', 'Infinity'), (8, '1e-45', '5e-324');

CREATE TABLE shop.customers (id int PRIMARY KEY, name text NOT NULL, region text);
CREATE TABLE shop.orders (customer int, amount numeric(10, 2), pieces int, weight double precision, paid boolean);
CREATE TABLE keyed (a int, b text, v bigint, PRIMARY KEY (a, b));
CREATE TABLE nothing (a int);
CREATE VIEW shop.big AS SELECT customer, amount FROM shop.orders WHERE amount >= 100;

CREATE MATERIALIZED VIEW filtered AS SELECT id, i4 FROM types WHERE i4 > 0 OR f8 = 'NaN';
CREATE MATERIALIZED VIEW mapped AS SELECT id, upper(v) AS up, i4 % 7 AS rest, CASE WHEN b THEN 'yes' WHEN NOT b THEN 'no' ELSE '?' END AS word, COALESCE(i2, -1) AS i2 FROM types WHERE id <> 4;
CREATE MATERIALIZED VIEW all_types AS SELECT * FROM types;
CREATE MATERIALIZED VIEW by_float AS SELECT f8, count(*) AS n FROM types GROUP BY f8;
CREATE MATERIALIZED VIEW shop.by_region AS SELECT c.region, count(*) AS orders, count(o.pieces) AS counted, count(DISTINCT o.customer) AS customers, sum(o.pieces) AS pieces, sum(o.amount) AS amount, sum(o.weight) AS weight, avg(o.pieces) AS mean, avg(o.weight) AS mean_weight, min(o.amount) AS least, max(o.amount) AS most, min(c.name) AS first, max(c.name) AS last, bool_and(o.paid) AS all_paid, bool_or(o.paid) AS some_paid, count(*) FILTER (WHERE o.paid) AS paid FROM shop.orders o JOIN shop.customers c ON o.customer = c.id GROUP BY c.region;
CREATE MATERIALIZED VIEW shop.joined AS SELECT c.name, o.amount FROM shop.orders o JOIN shop.customers c ON o.customer = c.id;
CREATE MATERIALIZED VIEW shop.pairs AS SELECT a.id AS one, b.id AS two FROM shop.customers a JOIN shop.customers b ON a.region = b.region AND a.id < b.id;
CREATE MATERIALIZED VIEW shop.regions AS SELECT DISTINCT region FROM shop.customers;
CREATE MATERIALIZED VIEW shop.names AS SELECT name AS text FROM shop.customers UNION ALL SELECT region FROM shop.customers UNION ALL SELECT 'fixed';
CREATE MATERIALIZED VIEW shop.once AS SELECT name AS text FROM shop.customers UNION SELECT region FROM shop.customers;
CREATE MATERIALIZED VIEW shop.big_spenders AS SELECT customer, sum(amount) AS total FROM shop.big GROUP BY customer HAVING count(*) > 1;
CREATE MATERIALIZED VIEW shop.top AS SELECT max(amount) AS most, sum(orders) AS orders, min(customers) AS few FROM shop.by_region;
CREATE MATERIALIZED VIEW shop.total AS SELECT count(*) AS n, sum(amount) AS s, min(weight) AS low, count(DISTINCT pieces) AS d, sum(DISTINCT pieces) AS ds FROM shop.orders;
CREATE MATERIALIZED VIEW shop.none AS SELECT count(*) AS n, max(a) AS top FROM nothing;
CREATE MATERIALIZED VIEW shop.failing AS SELECT customer, 100 / pieces AS share FROM shop.orders;
CREATE INDEX ON shop.by_region (orders);
CREATE INDEX by_name ON shop.customers (name);
CREATE INDEX ON keyed (v, a);

CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS 500, SEED 42, PREFIX 'n_');
CREATE MATERIALIZED VIEW n_joined AS SELECT b.auction, b.price, a.category FROM n_bid b JOIN n_auction a ON b.auction = a.id WHERE b.price > 1000000;
CREATE MATERIALIZED VIEW n_categories AS SELECT a.category, count(*) AS bids, max(b.price) AS top FROM n_bid b JOIN n_auction a ON b.auction = a.id GROUP BY a.category;
CREATE MATERIALIZED VIEW n_states AS SELECT state, count(*) AS people FROM n_person GROUP BY state;
CREATE MATERIALIZED VIEW n_total AS SELECT count(*) AS bids, sum(price) AS s, min(bidder) AS low FROM n_bid;

INSERT INTO shop.customers VALUES (1, 'Ada', 'north'), (2, 'Bela', 'north'), (3, 'Chidi', 'south'), (4, 'Dana', NULL), (5, 'Emre', 'east');
INSERT INTO shop.orders VALUES (1, 10.50, 1, 0.5, true), (1, 10.50, 1, 0.5, true), (1, 250.00, 3, 2.25, false), (2, 100.00, 2, 1.5, true), (3, 99.99, NULL, NULL, NULL), (4, 1.00, 5, 0.125, false), (9, 5.00, 4, 1, true);
INSERT INTO keyed VALUES (1, 'x', 10), (1, 'y', 20), (2, 'x', NULL), (2, '', -5);
UPDATE shop.orders SET amount = 120.00 WHERE customer = 2;
DELETE FROM keyed WHERE a = 1 AND b = 'y';
ALTER ROLE headwater PASSWORD 'golden secret';

-- What comes after the last checkpoint of a directory whose server was killed.

INSERT INTO shop.customers VALUES (6, 'Freya', 'south'), (7, 'Goran', 'west');
INSERT INTO shop.orders VALUES (2, 300.00, 1, 0.75, false), (6, 40.00, 2, 3.5, true), (5, 7.00, 0, 0.25, true);
UPDATE shop.customers SET region = 'east' WHERE id = 1;
DELETE FROM shop.orders WHERE amount = 1.00;
DELETE FROM types WHERE id = 8;
CREATE TABLE late (k bigint PRIMARY KEY, t text);
INSERT INTO late VALUES (1, 'one'), (2, NULL);
CREATE MATERIALIZED VIEW shop.late_view AS SELECT region, count(*) AS n FROM shop.customers GROUP BY region;
DROP TABLE nothing CASCADE;
DROP MATERIALIZED VIEW n_states;
ALTER SOURCE nexmark PAUSE;
INSERT INTO late VALUES (3, 'three');

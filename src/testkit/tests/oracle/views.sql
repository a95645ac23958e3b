-- Views of every kind that is maintained, over every type in scope. All of them must be accepted.

CREATE TABLE wide (id int PRIMARY KEY, g text, s smallint, i int, l bigint, n numeric(12,2), m numeric, f4 real, f8 double precision, t varchar(10), ok boolean, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j jsonb, ba bytea);
CREATE TABLE pairs (k int, g text, x int, y bigint, f double precision);
CREATE TABLE three (k int, a int, b int);
CREATE TABLE keyed (a int, b int, v text, PRIMARY KEY (a, b));
CREATE VIEW positive AS SELECT id, g, i, l FROM wide WHERE i > 0;
CREATE VIEW renamed AS SELECT k AS key, CAST(x AS bigint) + 1 AS next, g FROM pairs WHERE k IS NOT NULL;

-- Filters.
CREATE MATERIALIZED VIEW filter_and AS SELECT id, g, i FROM wide WHERE i > 1 AND g = 'a';
CREATE MATERIALIZED VIEW filter_or AS SELECT id, g, i FROM wide WHERE i IS NULL OR NOT ok OR g <> 'b';
CREATE MATERIALIZED VIEW filter_in AS SELECT id, t FROM wide WHERE i IN (1, 2, 3) AND t NOT IN ('a', 'b');
CREATE MATERIALIZED VIEW filter_between AS SELECT id, n, d FROM wide WHERE n BETWEEN 0 AND 3 OR d < DATE '2000-01-01';
CREATE MATERIALIZED VIEW filter_types AS SELECT id FROM wide WHERE f8 > 0.15 OR f4 < 0 OR m = 1.0 OR u = '00000000-0000-0000-0000-000000000000';
CREATE MATERIALIZED VIEW filter_infinite AS SELECT id, CAST('-Infinity' AS real) AS low FROM wide WHERE f8 = CAST('NaN' AS double precision) OR f8 < CAST('Infinity' AS double precision);
CREATE MATERIALIZED VIEW filter_distinct_from AS SELECT id, i FROM wide WHERE i IS DISTINCT FROM 2;
CREATE MATERIALIZED VIEW filter_like AS SELECT id, g FROM wide WHERE g LIKE 'a%' OR g LIKE '%b';
CREATE MATERIALIZED VIEW filter_nothing AS SELECT id FROM wide WHERE i > 3 AND i < 2;

-- Projections.
CREATE MATERIALIZED VIEW project_all AS SELECT * FROM wide;
CREATE MATERIALIZED VIEW project_arithmetic AS SELECT k, x + 1 AS up, x - k AS minus, y * 2 AS twice, x % 3 AS rest, -x AS neg FROM pairs;
CREATE MATERIALIZED VIEW project_case AS SELECT id, CASE WHEN i > 2 THEN 'big' WHEN i IS NULL THEN 'none' ELSE 'small' END AS size FROM wide;
CREATE MATERIALIZED VIEW project_coalesce AS SELECT id, COALESCE(i, s, -1) AS first, NULLIF(i, 2) AS no_two FROM wide;
CREATE MATERIALIZED VIEW project_cast AS SELECT id, CAST(i AS bigint) AS l, CAST(i AS text) AS txt, CAST(n AS double precision) AS f, CAST(ok AS text) AS b FROM wide;
CREATE MATERIALIZED VIEW project_text AS SELECT id, upper(g) AS up, length(g) AS len, g || '-' || t AS both FROM wide;
CREATE MATERIALIZED VIEW project_numeric AS SELECT id, n + m AS plus, n * 2 AS twice, n - 0.5 AS less FROM wide;
CREATE MATERIALIZED VIEW project_constant AS SELECT 1 AS one, 'x' AS x, NULL AS nothing, k FROM three;
CREATE MATERIALIZED VIEW project_duplicates AS SELECT g FROM pairs;

-- Joins.
CREATE MATERIALIZED VIEW join_two AS SELECT p.k, p.x, t.a FROM pairs p JOIN three t ON p.k = t.k;
CREATE MATERIALIZED VIEW join_where AS SELECT w.id, p.x FROM wide w, pairs p WHERE w.g = p.g AND p.x > 2;
CREATE MATERIALIZED VIEW join_residual AS SELECT p.k, p.x, t.b FROM pairs p JOIN three t ON p.k = t.k AND p.x < t.b;
CREATE MATERIALIZED VIEW join_two_keys AS SELECT p.k, p.y FROM pairs p JOIN three t ON p.k = t.k AND p.x = t.a;
CREATE MATERIALIZED VIEW join_mixed_types AS SELECT p.k, w.id FROM pairs p JOIN wide w ON p.x = w.s WHERE w.id < 20;
CREATE MATERIALIZED VIEW join_self AS SELECT a.id, b.id AS other FROM wide a JOIN wide b ON a.i = b.id;
CREATE MATERIALIZED VIEW join_three AS SELECT count(*) AS n, sum(p.x) AS s FROM wide w JOIN pairs p ON w.id = p.k JOIN three t ON t.k = p.k;
CREATE MATERIALIZED VIEW join_chain AS SELECT w.id, k.v FROM wide w JOIN pairs p ON w.i = p.k JOIN keyed k ON k.a = p.x AND k.b = w.s;
CREATE MATERIALIZED VIEW join_numeric AS SELECT a.id, b.id AS other FROM wide a JOIN wide b ON a.n = b.n WHERE a.id < b.id;
CREATE MATERIALIZED VIEW join_expression AS SELECT p.k, t.a FROM pairs p JOIN three t ON CAST(p.k AS bigint) + 1 = CAST(t.k AS bigint) * 2;

-- Groups.
CREATE MATERIALIZED VIEW group_counts AS SELECT g, count(*) AS n, count(i) AS ni, count(f8) AS nf FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_sums AS SELECT g, sum(s) AS s, sum(i) AS i, sum(l) AS l, sum(n) AS n, sum(m) AS m FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_floats AS SELECT g, sum(f4) AS f4, sum(f8) AS f8, avg(f8) AS a8, avg(f4) AS a4 FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_averages AS SELECT g, avg(i) AS i, avg(l) AS l, avg(n) AS n FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_min AS SELECT g, min(i) AS i, min(n) AS n, min(m) AS m, min(t) AS t, min(d) AS d, min(ts) AS ts, min(tz) AS tz, min(f8) AS f FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_max AS SELECT g, max(l) AS l, max(f4) AS f4, max(f8) AS f8, max(tm) AS tm, max(t) AS t, max(d) AS d FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_bool AS SELECT g, bool_and(ok) AS every, bool_or(ok) AS some FROM wide GROUP BY g;
CREATE MATERIALIZED VIEW group_distinct AS SELECT k, count(DISTINCT x) AS n, sum(DISTINCT x) AS s FROM pairs GROUP BY k;
CREATE MATERIALIZED VIEW group_filter AS SELECT k, count(*) FILTER (WHERE x > 2) AS big, sum(y) FILTER (WHERE g = 'a') AS a, max(x) FILTER (WHERE x < 5) AS m FROM pairs GROUP BY k;
CREATE MATERIALIZED VIEW group_distinct_filter AS SELECT g, count(DISTINCT x) FILTER (WHERE k > 1) AS n FROM pairs GROUP BY g;
CREATE MATERIALIZED VIEW group_having AS SELECT k, count(*) AS n FROM pairs GROUP BY k HAVING count(*) > 1 AND min(x) > 0;
CREATE MATERIALIZED VIEW group_expression AS SELECT x % 2 AS odd, length(g) AS len, max(y) AS m FROM pairs GROUP BY x % 2, length(g);
CREATE MATERIALIZED VIEW group_float_key AS SELECT f, count(*) AS n FROM pairs GROUP BY f;
CREATE MATERIALIZED VIEW group_numeric_key AS SELECT n, count(*) AS c FROM wide GROUP BY n;
CREATE MATERIALIZED VIEW group_date_keys AS SELECT d, ok, u, count(*) AS c FROM wide GROUP BY d, ok, u;
CREATE MATERIALIZED VIEW group_keys_only AS SELECT g FROM pairs GROUP BY g;
CREATE MATERIALIZED VIEW whole_table AS SELECT count(*) AS n, sum(x) AS s, min(x) AS lo, max(y) AS hi, avg(y) AS a, bool_or(x > 4) AS b FROM pairs;
CREATE MATERIALIZED VIEW whole_distinct AS SELECT count(DISTINCT g) AS g, count(DISTINCT k) AS k FROM pairs;
CREATE MATERIALIZED VIEW whole_filtered AS SELECT count(*) AS n, max(i) AS m FROM wide WHERE i > 4;
CREATE MATERIALIZED VIEW group_of_join AS SELECT t.k, count(*) AS n, sum(p.y) AS s, max(p.x) AS m FROM pairs p JOIN three t ON p.k = t.k GROUP BY t.k;

-- Sets.
CREATE MATERIALIZED VIEW distinct_one AS SELECT DISTINCT g FROM pairs;
CREATE MATERIALIZED VIEW distinct_many AS SELECT DISTINCT k, x, g FROM pairs;
CREATE MATERIALIZED VIEW distinct_types AS SELECT DISTINCT f8, d, ok, u, ba FROM wide;
CREATE MATERIALIZED VIEW union_all AS SELECT k, x FROM pairs UNION ALL SELECT k, a FROM three UNION ALL SELECT a, b FROM keyed;
CREATE MATERIALIZED VIEW union_set AS SELECT k, x FROM pairs UNION SELECT k, a FROM three;
CREATE MATERIALIZED VIEW union_same AS SELECT g FROM pairs UNION ALL SELECT g FROM pairs;
CREATE MATERIALIZED VIEW union_types AS SELECT x AS v FROM pairs UNION ALL SELECT y FROM pairs;

-- Queries inside queries, views over views.
CREATE MATERIALIZED VIEW nested AS SELECT n, count(*) AS groups FROM (SELECT g, count(*) AS n FROM pairs GROUP BY g) q GROUP BY n;
CREATE MATERIALIZED VIEW nested_join AS SELECT a.g, a.n, b.m FROM (SELECT g, count(*) AS n FROM pairs GROUP BY g) a JOIN (SELECT g, max(i) AS m FROM wide GROUP BY g) b ON a.g = b.g;
CREATE MATERIALIZED VIEW with_query AS WITH q AS (SELECT k, sum(x) AS s FROM pairs GROUP BY k) SELECT q.k, q.s, t.a FROM q JOIN three t ON q.k = t.k;
CREATE MATERIALIZED VIEW over_plain AS SELECT g, sum(i) AS s FROM positive GROUP BY g;
CREATE MATERIALIZED VIEW over_two_plain AS SELECT p.id, r.next FROM positive p JOIN renamed r ON p.i = r.key;
CREATE MATERIALIZED VIEW over_view AS SELECT n, count(*) AS c FROM group_counts GROUP BY n;
CREATE MATERIALIZED VIEW over_over AS SELECT sum(c) AS s, max(n) AS m FROM over_view;
CREATE MATERIALIZED VIEW over_join AS SELECT c.g, c.n, s.i FROM group_counts c JOIN group_sums s ON c.g = s.g WHERE c.n > 1;
CREATE MATERIALIZED VIEW over_union AS SELECT DISTINCT x FROM union_all WHERE k > 1;
CREATE MATERIALIZED VIEW over_self AS SELECT a.g, b.n FROM group_counts a JOIN group_counts b ON a.n = b.n;
CREATE MATERIALIZED VIEW over_empty AS SELECT count(*) AS n FROM filter_nothing;

-- Rows that may fail.
CREATE MATERIALIZED VIEW may_divide AS SELECT k, a / b AS r FROM three WHERE a > 4;
CREATE MATERIALIZED VIEW may_divide_sum AS SELECT sum(r) AS s FROM may_divide;
CREATE MATERIALIZED VIEW may_overflow AS SELECT id, i + 2147483000 AS r FROM wide WHERE i < 5;
CREATE MATERIALIZED VIEW guarded AS SELECT k, CASE WHEN b = 0 THEN NULL ELSE a / b END AS r FROM three;
CREATE MATERIALIZED VIEW may_cast AS SELECT k, CAST(g AS int) AS r FROM pairs WHERE g = 'zz' AND x > 4;

-- Three relations and more: delta joins and arrangements that are shared.
CREATE MATERIALIZED VIEW delta_one_key AS SELECT p.x, t.a, k.v FROM pairs p JOIN three t ON p.k = t.k JOIN keyed k ON k.a = p.k;
CREATE MATERIALIZED VIEW delta_references AS SELECT a.k, b.t, c.n, c.u FROM three a JOIN wide b ON a.a = b.id JOIN wide c ON b.i = c.id;
CREATE MATERIALIZED VIEW delta_self AS SELECT a.k, b.b, c.a FROM three a JOIN three b ON a.a = b.k JOIN three c ON b.a = c.k;
CREATE MATERIALIZED VIEW delta_round AS SELECT count(*) AS n, sum(a.b) AS s FROM three a JOIN three b ON a.a = b.k JOIN three c ON b.a = c.k AND c.a = a.k;
CREATE MATERIALIZED VIEW delta_null_safe AS SELECT a.x, b.a, c.b FROM pairs a JOIN three b ON a.k IS NOT DISTINCT FROM b.k JOIN three c ON c.k IS NOT DISTINCT FROM a.k;
CREATE MATERIALIZED VIEW delta_aggregates AS SELECT c.n, s.i, w.t FROM group_counts c JOIN group_sums s ON c.g = s.g JOIN wide w ON w.g = c.g;

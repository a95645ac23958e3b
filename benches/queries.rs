//! The measured queries, by name.

/// A query as SQL.
pub struct Query {
    /// Nexmark's name, or one of ours.
    pub name: &'static str,
    /// What the view computes.
    pub sql: &'static str,
    /// Also measured with its changes only counted.
    pub discard: bool,
    /// With the forms of state that bear retractions, though there are none.
    pub retractable: bool,
}

const fn view(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, discard: false, retractable: false }
}

const fn stream(name: &'static str, sql: &'static str) -> Query {
    Query { name, sql, discard: true, retractable: false }
}

/// Every Nexmark query that is lowered, and the shapes that have floors.
pub const QUERIES: &[Query] = &[
    stream("q0", "SELECT auction, bidder, price, channel, url, date_time, extra FROM bid"),
    stream("q1", "SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid"),
    view("q2", "SELECT auction, price FROM bid WHERE auction % 123 = 0"),
    view(
        "q3",
        "SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id \
         WHERE a.category = 10 AND (p.state = 'OR' OR p.state = 'ID' OR p.state = 'CA')",
    ),
    view(
        "q4",
        "SELECT category, avg(final) AS average FROM (SELECT a.id, a.category, max(b.price) AS final \
         FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires \
         GROUP BY a.id, a.category) q GROUP BY category",
    ),
    view(
        "q5",
        "WITH windows AS (SELECT b.auction, w.start, count(*) AS num FROM bid b, \
         generate_series(date_bin('2 seconds', b.date_time, '2000-01-01') - interval '8 seconds', \
         date_bin('2 seconds', b.date_time, '2000-01-01'), '2 seconds') AS w(start) GROUP BY b.auction, w.start) \
         SELECT c.start, c.auction, c.num FROM windows c \
         JOIN (SELECT start, max(num) AS num FROM windows GROUP BY start) m ON c.start = m.start AND c.num = m.num",
    ),
    view(
        "q7",
        "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid b JOIN \
         (SELECT date_bin('10 seconds', date_time, '2000-01-01') AS start, max(price) AS price FROM bid \
         GROUP BY date_bin('10 seconds', date_time, '2000-01-01')) m \
         ON b.price = m.price AND date_bin('10 seconds', b.date_time, '2000-01-01') = m.start",
    ),
    view(
        "q8",
        "SELECT p.id, p.name, p.start FROM (SELECT id, name, date_bin('10 seconds', date_time, '2000-01-01') AS start \
         FROM person) p JOIN (SELECT DISTINCT seller, date_bin('10 seconds', date_time, '2000-01-01') AS start \
         FROM auction) a ON p.id = a.seller AND p.start = a.start",
    ),
    view(
        "q9",
        "SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra, \
         auction, bidder, price, bid_time, bid_extra FROM (SELECT a.*, b.auction, b.bidder, b.price, \
         b.date_time AS bid_time, b.extra AS bid_extra, \
         row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS n \
         FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) q \
         WHERE n <= 1",
    ),
    view(
        "q12",
        "SELECT bidder, date_bin('10 seconds', date_time, '2000-01-01') AS start, count(*) AS bids FROM bid \
         GROUP BY bidder, date_bin('10 seconds', date_time, '2000-01-01')",
    ),
    view("count_sum", "SELECT auction, count(*) AS n, sum(price) AS total FROM bid GROUP BY auction"),
    view(
        "count_sum_max",
        "SELECT auction, count(*) AS n, sum(price) AS total, max(price) AS top FROM bid GROUP BY auction",
    ),
    Query {
        name: "count_sum_max_retractable",
        sql: "SELECT auction, count(*) AS n, sum(price) AS total, max(price) AS top FROM bid GROUP BY auction",
        discard: false,
        retractable: true,
    },
    view(
        "q15",
        "SELECT to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS bids, \
         count(*) FILTER (WHERE price < 10000) AS rank1, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3, count(DISTINCT bidder) AS bidders, \
         count(DISTINCT auction) AS auctions FROM bid GROUP BY to_char(date_time, 'YYYY-MM-DD')",
    ),
    view(
        "q16",
        "SELECT channel, to_char(date_time, 'YYYY-MM-DD') AS day, max(to_char(date_time, 'HH24:MI')) AS minute, \
         count(*) AS bids, count(*) FILTER (WHERE price < 10000) AS rank1, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3, count(DISTINCT bidder) AS bidders, \
         count(DISTINCT bidder) FILTER (WHERE price < 10000) AS bidders1, \
         count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS bidders2, \
         count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS bidders3, count(DISTINCT auction) AS auctions, \
         count(DISTINCT auction) FILTER (WHERE price < 10000) AS auctions1, \
         count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS auctions2, \
         count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS auctions3 FROM bid \
         GROUP BY channel, to_char(date_time, 'YYYY-MM-DD')",
    ),
    view(
        "q17",
        "SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS bids, \
         count(*) FILTER (WHERE price < 10000) AS rank1, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3, min(price) AS lowest, max(price) AS highest, \
         avg(price) AS average, sum(price) AS total FROM bid GROUP BY auction, to_char(date_time, 'YYYY-MM-DD')",
    ),
    view(
        "q18",
        "SELECT auction, bidder, price, channel, url, date_time, extra FROM (SELECT *, \
         row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS n FROM bid) q WHERE n <= 1",
    ),
    view(
        "q19",
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) q \
         WHERE n <= 10",
    ),
    view(
        "q20",
        "SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_time, b.extra AS bid_extra, \
         a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_time, a.expires, a.seller, \
         a.category, a.extra AS auction_extra FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10",
    ),
    stream(
        "join",
        "SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_time, b.extra AS bid_extra, \
         a.item_name, a.description, a.initial_bid, a.reserve, a.date_time AS auction_time, a.expires, a.seller, \
         a.category, a.extra AS auction_extra FROM bid b JOIN auction a ON b.auction = a.id",
    ),
    view(
        "q22",
        "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, \
         split_part(url, '/', 6) AS dir3 FROM bid",
    ),
];

/// By name.
pub fn find(name: &str) -> Option<&'static Query> {
    QUERIES.iter().find(|q| q.name == name)
}

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
        "q17",
        "SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS bids, \
         count(*) FILTER (WHERE price < 10000) AS rank1, \
         count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2, \
         count(*) FILTER (WHERE price >= 1000000) AS rank3, min(price) AS lowest, max(price) AS highest, \
         avg(price) AS average, sum(price) AS total FROM bid GROUP BY auction, to_char(date_time, 'YYYY-MM-DD')",
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

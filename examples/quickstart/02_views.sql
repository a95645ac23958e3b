-- Bids of each auction, as they come in.
CREATE MATERIALIZED VIEW bids_by_auction AS
  SELECT auction, count(*) AS bids, min(price) AS lowest, max(price) AS highest, avg(price) AS average
  FROM bid
  GROUP BY auction;

-- A view over a view: where the action is.
CREATE MATERIALIZED VIEW busy_auctions AS
  SELECT a.id, a.item_name, a.category, b.bids, b.highest
  FROM bids_by_auction b
  JOIN auction a ON a.id = b.auction
  WHERE b.bids >= 20;

-- What the best bids of a category come to.
CREATE MATERIALIZED VIEW category_prices AS
  SELECT a.category, count(*) AS auctions, avg(b.highest) AS average_best, max(b.highest) AS best
  FROM bids_by_auction b
  JOIN auction a ON a.id = b.auction
  GROUP BY a.category;

-- Everyone who sold or bid.
CREATE MATERIALIZED VIEW active_people AS
  SELECT DISTINCT p.id, p.name, p.city
  FROM person p
  JOIN (SELECT seller AS id FROM auction UNION ALL SELECT bidder FROM bid) seen ON seen.id = p.id;

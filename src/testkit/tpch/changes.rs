//! Batches of changes: new orders with their items, deletes of the oldest, updates of what the queries ask for.

use super::data::{Data, literals, order_key};
use super::words::{self, date, money};
use crate::Random;
use std::collections::VecDeque;

/// Rows of one INSERT.
const INSERT_ROWS: usize = 1_000;

/// Statements, in order. Those of a block are one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What is written: blocks of several statements, and statements alone.
    pub blocks: Vec<Vec<String>>,
}

/// Makes batches one after the other; knows which orders are there.
pub struct Changes {
    data: Data,
    random: Random,
    /// Numbers of the orders that are there, oldest first.
    orders: VecDeque<u64>,
    next: u64,
}

impl Changes {
    /// After the load of this data.
    pub fn new(data: &Data, seed: u64) -> Changes {
        let next = data.orders();
        Changes { data: data.clone(), random: Random::new(seed), orders: (0..next).collect(), next }
    }

    /// A batch that changes about `rows` rows: a fifth is inserted, a fifth deleted, the others updated.
    pub fn batch(&mut self, rows: u64) -> Batch {
        // An order has four items on average.
        let orders = (rows / 25).max(1);
        let mut block = self.insert(orders);
        block.extend(self.delete(orders));
        let others = [("Brand#12", "SM CASE"), ("Brand#34", "LG BOX"), ("Brand#45", "JUMBO JAR")];
        let other = others[self.random.below(3) as usize];
        let alone = vec![
            self.items(orders, "l_quantity = l_quantity % 50 + 1, l_extendedprice = l_extendedprice * 1.01"),
            self.statuses(orders),
            self.segments((rows / 25).max(1)),
            self.nations((rows / 500).max(1)),
            self.costs((rows / 50).max(1)),
            self.parts((rows / 500).max(1), ("Brand#23", "MED BOX")),
            self.parts((rows / 500).max(1), other),
        ];
        // What query 18 and query 19 look for becomes more, and less.
        let several = vec![
            self.items((orders / 20).max(1), "l_quantity = l_quantity + 45"),
            self.items(
                (orders / 4).max(1),
                "l_shipmode = 'AIR', l_shipinstruct = 'DELIVER IN PERSON', l_quantity = l_quantity % 25 + 1",
            ),
            self.dates((orders / 2).max(1)),
            self.balances((rows / 50).max(1)),
        ];
        let mut blocks = vec![block, several];
        blocks.extend(alone.into_iter().map(|one| vec![one]));
        Batch { blocks }
    }

    fn insert(&mut self, orders: u64) -> Vec<String> {
        let (mut rows, mut items) = (vec![], vec![]);
        for number in self.next..self.next + orders {
            let order = self.data.order(number);
            rows.push(literals(&order.order));
            items.extend(order.items.iter().map(literals));
            self.orders.push_back(number);
        }
        self.next += orders;
        let insert = |table: &'static str, rows: Vec<String>| {
            let all = rows.chunks(INSERT_ROWS).map(|some| format!("INSERT INTO {table} VALUES {}", some.join(", ")));
            all.collect::<Vec<_>>()
        };
        [insert("orders", rows), insert("lineitem", items)].concat()
    }

    fn delete(&mut self, orders: u64) -> Vec<String> {
        // Some stay, so that each table always has rows.
        let gone = (orders as usize).min(self.orders.len() / 2);
        let keys: Vec<u64> = self.orders.drain(..gone).map(order_key).collect();
        vec![
            format!("DELETE FROM lineitem WHERE l_orderkey IN ({})", list(&keys)),
            format!("DELETE FROM orders WHERE o_orderkey IN ({})", list(&keys)),
        ]
    }

    /// Some orders that are there, as a list.
    fn some_orders(&mut self, n: u64) -> String {
        let all = self.orders.len() as u64;
        let keys: Vec<u64> = (0..n).map(|_| order_key(self.orders[self.random.below(all) as usize])).collect();
        list(&keys)
    }

    fn some_of(&mut self, n: u64, all: u64) -> String {
        list(&(0..n).map(|_| 1 + self.random.below(all)).collect::<Vec<_>>())
    }

    fn items(&mut self, orders: u64, set: &str) -> String {
        format!("UPDATE lineitem SET {set} WHERE l_orderkey IN ({})", self.some_orders(orders))
    }

    fn dates(&mut self, orders: u64) -> String {
        let day = date(500 + self.random.below(1_500));
        let (ship, receive) = (self.random.below(60), self.random.below(30));
        let set = format!(
            "l_shipdate = date '{day}' + {ship}, l_commitdate = date '{day}' + 45, \
             l_receiptdate = date '{day}' + {ship} + {receive}, l_returnflag = 'R'"
        );
        self.items(orders, &set)
    }

    fn statuses(&mut self, orders: u64) -> String {
        let (status, priority) = (self.random.pick(&["F", "O", "P"]), self.random.pick(words::PRIORITIES));
        let day = self.random.below(700);
        let which = self.some_orders(orders);
        format!(
            "UPDATE orders SET o_orderstatus = '{status}', o_orderpriority = '{priority}', \
             o_orderdate = date '1993-07-01' + {day}, o_totalprice = o_totalprice + 0.01 WHERE o_orderkey IN ({which})"
        )
    }

    fn segments(&mut self, n: u64) -> String {
        let segment = self.random.pick(words::SEGMENTS);
        let which = self.some_of(n, self.data.customers());
        format!("UPDATE customer SET c_mktsegment = '{segment}' WHERE c_custkey IN ({which})")
    }

    fn balances(&mut self, n: u64) -> String {
        let which = self.some_of(n, self.data.customers());
        let nation = self.random.below(25);
        let phone = words::phone(&mut self.random, nation);
        format!(
            "UPDATE customer SET c_acctbal = -c_acctbal, c_nationkey = {nation}, c_phone = '{phone}' \
             WHERE c_custkey IN ({which})"
        )
    }

    fn nations(&mut self, n: u64) -> String {
        let nation = self.random.below(25);
        let which = self.some_of(n, self.data.suppliers());
        format!("UPDATE supplier SET s_nationkey = {nation} WHERE s_suppkey IN ({which})")
    }

    fn costs(&mut self, n: u64) -> String {
        let which = self.some_of(n, self.data.parts());
        let cost = money(100 + self.random.below(50_000) as i64);
        format!(
            "UPDATE partsupp SET ps_supplycost = {cost}, ps_availqty = ps_availqty % 5000 + 1 WHERE ps_partkey IN ({which})"
        )
    }

    /// Parts become what queries ask for.
    fn parts(&mut self, n: u64, (brand, container): (&str, &str)) -> String {
        let which = self.some_of(n, self.data.parts());
        let size = 1 + self.random.below(15);
        format!(
            "UPDATE part SET p_brand = '{brand}', p_container = '{container}', p_size = {size} WHERE p_partkey IN ({which})"
        )
    }
}

fn list(keys: &[u64]) -> String {
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_orders_go_and_new_ones_come() {
        let mut changes = Changes::new(&Data::new(0.01, 1), 2);
        let batch = changes.batch(500);
        assert_eq!((changes.orders.len(), changes.orders.front()), (15_000, Some(&20)));
        assert!(batch.blocks[0].len() > 2 && batch.blocks.iter().any(|b| b.len() == 1));
        assert!(batch.blocks[0].iter().any(|s| s.starts_with("DELETE FROM orders WHERE o_orderkey IN (1, 2, ")));
    }
}

//! The rows of the eight tables at a scale.

use super::words::{self, comment, date, money, phone};
use crate::Random;

/// The tables in the order in which they are filled.
pub const TABLES: [&str; 8] = ["region", "nation", "part", "supplier", "partsupp", "customer", "orders", "lineitem"];

/// The last day of an order, in days after 1992-01-01: 1998-08-02, 151 days before the end.
const LAST_ORDER: u64 = 2405;
/// What the data calls today: 1995-06-17.
const TODAY: u64 = 1263;
/// One order in so many has seven large items.
const LARGE_EVERY: u64 = 5_000;

/// A row: its values as COPY takes them.
pub type Values = Vec<String>;

/// An order and its items.
pub struct Order {
    /// The row of `orders`.
    pub order: Values,
    /// Its rows of `lineitem`.
    pub items: Vec<Values>,
}

/// Makes rows. All of one table's rows are the same whatever was made before.
#[derive(Clone, Debug)]
pub struct Data {
    scale: f64,
    seed: u64,
}

impl Data {
    /// At a scale: 1 is the specification's smallest, with 6 million line items.
    pub fn new(scale: f64, seed: u64) -> Data {
        Data { scale, seed }
    }

    fn count(&self, at_one: u64) -> u64 {
        ((at_one as f64 * self.scale) as u64).max(20)
    }

    /// Suppliers; keys are 1 to this.
    pub fn suppliers(&self) -> u64 {
        self.count(10_000)
    }

    /// Parts; keys are 1 to this.
    pub fn parts(&self) -> u64 {
        self.count(200_000)
    }

    /// Customers; keys are 1 to this.
    pub fn customers(&self) -> u64 {
        self.count(150_000)
    }

    /// Orders of the load.
    pub fn orders(&self) -> u64 {
        self.count(1_500_000)
    }

    /// The scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Randomness of one row alone.
    fn random(&self, table: u64, row: u64) -> Random {
        Random::new(Random::new(self.seed ^ (table << 56) ^ row.wrapping_mul(0x9e37_79b9)).bits())
    }

    /// Gives `take` the rows of a table; of `lineitem` and `orders` those of the load.
    pub fn rows(&self, table: &str, mut take: impl FnMut(Values)) {
        match table {
            "region" => (0..5).for_each(|key| take(self.region(key))),
            "nation" => (0..25).for_each(|key| take(self.nation(key))),
            "part" => (1..=self.parts()).for_each(|key| take(self.part(key))),
            "supplier" => (1..=self.suppliers()).for_each(|key| take(self.supplier(key))),
            "partsupp" => {
                (1..=self.parts()).flat_map(|part| (0..4).map(move |n| (part, n))).for_each(|(part, n)| {
                    take(self.part_supplier(part, n));
                });
            }
            "customer" => (1..=self.customers()).for_each(|key| take(self.customer(key))),
            "orders" => (0..self.orders()).for_each(|number| take(self.order(number).order)),
            _ => (0..self.orders()).for_each(|number| self.order(number).items.into_iter().for_each(&mut take)),
        }
    }

    fn region(&self, key: u64) -> Values {
        let mut random = self.random(1, key);
        vec![key.to_string(), words::REGIONS[key as usize].into(), comment(&mut random, 152)]
    }

    fn nation(&self, key: u64) -> Values {
        let mut random = self.random(2, key);
        let (name, region) = words::NATIONS[key as usize];
        vec![key.to_string(), name.into(), region.to_string(), comment(&mut random, 152)]
    }

    fn part(&self, key: u64) -> Values {
        let mut random = self.random(3, key);
        let (manufacturer, brand) = words::brand(&mut random);
        vec![
            key.to_string(),
            words::part_name(&mut random),
            format!("Manufacturer#{manufacturer}"),
            format!("Brand#{brand}"),
            words::part_type(&mut random),
            (1 + random.below(50)).to_string(),
            words::container(&mut random),
            money(retail_price(key) as i64),
            comment(&mut random, 23),
        ]
    }

    fn supplier(&self, key: u64) -> Values {
        let mut random = self.random(4, key);
        let nation = random.below(25);
        // Five in 10,000 are complained of and as many recommended, but one at least.
        let every = (self.suppliers() / ((5.0 * self.scale) as u64).max(1)).max(2);
        let text = match key % every {
            0 => format!("{} Customer {} Complaints", comment(&mut random, 30), comment(&mut random, 20)),
            1 => format!("{} Customer {} Recommends", comment(&mut random, 30), comment(&mut random, 20)),
            _ => comment(&mut random, 100),
        };
        vec![
            key.to_string(),
            format!("Supplier#{key:09}"),
            address(&mut random),
            nation.to_string(),
            phone(&mut random, nation),
            balance(&mut random),
            text,
        ]
    }

    /// The `n`th of a part's four suppliers (clause 4.2.3).
    fn supplier_of(&self, part: u64, n: u64) -> u64 {
        let all = self.suppliers();
        (part + n * (all / 4 + (part - 1) / all)) % all + 1
    }

    fn part_supplier(&self, part: u64, n: u64) -> Values {
        let mut random = self.random(5, part * 4 + n);
        vec![
            part.to_string(),
            self.supplier_of(part, n).to_string(),
            (1 + random.below(9_999)).to_string(),
            money(100 + random.below(99_901) as i64),
            comment(&mut random, 199),
        ]
    }

    fn customer(&self, key: u64) -> Values {
        let mut random = self.random(6, key);
        let nation = random.below(25);
        vec![
            key.to_string(),
            format!("Customer#{key:09}"),
            address(&mut random),
            nation.to_string(),
            phone(&mut random, nation),
            balance(&mut random),
            random.pick(words::SEGMENTS).into(),
            comment(&mut random, 117),
        ]
    }

    /// The order with this number; those of the load are below [`Data::orders`].
    pub fn order(&self, number: u64) -> Order {
        let mut random = self.random(7, number);
        let key = order_key(number);
        let large = number % LARGE_EVERY == 11;
        // Every third customer has no orders.
        let mut customer = 1 + random.below(self.customers());
        if customer.is_multiple_of(3) {
            customer = if customer == self.customers() { customer - 1 } else { customer + 1 };
        }
        let day = random.below(LAST_ORDER + 1);
        let (mut items, mut total, mut open) = (vec![], 0, 0);
        let lines = if large { 7 } else { 1 + random.below(7) };
        for line in 1..=lines {
            let part = 1 + random.below(self.parts());
            let supplier = self.supplier_of(part, random.below(4));
            let quantity = if large { 44 + random.below(7) } else { 1 + random.below(50) };
            let price = quantity * retail_price(part);
            let (discount, tax) = (random.below(11), random.below(9));
            total += price * (100 - discount) * (100 + tax) / 10_000;
            let shipped = day + 1 + random.below(121);
            let committed = day + 30 + random.below(61);
            let received = shipped + 1 + random.below(30);
            let returned = if received <= TODAY { random.pick(&["R", "A"]) } else { "N" };
            open += u64::from(shipped > TODAY);
            items.push(vec![
                key.to_string(),
                part.to_string(),
                supplier.to_string(),
                line.to_string(),
                quantity.to_string(),
                money(price as i64),
                money(discount as i64),
                money(tax as i64),
                returned.into(),
                if shipped > TODAY { "O" } else { "F" }.into(),
                date(shipped),
                date(committed),
                date(received),
                random.pick(words::INSTRUCTIONS).into(),
                random.pick(words::MODES).into(),
                comment(&mut random, 44),
            ]);
        }
        let status = match open {
            0 => "F",
            n if n == lines => "O",
            _ => "P",
        };
        let text = match random.below(50) {
            0 => format!("{} special {} requests", comment(&mut random, 25), comment(&mut random, 25)),
            _ => comment(&mut random, 79),
        };
        let order = vec![
            key.to_string(),
            customer.to_string(),
            status.into(),
            money(total as i64),
            date(day),
            random.pick(words::PRIORITIES).into(),
            format!("Clerk#{:09}", 1 + random.below(self.count(1_000))),
            "0".into(),
            text,
        ];
        Order { order, items }
    }
}

/// Eight keys of each 32 are used (clause 4.2.3).
pub fn order_key(number: u64) -> u64 {
    number / 8 * 32 + number % 8 + 1
}

/// A part's price in cents (clause 4.2.3).
fn retail_price(part: u64) -> u64 {
    90_000 + (part / 10) % 20_001 + 100 * (part % 1_000)
}

fn balance(random: &mut Random) -> String {
    money(random.below(1_099_999) as i64 - 99_999)
}

fn address(random: &mut Random) -> String {
    (0..10 + random.below(20)).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

/// A row as COPY's text format has it; no value needs an escape.
pub fn copy_line(values: &Values) -> String {
    values.join("\t") + "\n"
}

/// A row as VALUES has it.
pub fn literals(values: &Values) -> String {
    let quoted = |v: &String| if v.parse::<f64>().is_ok() { v.clone() } else { format!("'{v}'") };
    format!("({})", values.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cardinalities_are_those_of_the_scale() {
        let data = Data::new(0.01, 1);
        let count = |table: &str| {
            let mut n = 0;
            data.rows(table, |_| n += 1);
            n
        };
        let counts: Vec<u64> = TABLES[..7].iter().map(|t| count(t)).collect();
        assert_eq!(counts, [5, 25, 2_000, 100, 8_000, 1_500, 15_000]);
        assert!((58_000..62_000).contains(&count("lineitem")));
    }

    #[test]
    fn keys_are_there_once_and_refer_to_what_there_is() {
        let data = Data::new(0.01, 1);
        let mut pairs = std::collections::BTreeSet::new();
        data.rows("partsupp", |row| assert!(pairs.insert((row[0].clone(), row[1].clone()))));
        data.rows("lineitem", |row| assert!(pairs.contains(&(row[1].clone(), row[2].clone()))));
        data.rows("orders", |row| assert!(row[1].parse::<u64>().is_ok_and(|c| c % 3 > 0 && c <= 1_500)));
    }

    #[test]
    fn a_seed_gives_the_same_rows() {
        let all = |seed| (0..50).map(|n| Data::new(0.01, seed).order(n).order).collect::<Vec<_>>();
        assert!(all(1) == all(1) && all(1) != all(2));
    }
}

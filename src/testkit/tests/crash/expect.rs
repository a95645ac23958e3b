//! Views computed anew from what the clients know and what the broker was given, without the server.

use crate::journal::{Journal, Role};
use hw_testkit::rows::{Bag, Row};
use std::collections::{BTreeMap, BTreeSet};

fn row(values: &[i64]) -> Row {
    values.iter().map(|v| Some(v.to_string())).collect()
}

/// client, n, v.
fn led(journals: &[Journal]) -> Vec<(i64, i64, i64)> {
    let of = |journal: &Journal| match journal.role {
        Role::Writer(me) => journal.certain.iter().map(|(n, v)| (me, n.parse().unwrap_or(0), *v)).collect(),
        Role::Filler | Role::Definer => vec![],
    };
    journals.iter().flat_map(of).collect()
}

/// What a view must hold; `None` for one that is compared with its query alone. `sent`: messages 0.. of the topic.
pub fn contents(view: &str, journals: &[Journal], sent: i64) -> Option<Bag> {
    let led = led(journals);
    let mut per_client: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    for (client, n, v) in &led {
        let group = per_client.entry(*client).or_insert((0, 0, *n));
        *group = (group.0 + 1, group.1 + v, group.2.max(*n));
    }
    let rows: Vec<Row> = match view {
        "per_client" => per_client.iter().map(|(c, (n, s, top))| row(&[*c, *n, *s, *top])).collect(),
        "over" if led.is_empty() => vec![vec![None, None]],
        "over" => vec![row(&[led.len() as i64, led.iter().map(|(_, _, v)| v).sum()])],
        "large" => led.iter().filter(|(_, _, v)| v % 4 == 0).map(|(c, n, v)| row(&[*c, *n, *v])).collect(),
        "distinct_v" => {
            let values: BTreeSet<i64> = led.iter().map(|(_, _, v)| *v).collect();
            values.iter().map(|v| row(&[*v])).collect()
        }
        "paired" => per_client.iter().map(|(c, (n, _, _))| row(&[*c, *n])).collect(),
        "totals" => totals(sent).iter().map(|(k, (n, s, top))| row(&[*k, *n, *s, *top])).collect(),
        "tens" => (0..sent).step_by(10).map(|v| row(&[v % 5, v])).collect(),
        "joined" => {
            let both = totals(sent).into_iter().filter_map(|(k, (n, _, _))| Some(row(&[k, n, per_client.get(&k)?.1])));
            both.collect()
        }
        _ => return None,
    };
    let mut bag = Bag::new();
    rows.into_iter().for_each(|row| *bag.entry(row).or_default() += 1);
    Some(bag)
}

/// Message i has k = i mod 5 and v = i.
fn totals(sent: i64) -> BTreeMap<i64, (i64, i64, i64)> {
    let mut totals = BTreeMap::new();
    for v in 0..sent {
        let total = totals.entry(v % 5).or_insert((0, 0, v));
        *total = (total.0 + 1, total.1 + v, v);
    }
    totals
}

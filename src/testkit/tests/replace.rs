//! Definitions that are replaced while they are read, followed and written below: at every time a subscriber sees, each
//! relation is what its definition of that time makes of the tables of that time; all of them change over at one time; a
//! kill leaves the old definitions or the new ones.

use hw_testkit::expect::must;
use hw_testkit::rows::{Bag, Refusal, bag, difference, run};
use hw_testkit::{Follower, Random, Server, scaled, seed};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;

/// What `m` is made of: `a % modulus <> rest`, `b * factor + add`; `v`, a plain view over it, keeps `b % keep = 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Definition {
    modulus: i64,
    rest: i64,
    factor: i64,
    add: i64,
    keep: i64,
}

impl Definition {
    fn random(random: &mut Random) -> Definition {
        let mut number = |n: u64| random.below(n) as i64;
        let modulus = 2 + number(3);
        Definition { modulus, rest: number(modulus as u64), factor: 1 + number(3), add: number(5), keep: 1 + number(3) }
    }

    fn replace_m(&self) -> String {
        let Definition { modulus, rest, factor, add, .. } = self;
        format!(
            "CREATE OR REPLACE MATERIALIZED VIEW m AS \
             SELECT a, b * {factor} + {add} AS b FROM t WHERE a % {modulus} <> {rest}"
        )
    }

    fn replace_v(&self) -> String {
        format!("CREATE OR REPLACE VIEW v AS SELECT a, b FROM m WHERE b % {} = 0", self.keep)
    }

    /// `m`, `grouped` and `top` over rows (a, b) of `t`.
    fn computed(&self, t: &Bag) -> [Bag; 3] {
        let number = |v: &Option<String>| v.as_deref().and_then(|v| v.parse::<i64>().ok()).expect("a number");
        let text = |n: i64| Some(n.to_string());
        let (mut m, mut groups) = (Bag::new(), BTreeMap::<i64, (i64, i64)>::new());
        for (row, n) in t {
            let (a, b) = (number(&row[0]), number(&row[1]) * self.factor + self.add);
            if a % self.modulus == self.rest {
                continue;
            }
            *m.entry(vec![text(a), text(b)]).or_default() += n;
            if b % self.keep == 0 {
                let group = groups.entry(a % 5).or_default();
                *group = (group.0 + n, group.1 + n * b);
            }
        }
        let grouped: Bag = groups.iter().map(|(g, (n, s))| (vec![text(*g), text(*n), text(*s)], 1)).collect();
        let most = groups.values().map(|(n, _)| *n).max();
        let top = Bag::from([(vec![most.map(|n| n.to_string()), text(groups.len() as i64)], 1)]);
        [m, grouped, top]
    }
}

/// Definitions of a view whose columns change with them.
const WIDE: [&str; 4] = [
    "SELECT a, b FROM t",
    "SELECT a::text AS a, b FROM t",
    "SELECT b, a, a + b AS c FROM t",
    "SELECT b::text || 'x' AS b, a::int AS a, count(*) AS n FROM t GROUP BY 1, 2",
];

const RELATIONS: [&str; 3] = ["m", "grouped", "top"];

async fn set_up(client: &Client, definition: &Definition) {
    must(client, "CREATE TABLE t (a bigint, b bigint)").await;
    must(client, "INSERT INTO t SELECT i, i % 7 FROM generate_series(1, 200) AS g(i)").await;
    must(client, &definition.replace_m()).await;
    must(client, &definition.replace_v()).await;
    let grouped = "SELECT a % 5 AS g, count(*) AS n, sum(b) AS s FROM v GROUP BY a % 5";
    must(client, &format!("CREATE MATERIALIZED VIEW grouped AS {grouped}")).await;
    must(client, "CREATE MATERIALIZED VIEW top AS SELECT max(n) AS n, count(*) AS groups FROM grouped").await;
    must(client, "CREATE INDEX m_b ON m (b)").await;
    must(client, "CREATE INDEX grouped_n ON grouped (n)").await;
}

/// A write, or none where the server is gone.
async fn write(client: &Client, random: &mut Random) -> Result<(), Refusal> {
    let (a, b) = (random.below(300), random.below(50));
    let sql = match random.below(4) {
        0 => format!("DELETE FROM t WHERE a % 40 = {}", a % 40),
        1 => format!("UPDATE t SET b = b + 1 WHERE a % 30 = {}", a % 30),
        _ => format!("INSERT INTO t VALUES ({a}, {b}), ({}, {b})", a + 1),
    };
    run(client, &sql).await.map(drop)
}

/// The contents of a relation that was recorded, at a time.
fn at<'a>(recorded: &'a BTreeMap<u64, Bag>, time: u64, empty: &'a Bag) -> &'a Bag {
    recorded.range(..=time).next_back().map_or(empty, |(_, bag)| bag)
}

/// Catches: times at which a relation is neither what the old nor what the new definition makes of the tables, relations
/// that change over at different times, and changes that come twice or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn every_time_seen_has_one_definition() {
    let seed = seed();
    println!("seed={seed}");
    for workers in ["1", "2"] {
        let mut random = Random::new(seed);
        let server = Server::start(&["--workers", workers]).expect("the server starts");
        let client = server.connect().await.expect("connect");
        let mut definitions = vec![Definition::random(&mut random)];
        set_up(&client, &definitions[0]).await;
        let mut followers = vec![];
        for name in ["t"].into_iter().chain(RELATIONS) {
            let mut follower = Follower::start(&server, name).await.expect("subscribed");
            follower.record();
            followers.push(follower);
        }
        let writer = server.connect().await.expect("connect");
        let mut writes = Random::new(seed ^ 1);
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let writing = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                write(&writer, &mut writes).await.expect("a write");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        for _ in 0..scaled(25) {
            let new = Definition::random(&mut random);
            let last = *definitions.last().expect("one");
            // One statement at a time: each is a definition of its own.
            let (sql, between) = match random.chance(50) {
                true => (new.replace_m(), Definition { keep: last.keep, ..new }),
                false => (new.replace_v(), Definition { keep: new.keep, ..last }),
            };
            must(&client, &sql).await;
            definitions.push(between);
            tokio::time::sleep(Duration::from_millis(random.below(20))).await;
        }
        let _ = stop.send(());
        writing.await.expect("the writer ends");
        must(&client, "INSERT INTO t VALUES (-1, -1)").await;
        followers[0].until_row(|row| row[0].as_deref() == Some("-1")).await.expect("the last write");
        let end = followers[0].upper();
        for follower in &mut followers {
            follower.until(end).await.unwrap_or_else(|e| panic!("{e}"));
        }
        check_transcripts(&followers, &definitions);
        for name in RELATIONS {
            let shown = bag(&client, &format!("SELECT * FROM {name}")).await.expect("read");
            let follower = followers.iter().find(|f| f.name() == name).expect("followed");
            assert!(shown == *follower.contents(), "{name}: {}", difference(&shown, follower.contents()));
        }
    }
}

/// Walks through the times with the definitions in order.
fn check_transcripts(followers: &[Follower], definitions: &[Definition]) {
    let recorded: Vec<BTreeMap<u64, Bag>> =
        followers.iter().map(|f| f.transcript().map(|(t, bag)| (t, bag.clone())).collect()).collect();
    let from = followers.iter().filter_map(Follower::first_time).max().expect("snapshots");
    let until = followers.iter().map(Follower::upper).min().expect("followers");
    let mut times: Vec<u64> =
        recorded.iter().flat_map(|r| r.keys().copied()).filter(|t| (from..until).contains(t)).collect();
    times.sort_unstable();
    times.dedup();
    let empty = Bag::new();
    // The definitions that all times so far allow for, as positions in the list.
    let mut possible: Vec<usize> = vec![0];
    for time in times {
        let t = at(&recorded[0], time, &empty);
        let shown: Vec<&Bag> = recorded[1..].iter().map(|r| at(r, time, &empty)).collect();
        let fits = |i: &usize| definitions[*i].computed(t).iter().zip(&shown).all(|(a, b)| a == *b);
        let first = possible[0];
        let now: Vec<usize> = (first..definitions.len()).filter(fits).collect();
        assert!(
            !now.is_empty(),
            "at {time} no definition from {first} on fits: {}",
            RELATIONS
                .iter()
                .zip(definitions[first].computed(t).iter().zip(&shown))
                .map(|(name, (a, b))| format!("{name}:\n{}", difference(a, b)))
                .collect::<Vec<_>>()
                .join("\n")
        );
        possible = now;
    }
    assert!(possible.contains(&(definitions.len() - 1)), "the last definition is not what is shown: {possible:?}");
}

/// Catches: a start that shows something of both definitions, and a replacement that was acknowledged and is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_one_definition_or_the_other() {
    let seed = seed();
    println!("seed={seed}");
    let mut random = Random::new(seed);
    let mut server = Server::start(&["--workers", "2", "--checkpoint-interval", "1"]).expect("the server starts");
    let mut now = Definition::random(&mut random);
    let client = server.connect().await.expect("connect");
    set_up(&client, &now).await;
    must(&client, &format!("CREATE MATERIALIZED VIEW wide AS {}", WIDE[0])).await;
    must(&client, "CREATE INDEX wide_a ON wide (a)").await;
    let mut wide = WIDE[0];
    for round in 0..scaled(12) {
        let client = server.connect().await.expect("connect");
        let writer = server.connect().await.expect("connect");
        let new = Definition::random(&mut random);
        let mut new_wide = wide;
        let (sql, new) = match random.below(3) {
            0 => (new.replace_m(), Definition { keep: now.keep, ..new }),
            1 => (new.replace_v(), Definition { keep: new.keep, ..now }),
            _ => {
                new_wide = random.pick(&WIDE);
                (format!("CREATE OR REPLACE MATERIALIZED VIEW wide AS {new_wide}"), now)
            }
        };
        let mut writes = Random::new(seed ^ round);
        let writing = tokio::spawn(async move { while write(&writer, &mut writes).await.is_ok() {} });
        if random.chance(30) {
            must(&client, "CHECKPOINT").await;
        }
        let replacing = tokio::spawn(async move { run(&client, &sql).await });
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
        server.kill().expect("kill");
        let acknowledged = replacing.await.expect("ends").is_ok();
        writing.await.expect("the writer ends");
        server.restart().expect("restart");
        let client = server.connect().await.expect("connect");
        let t = bag(&client, "SELECT * FROM t").await.expect("t");
        let mut shown = vec![];
        for name in RELATIONS {
            shown.push(bag(&client, &format!("SELECT * FROM {name}")).await.unwrap_or_else(|e| panic!("{name}: {e}")));
        }
        let fits = |d: &Definition| d.computed(&t).iter().zip(&shown).all(|(a, b)| a == b);
        let (old, is_new) = (fits(&now), fits(&new));
        let apart = RELATIONS
            .iter()
            .zip(new.computed(&t).iter().zip(&shown))
            .map(|(name, (a, b))| format!("{name}:\n{}", difference(a, b)))
            .collect::<Vec<_>>()
            .join("\n");
        assert!(old || is_new, "round {round}: neither {now:?} nor {new:?}: {apart}");
        assert!(is_new || !acknowledged, "round {round}: {new:?} was acknowledged: {apart}");
        let mut seen = bag(&client, "SELECT * FROM wide").await.unwrap_or_else(|e| panic!("wide: {e}"));
        let (was, is) = (bag(&client, wide).await.expect("old"), bag(&client, new_wide).await.expect("new"));
        assert!(
            seen == is || seen == was && !acknowledged,
            "round {round}: wide, {new_wide}: {}",
            difference(&seen, &is)
        );
        if seen == is {
            wide = new_wide;
        }
        // Later changes reach it too, and its index.
        must(&client, "INSERT INTO t VALUES (7, 77)").await;
        seen = bag(&client, "SELECT * FROM wide").await.expect("wide");
        let computed = bag(&client, wide).await.expect("computed");
        assert!(seen == computed, "round {round}: wide, {wide}: {}", difference(&seen, &computed));
        let by_index = bag(&client, "SELECT * FROM wide WHERE a = '7'").await.expect("by the index");
        let scanned = bag(&client, "SELECT * FROM wide WHERE a::text = '7'").await.expect("scanned");
        assert_eq!(by_index, scanned, "round {round}: {wide}");
        // Which of them it is must stay.
        if is_new {
            now = new;
        }
        let by_index = bag(&client, "SELECT a FROM m WHERE b = 12").await.expect("by the index");
        let scanned = bag(&client, "SELECT a FROM m WHERE b + 0 = 12").await.expect("scanned");
        assert_eq!(by_index, scanned, "round {round}");
    }
}

/// Catches: a subscriber that gets anything but the difference, at one time.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_difference_at_one_time() {
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in [
        "CREATE TABLE t (a int)",
        "INSERT INTO t SELECT i FROM generate_series(1, 1000) AS g(i)",
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM t WHERE a <= 990",
        "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM m",
    ] {
        must(&client, sql).await;
    }
    let mut m = Follower::start(&server, "m").await.expect("subscribed");
    let mut n = Follower::start(&server, "n").await.expect("subscribed");
    for follower in [&mut m, &mut n] {
        while follower.contents().is_empty() {
            follower.step().await.expect("the snapshot");
        }
        follower.record();
    }
    must(&client, "CREATE OR REPLACE MATERIALIZED VIEW m AS SELECT a FROM t WHERE a > 10").await;
    let at = m.until_row(|row| row[0].as_deref() == Some("995")).await.expect("the difference");
    n.until(at).await.expect("as far");
    m.until(at).await.expect("as far");
    for (follower, rows) in [(&m, 990), (&n, 1)] {
        let times: Vec<u64> = follower.transcript().map(|(t, _)| t).collect();
        let changed = if rows == 990 { vec![at] } else { vec![] };
        assert_eq!((times, follower.contents().values().sum::<i64>()), (changed, rows), "{}", follower.name());
    }
    // Other columns: the subscriber is told.
    must(&client, "DROP MATERIALIZED VIEW n").await;
    must(&client, "CREATE OR REPLACE MATERIALIZED VIEW m AS SELECT a, a + 1 AS b FROM t").await;
    let ended = loop {
        if let Err(e) = m.step().await {
            break e.to_string();
        }
    };
    assert!(ended.contains("the columns of \"m\" have changed"), "{ended}");
}

/// Catches: a statement that is answered as cancelled and has replaced something, and one that leaves the server unable to
/// change definitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_replacement_has_done_nothing() {
    let seed = seed();
    println!("seed={seed}");
    let mut random = Random::new(seed);
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let mut now = Definition::random(&mut random);
    set_up(&client, &now).await;
    must(&client, "INSERT INTO t SELECT i, i % 11 FROM generate_series(1, 20000) AS g(i)").await;
    let mut cancelled = 0;
    for round in 0..scaled(30) {
        let new = Definition { keep: now.keep, ..Definition::random(&mut random) };
        let token = client.cancel_token();
        let wait = Duration::from_micros(random.below(60_000));
        let cancelling = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = token.cancel_query(tokio_postgres::NoTls).await;
        });
        let outcome = run(&client, &new.replace_m()).await;
        cancelling.await.expect("cancels");
        match &outcome {
            Ok(_) => now = new,
            Err(e) => {
                assert_eq!(e.code, "57014", "round {round}: {e}");
                cancelled += 1;
            }
        }
        // A cancel that came late may meet this one.
        let t = loop {
            match bag(&client, "SELECT * FROM t").await {
                Ok(t) => break t,
                Err(e) => assert_eq!(e.code, "57014", "round {round}: {e}"),
            }
        };
        for (name, computed) in RELATIONS.iter().zip(now.computed(&t)) {
            let shown = bag(&client, &format!("SELECT * FROM {name}")).await.expect("read");
            assert!(shown == computed, "round {round}, {outcome:?}: {name}: {}", difference(&shown, &computed));
        }
    }
    println!("{cancelled} were cancelled");
}

/// Catches: statements that change definitions at the same time and meet each other half-way.
#[tokio::test(flavor = "multi_thread")]
async fn other_changes_of_definitions_wait_for_it() {
    let seed = seed();
    println!("seed={seed}");
    let mut random = Random::new(seed);
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let mut now = Definition::random(&mut random);
    set_up(&client, &now).await;
    for round in 0..scaled(10) {
        let new = Definition::random(&mut random);
        let mut running = vec![];
        for sql in [
            new.replace_m(),
            new.replace_v(),
            format!("CREATE MATERIALIZED VIEW other_{round} AS SELECT a, b FROM v"),
            format!("CREATE TABLE table_{round} (a int)"),
            "CREATE OR REPLACE MATERIALIZED VIEW always AS SELECT count(*) AS n FROM m".to_string(),
        ] {
            let client = server.connect().await.expect("connect");
            running.push(tokio::spawn(async move { run(&client, &sql).await.map_err(|e| format!("{sql}: {e}")) }));
        }
        for one in running {
            let outcome = one.await.expect("ends");
            assert!(outcome.is_ok(), "round {round}: {outcome:?}");
        }
        now = new;
        let t = bag(&client, "SELECT * FROM t").await.expect("t");
        let computed = now.computed(&t);
        for (name, computed) in RELATIONS.iter().zip(&computed) {
            let shown = bag(&client, &format!("SELECT * FROM {name}")).await.expect("read");
            assert!(shown == *computed, "round {round}: {name}: {}", difference(&shown, computed));
        }
        let kept = bag(&client, &format!("SELECT a, b FROM m WHERE b % {} = 0", now.keep)).await.expect("computed");
        let shown = bag(&client, &format!("SELECT * FROM other_{round}")).await.expect("read");
        assert!(shown == kept, "round {round}: {}", difference(&shown, &kept));
        let n = bag(&client, "SELECT n FROM always").await.expect("read");
        let rows = computed[0].values().sum::<i64>();
        assert_eq!(n, Bag::from([(vec![Some(rows.to_string())], 1)]), "round {round}");
    }
}

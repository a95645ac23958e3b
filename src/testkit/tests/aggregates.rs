//! Every aggregate, maintained: after each random change a view has the rows of its query, and of the same query over a
//! table into which the rows that are left were put all at once, in another order.
//!
//! PostgreSQL's answers to the same are compared by the example `aggregates`. `HEADWATER_TEST_SEED` repeats a run,
//! `HEADWATER_TEST_LONG=n` does n times as much.

use hw_testkit::aggregates::{Contents, Query, create_table, differ, query, sorted};
use hw_testkit::rows::{rows, run};
use hw_testkit::{Random, Server, scaled, seed};

const VIEWS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn maintained_aggregates_are_those_of_the_rows_that_are_left() {
    let seed = seed();
    let mut random = Random::new(seed);
    let mut server = Server::start(&["--workers", "2"]).expect("the server starts");
    let mut client = server.connect().await.expect("connects");
    for table in ["t", "fresh"] {
        run(&client, &create_table(table)).await.expect("creates");
    }
    let mut queries: Vec<Query> = vec![];
    while queries.len() < VIEWS {
        let query = query(&mut random);
        let view = format!("CREATE MATERIALIZED VIEW v{} AS {}", queries.len(), query.over("t").ours);
        run(&client, &view).await.unwrap_or_else(|e| panic!("seed {seed}: {view}: {e}"));
        queries.push(query);
    }
    let (mut contents, mut compared) = (Contents::default(), 0);
    let rounds = scaled(16);
    for round in 0..rounds {
        let change = contents.change(&mut random, "t");
        run(&client, &change).await.unwrap_or_else(|e| panic!("seed {seed}: {change}: {e}"));
        if round == rounds / 2 {
            // What groups keep comes back from the checkpoint, or is computed from the log.
            run(&client, "CHECKPOINT").await.expect("takes a checkpoint");
            server.kill().expect("kills");
            server.restart().expect("starts again");
            client = server.connect().await.expect("connects");
        }
        run(&client, "DELETE FROM fresh").await.expect("deletes");
        if let Some(all) = contents.insert_all("fresh") {
            run(&client, &all).await.expect("inserts");
        }
        for (n, query) in queries.iter().enumerate() {
            let view = rows(&client, &format!("SELECT * FROM v{n}")).await.expect("the view is read");
            let (ours, fresh) = (query.over("t").ours, query.over("fresh").ours);
            let read = rows(&client, &ours).await.unwrap_or_else(|e| panic!("seed {seed}: {ours}: {e}"));
            let anew = rows(&client, &fresh).await.unwrap_or_else(|e| panic!("seed {seed}: {fresh}: {e}"));
            let (view, read, anew) = (sorted(view), sorted(read), sorted(anew));
            for (what, other) in [("ad hoc", &read), ("over a fresh table", &anew)] {
                assert!(
                    view == *other,
                    "seed {seed}, after {change}: view and {what}: {ours}\n{}",
                    differ(&view, other)
                );
                compared += 1;
            }
        }
    }
    println!("seed {seed}: {VIEWS} views, {rounds} changes, {compared} comparisons");
}

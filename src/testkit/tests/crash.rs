//! `kill -9` at random moments and deaths at named fail points, under load: tables and Kafka in, views and subscriptions
//! out, objects created and dropped.
//!
//! After each restart every acknowledged write is there exactly once and nothing is there half; every view equals what its
//! query gives, and most of them what clients' journals and the topic give without the server; each tick that a
//! subscription has shown has the same contents as before. `HEADWATER_TEST_KILLS=50` sets the number of random kills,
//! `HEADWATER_TEST_POINTS=all` walks every fail point, or those whose name holds the text; `HEADWATER_TEST_SEED` repeats
//! the moments. `cargo xtask crash` sets them.

#[path = "crash/expect.rs"]
mod expect;
#[path = "crash/harness.rs"]
mod harness;
#[path = "crash/journal.rs"]
mod journal;

use harness::{Crash, first_start};
use hw_testkit::{Random, fail_points, seed};

/// How often a point is tried under load that was not passed.
const ATTEMPTS: u64 = 3;
/// Points of CI.
const FEW_POINTS: usize = 4;

/// A point that only a first start passes.
fn is_first(point: &str) -> bool {
    point.starts_with("version-") || point.starts_with("subdirectory-")
}

/// The points to walk: all, those that a text names, or a few.
fn chosen(random: &mut Random) -> Vec<String> {
    let all = fail_points().expect("the server lists its fail points");
    assert!(all.len() > 40, "{all:?}");
    match std::env::var("HEADWATER_TEST_POINTS").as_deref() {
        Ok("all") => all,
        Ok(text) => all.into_iter().filter(|point| point.contains(text)).collect(),
        Err(_) => {
            // Those that every run passes soon.
            let soon = ["log-sync", "chunks-", "manifest-sync", "manifest-rename", "manifest-dir", "dump-", "catalog-"];
            let mut few: Vec<String> =
                all.into_iter().filter(|point| soon.iter().any(|s| point.starts_with(s))).collect();
            while few.len() > FEW_POINTS {
                few.remove(random.below(few.len() as u64) as usize);
            }
            few
        }
    }
}

/// What a start removes is what a death at another point has left.
fn left_by(point: &str) -> Option<&'static str> {
    let left_by = [("manifest-remove", "manifest-rename-before"), ("segment-remove", "segment-sync-before:50")];
    left_by.into_iter().find(|(removed, _)| point.starts_with(removed)).map(|(_, before)| before)
}

/// One pass over the points under load; those that were not passed.
async fn walk(crash: &mut Crash, points: &[String], number: &mut u64, random: &mut Random) -> Vec<String> {
    for point in points {
        if let Some(before) = left_by(point) {
            for _ in 0..ATTEMPTS {
                crash.round_then(*number, Some(before), Some(&format!("{point}:1"))).await;
                *number += 1;
                if crash.is_armed() || crash.summary.at_points.contains_key(point) {
                    break;
                }
            }
        }
        if crash.summary.at_points.contains_key(point) {
            continue;
        }
        let often = ["log-sync", "segment-sync"].iter().any(|p| point.starts_with(p));
        let count = if often { 1 + random.below(40) } else { 1 };
        crash.round(*number, Some(&format!("{point}:{count}"))).await;
        *number += 1;
    }
    crash.round(*number, None).await;
    *number += 1;
    points.iter().filter(|p| !crash.summary.at_points.contains_key(*p)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_and_at_fail_points() {
    let seed = seed();
    let kills = std::env::var("HEADWATER_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let mut random = Random::new(seed ^ 1);
    let points = chosen(&mut random);
    println!("seed={seed}, {kills} kills, {} fail points", points.len());
    let (first, mut left): (Vec<String>, Vec<String>) = points.into_iter().partition(|point| is_first(point));
    for point in &first {
        assert!(first_start(point).await, "a first start does not pass {point}");
    }
    let mut crash = Crash::start(seed).await;
    for round in 1..=kills {
        crash.round(round, None).await;
    }
    let (mut number, mut attempts) = (kills + 1, 0);
    while !left.is_empty() && attempts < ATTEMPTS {
        left = walk(&mut crash, &left, &mut number, &mut random).await;
        attempts += 1;
    }
    let mut summary = crash.summary;
    summary.at_points.extend(first.into_iter().map(|point| (point, 1)));
    summary.starts.sort();
    let middle = summary.starts.get(summary.starts.len() / 2).copied().unwrap_or_default();
    println!("deaths by point:");
    summary.at_points.iter().for_each(|(point, deaths)| println!("  {deaths:3} {point}"));
    println!(
        "{} kills at random moments, {} deaths at {} fail points; {} writes acknowledged, {} shown ticks and {} views \
         compared, {} of those with rows computed without the server; a start takes {middle:.1?} (median)",
        summary.killed,
        summary.at_points.values().sum::<u64>(),
        summary.at_points.len(),
        summary.acknowledged,
        summary.ticks,
        summary.views,
        summary.recomputed,
    );
    assert!(left.is_empty(), "never passed: {left:?}");
}

//! A checker of histories of transactions over registers: is there an order of all of them, in keeping with real time, in
//! which each reads what the ones before have written?
//!
//! Every write of a key comes with the version that its transaction has read of it, and every version is written once; so
//! the order of a key's versions is known, and with it every dependency. A cycle among these is an anomaly.

use std::collections::{BTreeMap, HashMap};

/// A version of a key; 0 is what was there first.
pub type Version = u64;

/// A transaction that was committed.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// The version that it has first read of each key, before any write of its own.
    pub reads: BTreeMap<u64, Version>,
    /// The last version that it has written of each key; each of them was read before.
    pub writes: BTreeMap<u64, Version>,
    /// When it was begun, and when its commit was acknowledged, on one clock.
    pub begun: u64,
    /// See `begun`.
    pub ended: u64,
}

/// What is wrong with a history; empty where nothing is.
pub fn anomalies(history: &[Committed]) -> Vec<String> {
    let mut found = vec![];
    let mut writer: HashMap<(u64, Version), usize> = HashMap::new();
    let mut successor: HashMap<(u64, Version), usize> = HashMap::new();
    for (t, one) in history.iter().enumerate() {
        for (key, version) in &one.writes {
            if writer.insert((*key, *version), t).is_some() {
                found.push(format!("version {version} of key {key} was written twice"));
            }
            let Some(before) = one.reads.get(key) else {
                found.push(format!("transaction {t} has written key {key} unread"));
                continue;
            };
            if let Some(other) = successor.insert((*key, *before), t) {
                found.push(format!("lost update: transactions {other} and {t} follow version {before} of key {key}"));
            }
        }
    }
    let n = history.len();
    let mut edges: Vec<Vec<usize>> = vec![vec![]; n * 2];
    for (t, one) in history.iter().enumerate() {
        for (key, version) in &one.reads {
            match writer.get(&(*key, *version)) {
                Some(w) if *w != t => edges[*w].push(t),
                None if *version != 0 => {
                    found.push(format!(
                        "transaction {t} has read version {version} of key {key}, which nobody committed"
                    ));
                }
                _ => {}
            }
            if let Some(next) = successor.get(&(*key, *version)).filter(|next| **next != t) {
                edges[t].push(*next);
            }
        }
    }
    // Real time: one node for each end, in order, so that there are few edges.
    let mut ends: Vec<usize> = (0..n).collect();
    ends.sort_by_key(|t| history[*t].ended);
    for (i, t) in ends.iter().enumerate() {
        edges[*t].push(n + i);
        if i > 0 {
            edges[n + i - 1].push(n + i);
        }
    }
    for (t, one) in history.iter().enumerate() {
        let before = ends.partition_point(|e| history[*e].ended < one.begun);
        if before > 0 {
            edges[n + before - 1].push(t);
        }
    }
    if let Some(cycle) = cycle(&edges) {
        let names: Vec<String> = cycle.into_iter().filter(|v| *v < n).map(|v| v.to_string()).collect();
        found.push(format!("a cycle of transactions: {}", names.join(" -> ")));
    }
    found
}

/// Some cycle of a graph.
fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    // 0: not seen, 1: on the path, 2: done.
    let mut state = vec![0u8; edges.len()];
    for start in 0..edges.len() {
        if state[start] != 0 {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        state[start] = 1;
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            match edges[node].get(*next) {
                Some(to) => {
                    *next += 1;
                    match state[*to] {
                        0 => {
                            state[*to] = 1;
                            path.push((*to, 0));
                        }
                        1 => {
                            let from = path.iter().position(|(v, _)| v == to).unwrap_or(0);
                            return Some(path[from..].iter().map(|(v, _)| *v).collect());
                        }
                        _ => {}
                    }
                }
                None => {
                    state[node] = 2;
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(reads: &[(u64, Version)], writes: &[(u64, Version)], begun: u64, ended: u64) -> Committed {
        Committed { reads: reads.iter().copied().collect(), writes: writes.iter().copied().collect(), begun, ended }
    }

    #[test]
    fn serial_histories_pass_and_anomalies_are_found() {
        let first = one(&[(1, 0)], &[(1, 10)], 0, 5);
        let serial = [first.clone(), one(&[(1, 10), (2, 0)], &[(2, 11)], 6, 9), one(&[(1, 0)], &[], 1, 4)];
        assert_eq!(anomalies(&serial), Vec::<String>::new());
        let skew = [one(&[(1, 0), (2, 0)], &[(1, 10)], 0, 9), one(&[(1, 0), (2, 0)], &[(2, 11)], 0, 9)];
        assert!(anomalies(&skew)[0].contains("cycle"), "write skew");
        let lost = [first.clone(), one(&[(1, 0)], &[(1, 11)], 0, 9)];
        assert!(anomalies(&lost)[0].contains("lost update"));
        let stale = [first.clone(), one(&[(1, 0)], &[], 6, 9)];
        assert!(anomalies(&stale)[0].contains("cycle"), "a read of what was overwritten before it began");
        let dirty = [first, one(&[(2, 99)], &[], 6, 9)];
        assert!(anomalies(&dirty)[0].contains("nobody committed"));
    }
}

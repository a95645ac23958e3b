//! Every expression of `sql-tests/conformance` in a SELECT and in a maintained view: PostgreSQL's type, text and SQLSTATE.
//!
//! What does not come out alike is listed beside the answers, and a list may not be longer than it has to be:
//! `pending.txt` has what is refused as not supported yet, `wrong.txt` what is answered wrongly and has to be mended,
//! `differs.txt` what is to stay different, with the reason. `HEADWATER_CONFORMANCE=write` writes the first two anew.

#[path = "conformance/judge.rs"]
mod judge;
#[path = "conformance/lists.rs"]
mod lists;

use hw_testkit::Server;
use hw_testkit::conformance::{Answer, answers, tables};
use judge::{Judge, Verdict, create_tables};
use lists::{Entry, Lists, Status};
use std::collections::BTreeMap;
use std::time::Instant;

/// Connections that evaluate at the same time.
const CONNECTIONS: usize = 2;
/// Findings that a failure shows.
const SHOWN_MAX: usize = 60;

/// An expression and what the server made of it.
struct Judged {
    topic: String,
    answer: Answer,
    select: Verdict,
    view: Verdict,
}

impl Judged {
    fn entry(&self) -> Entry {
        let (path, verdict) = match (&self.select, &self.view) {
            (Verdict::Equal, view) => ("view", view),
            (select, Verdict::Equal) => ("select", select),
            (select, view) if view.status() > select.status() => ("view", view),
            (select, view) if select.status() > view.status() => ("select", select),
            (select, _) => ("both", select),
        };
        Entry {
            topic: self.topic.clone(),
            expression: self.answer.expression.clone(),
            path: path.into(),
            status: verdict.status(),
            what: verdict.what().into(),
        }
    }
}

#[test]
fn expressions_answer_as_postgresql_does() {
    let begun = Instant::now();
    let cases: Vec<(String, Answer)> = answers()
        .expect("the answers can be read")
        .into_iter()
        .flat_map(|topic| topic.entries.into_iter().map(move |answer| (topic.name.clone(), answer)))
        .collect();
    assert!(cases.len() >= 3000, "only {} expressions", cases.len());
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let tables = create_tables(&server, &tables().expect("the tables can be read")).expect("tables can be tried");
    let share = cases.len().div_ceil(CONNECTIONS);
    let judged: Vec<Judged> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .chunks(share)
            .enumerate()
            .map(|(at, share)| {
                let (server, tables) = (&server, &tables);
                scope.spawn(move || judge_all(&mut Judge::new(server, tables, at).expect("a connection"), share))
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a thread has not panicked")).collect()
    });
    let lists = Lists::read().expect("the lists can be read");
    let found = Lists::of(judged.iter().map(Judged::entry), &lists.differs);
    totals(&judged, &found);
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    if std::env::var("HEADWATER_CONFORMANCE").is_ok_and(|v| v == "write") {
        found.write().expect("the lists can be written");
        return;
    }
    let wrong = lists.compare(&found);
    assert!(
        wrong.is_empty(),
        "{} expressions are not as listed (HEADWATER_CONFORMANCE=write lists them anew):\n{}",
        wrong.len(),
        wrong[..wrong.len().min(SHOWN_MAX)].join("\n")
    );
}

fn judge_all(judge: &mut Judge, cases: &[(String, Answer)]) -> Vec<Judged> {
    let select: Vec<Verdict> = cases.iter().map(|(_, answer)| judge.select(answer)).collect();
    let view = judge.views(cases, &select);
    let verdicts = select.into_iter().zip(view);
    let judged = cases.iter().zip(verdicts).map(|((topic, answer), (select, view))| Judged {
        topic: topic.clone(),
        answer: answer.clone(),
        select,
        view,
    });
    judged.collect()
}

/// How many are equal, pending, different for a reason, and wrong; by topic.
fn totals(judged: &[Judged], found: &Lists) {
    let mut by_topic: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for one in judged {
        let at = match found.status(&one.topic, &one.answer.expression) {
            Status::Equal => 0,
            Status::Pending => 1,
            Status::Differs => 2,
            Status::Wrong => 3,
        };
        by_topic.entry(&one.topic).or_default()[at] += 1;
    }
    let all = by_topic.values().fold([0; 4], |sum, counts| std::array::from_fn(|at| sum[at] + counts[at]));
    println!("{:<14}{:>8}{:>9}{:>9}{:>7}", "topic", "equal", "pending", "differs", "wrong");
    by_topic.insert("(all)", all);
    for (topic, [equal, pending, differs, wrong]) in by_topic {
        println!("{topic:<14}{equal:>8}{pending:>9}{differs:>9}{wrong:>7}");
    }
}

//! `cargo xtask crash`: the crash harness and the simulation, as long and from which seed one wants.

use crate::{USAGE, cargo, kafka};
use std::path::Path;
use std::process::Command;

/// What is to be run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Random kills of a real server.
    kills: Option<u64>,
    /// Fail points to walk: `all`, or those whose name holds the text.
    points: Option<String>,
    /// Simulated runs.
    simulations: Option<u64>,
    seed: Option<u64>,
}

impl Wanted {
    fn parse(args: impl Iterator<Item = String>) -> Result<Wanted, String> {
        let (mut wanted, mut args) = (Wanted::default(), args.peekable());
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|n| n.parse().ok()).ok_or_else(|| format!("{arg} needs a number"));
            match arg.as_str() {
                "--kills" => wanted.kills = Some(number()?),
                "--simulate" => wanted.simulations = Some(number()?),
                "--seed" => wanted.seed = Some(number()?),
                "--points" => {
                    let named = args.next_if(|next| !next.starts_with("--"));
                    wanted.points = Some(named.unwrap_or_else(|| "all".into()));
                }
                _ => return Err(USAGE.to_string()),
            }
        }
        Ok(wanted)
    }
}

/// Builds the server and runs what the arguments say; all of it, shortly, where they say nothing.
pub(crate) fn run(root: &Path, args: impl Iterator<Item = String>) -> Result<(), String> {
    let wanted = Wanted::parse(args)?;
    let real = wanted.kills.is_some() || wanted.points.is_some();
    let both = !real && wanted.simulations.is_none();
    cargo(root, &["build", "--release", "--workspace", "--bins"])?;
    let seed = wanted.seed.map(|s| ("HEADWATER_TEST_SEED", s.to_string()));
    if real || both {
        if let Err(why) = kafka::fetch() {
            println!("xtask: SKIPPED: Kafka input: {why}");
        }
        // Points without kills: just the points.
        let kills = wanted.kills.or(wanted.points.as_ref().map(|_| 0)).map(|n| ("HEADWATER_TEST_KILLS", n.to_string()));
        let none = wanted.points.is_none() && wanted.kills.is_some();
        let points = wanted.points.or(none.then(|| "none".into())).map(|p| ("HEADWATER_TEST_POINTS", p));
        test(root, "crash", seed.clone().into_iter().chain(kills).chain(points))?;
    }
    if wanted.simulations.is_some() || both {
        let runs = wanted.simulations.map(|n| ("HEADWATER_TEST_SIMULATE", n.to_string()));
        test(root, "simulate", seed.into_iter().chain(runs))?;
    }
    Ok(())
}

fn test(root: &Path, name: &str, env: impl Iterator<Item = (&'static str, String)>) -> Result<(), String> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["test", "--release", "--workspace", "--test", name]);
    // One after another, so that each has the machine.
    command.args(["--", "--nocapture", "--test-threads", "1"]).envs(env);
    crate::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    fn parse(line: &str) -> Result<Wanted, String> {
        Wanted::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments() {
        let all = parse("--kills 3 --points --seed 7").expect("valid");
        assert_eq!((all.kills, all.points.as_deref(), all.seed), (Some(3), Some("all"), Some(7)));
        assert_eq!(parse("--points manifest").expect("valid").points.as_deref(), Some("manifest"));
        assert_eq!(parse("--simulate 20000").expect("valid").simulations, Some(20_000));
        assert!(parse("--kills").is_err() && parse("--kill 3").is_err());
    }
}

//! What the operating system says about a process.

use crate::HarnessError;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `/proc` counts CPU time in these, on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that all threads of a process have used, in user and system mode.
pub fn cpu_seconds(pid: u32) -> Result<f64, HarnessError> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(HarnessError::wrap(&path))?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th words after it.
    let words: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|w| w.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
        _ => Err(HarnessError(format!("{path} is not understood"))),
    }
}

/// The most memory a process has had resident so far, in bytes.
pub fn peak_memory(pid: u32) -> Result<u64, HarnessError> {
    status_bytes(pid, "VmHWM:")
}

/// The memory a process has resident, in bytes.
pub fn resident_memory(pid: u32) -> Result<u64, HarnessError> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> Result<u64, HarnessError> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(HarnessError::wrap(&path))?;
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|k| k * 1024).ok_or_else(|| HarnessError(format!("{path} is not understood")))
}

/// The bytes of all files in a directory; what cannot be read counts nothing.
pub fn disk_bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.metadata().map_or(0, |m| if m.is_dir() { disk_bytes(&e.path()) } else { m.len() })).sum()
}

/// Writes 4 KiB in place and makes it durable every `pause`, in a new file, until told to stop. `each` gets when that began, and how
/// long it took in milliseconds: what the disk alone is to a commit.
pub fn follow_disk(
    path: &Path,
    pause: Duration,
    over: &AtomicBool,
    mut each: impl FnMut(Instant, f64),
) -> std::io::Result<()> {
    let file = std::fs::File::create(path)?;
    file.write_all_at(&vec![0u8; 1 << 20], 0)?;
    file.sync_all()?;
    for i in 0u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        file.write_all_at(&[i as u8; 4096], i % 256 * 4096)?;
        file.sync_data()?;
        each(begun, begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(pause);
    }
    Ok(())
}

/// The value below which `share` (0 to 1) of the sorted `values` lie; 0 for none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_figures_are_plausible() {
        let me = std::process::id();
        assert!(peak_memory(me).is_ok_and(|b| b > 100 << 10));
        assert!(resident_memory(me).is_ok_and(|b| b > 100 << 10));
        assert!(cpu_seconds(me).is_ok_and(|s| s < 3600.0));
        assert!(cpu_seconds(u32::MAX).is_err());
    }

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99), percentile(&[], 0.5)), (50.0, 99.0, 0.0));
        assert_eq!(percentile(&values, 1.0), 99.0);
    }
}

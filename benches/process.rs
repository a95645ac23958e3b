//! What the kernel says of this process.

use std::fs::read_to_string;

/// Kernel clock ticks a second in `/proc/<pid>/stat`; 100 on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// CPU seconds, user and system, of all threads so far.
pub fn cpu_seconds() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in parentheses that may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// A line of `/proc/self/status`, in MiB.
fn status_mib(name: &str) -> f64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Resident memory now, MiB.
pub fn resident_mib() -> f64 {
    status_mib("VmRSS")
}

/// The most resident memory since [`reset_peak`], MiB.
pub fn peak_mib() -> f64 {
    status_mib("VmHWM")
}

/// Lets the peak begin anew.
pub fn reset_peak() {
    // Without the permission the peak is that of the whole run, which is never less.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

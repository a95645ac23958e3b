//! Data directories to be damaged, compared, verified, repaired and started on.

use hw_testkit::{Random, Server};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Copies all of a directory.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("list").map(|e| e.expect("entry")) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy");
        }
    }
}

/// Every file below a directory.
pub fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()) {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// Damages a random file; what was done.
pub fn damage(home: &Path, random: &mut Random) -> String {
    let mut all = vec![];
    files(home, &mut all);
    all.retain(|p| !p.ends_with("LOCK"));
    all.sort();
    let path = &all[random.below(all.len() as u64) as usize];
    let name = path.strip_prefix(home).expect("inside").display().to_string();
    let mut bytes = std::fs::read(path).expect("read");
    // Room that was never written holds nothing to damage.
    let written = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    if written == 0 {
        return format!("{name} is empty");
    }
    match random.below(20) {
        0 => {
            std::fs::remove_file(path).expect("remove");
            format!("{name} removed")
        }
        // A log that ends early looks like one that was never longer, except where a checkpoint knows better.
        1 if !name.starts_with("log/") => {
            let len = random.below(written as u64) as usize;
            std::fs::write(path, &bytes[..len]).expect("write");
            format!("{name} cut to {len} of {written} bytes")
        }
        _ => {
            let (at, bit) = (random.below(written as u64) as usize, random.below(8));
            bytes[at] ^= 1 << bit;
            std::fs::write(path, &bytes).expect("write");
            format!("{name}: bit {bit} of byte {at} of {written}")
        }
    }
}

/// What `headwater verify` says: whether all is well, and its words.
pub fn verify(home: &Path) -> (bool, String) {
    say(home, &["verify"])
}

/// What `headwater` says with these arguments and a directory: whether all is well, and its words.
pub fn say(home: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(hw_testkit::binary().expect("the binary"));
    let said = command.args(args).arg(home).output().expect("runs");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(matches!(said.status.code(), Some(0 | 1)) && !text.contains("panicked"), "{text}");
    (said.status.success(), text)
}

/// Every file and the checksum of its bytes.
pub fn listing(home: &Path) -> Vec<(PathBuf, u32)> {
    let mut all = vec![];
    files(home, &mut all);
    all.sort();
    all.into_iter().map(|p| (p.clone(), crc32c::crc32c(&std::fs::read(&p).expect("read")))).collect()
}

/// How a start went.
pub enum Start {
    /// It is there.
    Ready(Server),
    /// It ended: whether by itself, and its last words.
    Ended(bool, String),
}

/// Starts on a directory whose state is not known.
pub fn start(home: &Path) -> Start {
    match Server::start_in(home, &["--checkpoint-interval", "3600"]) {
        Ok(server) => Start::Ready(server),
        Err(_) => {
            // Again, to hear what it says.
            let mut child = Command::new(hw_testkit::binary().expect("the binary"))
                .args(["start", "--pg-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"])
                .arg(home)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("spawns");
            let mut text = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
            let status = child.wait().expect("ends");
            Start::Ended(status.code() == Some(1), text)
        }
    }
}

//! What a crash, a full disk and damaged bytes do to the log.

use super::*;
use crate::files::RealFileSystem;
use crate::files::faulty::{Faults, FaultyFileSystem, faulty};
use crate::{DeadLetterRow, LogWriter, SourcePosition, TableWrite};
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use hw_repr::GlobalId;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

const SMALL: LogLimits = LogLimits { segment_bytes: 4096, extend_bytes: 2048, spare_bytes: 0 };

/// Everything in one segment, in small steps.
const ONE: LogLimits = LogLimits { segment_bytes: 1 << 20, extend_bytes: 4096, spare_bytes: 0 };

fn tick(time: u64) -> TickRecord {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![time as i64, 2]))]).expect("a batch");
    TickRecord {
        time,
        catalog: vec![b"change".to_vec()],
        tables: vec![TableWrite { table: GlobalId(16384), batch, diffs: vec![1, -1] }],
        positions: vec![SourcePosition {
            source: GlobalId(7),
            partition: 1,
            next: time as i64,
            count: 3,
            crc: 9,
            bytes: 9,
            read: true,
        }],
        dead_letters: vec![DeadLetterRow {
            source: GlobalId(7),
            partition: 0,
            offset: 5,
            time_us: None,
            key: None,
            value: Some(b"{".to_vec()),
            headers: None,
            reason: "not JSON".into(),
        }],
    }
}

fn write_ticks(path: &Path, limits: LogLimits, times: impl Iterator<Item = u64>) {
    let dir = DataDir::open(path).expect("data directory");
    let (mut log, _) = TickLog::open_with(&dir, limits).expect("log");
    for time in times {
        log.append(&tick(time)).expect("append");
        log.sync().expect("sync");
    }
}

#[test]
fn goes_on_in_a_file_that_was_made_ahead() {
    let home = tempfile::tempdir().expect("a directory");
    let limits = LogLimits { segment_bytes: 1 << 20, extend_bytes: 4096, spare_bytes: 8192 };
    let dir = DataDir::open(home.path()).expect("data directory");
    let (mut log, _) = TickLog::open_with(&dir, limits).expect("log");
    let mut last = 0;
    while log.segments.len() < 4 {
        last += 1;
        assert!(last < 10_000, "the log never went on in another file");
        log.append(&tick(last)).expect("append");
        log.sync().expect("sync");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(log.current.allocated >= 8192, "the last segment was made in steps of {} bytes", limits.extend_bytes);
    drop(log);
    std::fs::write(dir.log_path().join("next.seg.tmp"), b"half made").expect("a file");
    let (log, recovered) = TickLog::open_with(&dir, limits).expect("log");
    assert_eq!((recovered.last_time, recovered.torn), (last, None));
    assert_eq!(times(&log), (1..=last).collect::<Vec<_>>());
    assert!(!dir.log_path().join("next.seg.tmp").exists());
}

fn times(log: &TickLog) -> Vec<u64> {
    log.replay().map(|r| r.expect("a good record").time).collect()
}

fn segment_files(path: &Path) -> Vec<PathBuf> {
    let names = RealFileSystem.list(&path.join("log")).expect("list");
    names.into_iter().map(|n| path.join("log").join(n)).collect()
}

/// Offsets of the frames of a segment and the end of the last one.
fn frame_offsets(file: &Path) -> Vec<u64> {
    let sequence = segment_sequence(&file.file_name().expect("a name").to_string_lossy()).expect("a segment");
    let reader = SegmentReader::open(&RealFileSystem, file.parent().expect("a parent"), sequence).expect("segment");
    let mut offsets = vec![HEADER_BYTES];
    while let FrameAt::Valid(frame) = reader.frame_at(*offsets.last().expect("never empty")).expect("read") {
        offsets.push(frame.next);
    }
    offsets
}

#[test]
fn what_was_appended_is_replayed_after_reopening() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=50);
    assert!(segment_files(temp.path()).len() > 3, "several segments");
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (mut log, recovered) = TickLog::open_with(&dir, SMALL).expect("log");
    assert_eq!(recovered, Recovered { last_time: 50, torn: None });
    let records: Vec<_> = log.replay().collect::<Result<_, _>>().expect("all good");
    assert_eq!(records, (1..=50).map(tick).collect::<Vec<_>>());
    assert_eq!(log.append(&tick(50)).expect_err("time must increase").code, SqlState::INTERNAL);
    log.append(&tick(51)).expect("a refused record does not close the log");
    assert_eq!(log.replay_after(48).map(|r| r.expect("good").time).collect::<Vec<_>>(), [49, 50, 51]);
}

#[test]
fn an_empty_log_replays_nothing() {
    let temp = tempfile::tempdir().expect("temporary directory");
    for _ in 0..2 {
        let dir = DataDir::open(temp.path()).expect("data directory");
        let (log, recovered) = TickLog::open(&dir).expect("log");
        assert_eq!(recovered, Recovered { last_time: 0, torn: None });
        assert_eq!(times(&log), [0u64; 0]);
    }
}

#[test]
fn truncation_removes_whole_segments_only() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=50);
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (mut log, _) = TickLog::open_with(&dir, SMALL).expect("log");
    assert_eq!(log.truncate(0).expect("truncate"), 0);
    assert!(log.truncate(30).expect("truncate") > 0);
    let left = times(&log);
    assert!(left[0] > 1 && left[0] <= 31 && left.last() == Some(&50), "{left:?}");
    drop(log);
    let (log, _) = TickLog::open_with(&dir, SMALL).expect("reopen");
    assert_eq!(times(&log), left);
}

/// Catches: a segment that could not be removed and stays, while those after it go: a log without its middle.
#[test]
fn nothing_is_removed_after_a_segment_that_could_not_be() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=80);
    for fails_after in 1..=4 {
        let (faults, dir) = faulty(temp.path());
        let (mut log, _) = TickLog::open_with(&dir, SMALL).expect("a log without a gap");
        let until = 10 + 10 * fails_after;
        faults.fails_at.store(faults.operations.load(Ordering::SeqCst) + fails_after, Ordering::SeqCst);
        let failed = log.truncate(until).is_err();
        faults.fails_at.store(0, Ordering::SeqCst);
        // Once more, as the next checkpoint does.
        log.truncate(until + 10).expect("truncate");
        drop(log);
        assert!(failed || fails_after > 1, "nothing failed");
    }
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (log, _) = TickLog::open_with(&dir, SMALL).expect("a log without a gap");
    assert_eq!(times(&log).last(), Some(&80));
}

/// A record larger than a segment and than one extension.
#[test]
fn large_records_fit() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (mut log, _) = TickLog::open_with(&dir, SMALL).expect("log");
    for time in 1..=3 {
        log.append(&TickRecord { time, catalog: vec![vec![7; 20_000]], ..TickRecord::default() }).expect("append");
    }
    log.sync().expect("sync");
    assert_eq!(times(&log), [1, 2, 3]);
}

/// Catches: a torn record that is served, a good one that is lost, a stale byte read after new appends.
#[test]
fn a_torn_tail_is_cut_wherever_the_write_stopped() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), ONE, 1..=3);
    let file = segment_files(temp.path()).pop().expect("a segment");
    let whole = std::fs::read(&file).expect("read");
    let offsets = frame_offsets(&file);
    let (start, end) = (offsets[2] as usize, offsets[3] as usize);
    let payload_len = u32::from_le_bytes(whole[start + 4..start + 8].try_into().expect("four bytes"));
    let payload_end = start + segment::FRAME_BYTES as usize + payload_len as usize;
    let dir = DataDir::open(temp.path()).expect("data directory");
    for stopped in start..end {
        for zeros_follow in [true, false] {
            let mut bytes = whole[..stopped].to_vec();
            if zeros_follow {
                bytes.resize(end + 4096, 0);
            }
            // Zeros in the place of zeros are the whole record, and padding carries nothing.
            let is_whole = bytes.get(..payload_end) == Some(&whole[..payload_end]);
            std::fs::write(&file, &bytes).expect("write");
            let (mut log, recovered) = TickLog::open_with(&dir, ONE).expect("a torn tail is no error");
            assert_eq!(recovered.last_time, if is_whole { 3 } else { 2 }, "stopped at {stopped}");
            if !is_whole && stopped > start && bytes[start..stopped].iter().any(|b| *b != 0) {
                assert!(recovered.torn.expect("a warning").contains("after tick 2"));
            }
            log.append(&tick(9)).expect("append");
            log.sync().expect("sync");
            let expected: &[u64] = if is_whole { &[1, 2, 3, 9] } else { &[1, 2, 9] };
            assert_eq!(times(&log), expected);
            drop(log);
            let (log, recovered) = TickLog::open_with(&dir, ONE).expect("reopen");
            assert_eq!((times(&log).as_slice(), recovered.torn), (expected, None));
        }
    }
}

/// Catches: damage taken for a torn tail, which would lose acknowledged ticks silently.
#[test]
fn a_flipped_bit_in_an_earlier_record_is_an_error() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), ONE, 1..=3);
    let file = segment_files(temp.path()).pop().expect("a segment");
    let whole = std::fs::read(&file).expect("read");
    let offsets = frame_offsets(&file);
    let dir = DataDir::open(temp.path()).expect("data directory");
    for at in 0..offsets[2] as usize {
        let mut bytes = whole[..offsets[3] as usize + 64].to_vec();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bytes).expect("write");
        match TickLog::open(&dir) {
            Err(error) => {
                assert!(error.message.contains(&file.display().to_string()), "{}", error.message);
            }
            // Padding and the header's unused bytes carry nothing.
            Ok((log, _)) => assert_eq!(times(&log), [1, 2, 3], "byte {at}"),
        }
    }
}

#[test]
fn damage_in_an_earlier_segment_is_an_error_of_replay() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=30);
    let files = segment_files(temp.path());
    let whole = std::fs::read(&files[1]).expect("read");
    let mut bytes = whole.clone();
    bytes[frame_offsets(&files[1])[1] as usize + 40] ^= 1;
    std::fs::write(&files[1], &bytes).expect("write");
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (log, _) = TickLog::open_with(&dir, SMALL).expect("log");
    let results: Vec<_> = log.replay().collect();
    let error = results.last().expect("some").as_ref().expect_err("damage");
    assert_eq!(error.code, SqlState::DATA_CORRUPTED);
    assert!(error.message.contains(&files[1].display().to_string()), "{}", error.message);
    assert!(results[..results.len() - 1].iter().all(Result::is_ok));
    drop(log);
    // A segment that lost its end, and one that is gone.
    std::fs::write(&files[1], &whole[..frame_offsets(&files[0])[1] as usize]).expect("write");
    let (log, _) = TickLog::open_with(&dir, SMALL).expect("log");
    assert!(log.replay().any(|r| r.is_err()));
    drop(log);
    std::fs::remove_file(&files[1]).expect("remove");
    assert!(TickLog::open_with(&dir, SMALL).expect_err("missing").message.contains("is missing"));
}

/// A record that holds the bytes of a frame must not make a torn tail look like damage.
#[test]
fn a_frame_inside_a_record_is_no_frame() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), LogLimits::default(), 1..=2);
    let file = segment_files(temp.path()).pop().expect("a segment");
    let whole = std::fs::read(&file).expect("read");
    let offsets = frame_offsets(&file);
    let dir = DataDir::open(temp.path()).expect("data directory");
    let (mut log, _) = TickLog::open(&dir).expect("log");
    let embedded = whole[offsets[1] as usize..offsets[2] as usize].to_vec();
    log.append(&TickRecord { time: 3, catalog: vec![embedded; 9], ..TickRecord::default() }).expect("append");
    drop(log);
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[offsets[2] as usize + 9] ^= 1;
    std::fs::write(&file, &bytes).expect("write");
    let (log, recovered) = TickLog::open(&dir).expect("a torn tail");
    assert!(recovered.torn.is_some());
    assert_eq!(times(&log), [1, 2]);
}

#[test]
fn after_a_failed_sync_nothing_is_accepted() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (faults, dir) = faulty(temp.path());
    let (mut log, _) = TickLog::open(&dir).expect("log");
    log.append(&tick(1)).expect("append");
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert_eq!(log.sync().expect_err("sync").code, SqlState::IO_ERROR);
    faults.sync_fails.store(false, Ordering::SeqCst);
    assert_eq!(log.append(&tick(2)).expect_err("closed").code, SqlState::IO_ERROR);
    assert_eq!(log.sync().expect_err("closed").code, SqlState::IO_ERROR);
}

#[test]
fn a_full_disk_is_53100_and_loses_nothing_acknowledged() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (faults, dir) = faulty(temp.path());
    let (mut log, _) = TickLog::open_with(&dir, SMALL).expect("log");
    faults.full.store(true, Ordering::SeqCst);
    let mut appended = 0;
    let error = loop {
        match log.append(&tick(appended + 1)) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, SqlState::DISK_FULL);
    log.sync().expect("what was appended before can still be made durable");
    assert_eq!(log.append(&tick(99)).expect_err("closed").code, SqlState::DISK_FULL);
    drop(log);
    faults.full.store(false, Ordering::SeqCst);
    let (log, recovered) = TickLog::open_with(&dir, SMALL).expect("reopen");
    assert_eq!((recovered.last_time, recovered.torn), (appended, None));
    assert_eq!(times(&log), (1..=appended).collect::<Vec<_>>());
}

/// A file made ahead takes no room that a commit needs.
#[test]
fn on_a_small_disk_the_next_file_gives_way() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let log_dir = temp.path().join("log");
    // The next file has half of what it wants when the disk is full.
    let limits = LogLimits { segment_bytes: 4 << 20, extend_bytes: 64 << 10, spare_bytes: 1 << 20 };
    let faults = Arc::new(Faults { capacity: Some((log_dir.clone(), 600 << 10)), ..Faults::default() });
    let dir = DataDir::open_with(temp.path(), Arc::new(FaultyFileSystem(faults))).expect("data directory");
    let (mut log, _) = TickLog::open_with(&dir, limits).expect("log");
    let append = |log: &mut TickLog, time| {
        log.append(&TickRecord { time, catalog: vec![vec![7; 20_000]], ..TickRecord::default() })
    };
    for time in 1..=3 {
        append(&mut log, time).expect("there is room");
    }
    let next = log_dir.join("next.seg.tmp");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::fs::metadata(&next).map_or(0, |m| m.len()) < 512 << 10 {
        assert!(std::time::Instant::now() < deadline, "the next file was not begun");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let error = (4..).find_map(|time| append(&mut log, time).err()).expect("the disk is full some time");
    assert_eq!(error.code, SqlState::DISK_FULL);
    assert!(log.current.end > 500 << 10, "the log used only {} bytes of its disk", log.current.end);
    assert!(!next.exists());
}

/// Callbacks come in order, after the sync, and many records share one sync.
#[test]
fn one_sync_serves_all_that_wait() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (faults, dir) = faulty(temp.path());
    let (log, _) = TickLog::open(&dir).expect("log");
    let writer = LogWriter::start(log).expect("writer");
    let (send, receive) = mpsc::channel();
    let closed = faults.gate.lock().expect("not poisoned");
    for time in 1..=200 {
        let send = send.clone();
        writer.submit(tick(time), Box::new(move |result| send.send((time, result)).expect("the test receives")));
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(receive.try_recv().is_err(), "nothing is durable before a sync");
    drop(closed);
    for time in 1..=200 {
        assert_eq!(receive.recv().expect("an answer"), (time, Ok(())));
    }
    assert!(writer.syncs() < 20, "{} syncs for 200 records", writer.syncs());
    writer.close().expect("close");
    let (log, _) = TickLog::open(&dir).expect("reopen");
    assert_eq!(times(&log).len(), 200);
}

/// A log that went on without a failed tick would replay to something else than what was computed.
#[test]
fn after_the_first_failure_every_later_record_fails() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let (faults, dir) = faulty(temp.path());
    let (log, _) = TickLog::open(&dir).expect("log");
    let writer = LogWriter::start_with(log, 2).expect("writer");
    let (send, receive) = mpsc::channel();
    let submit = |time| {
        let send = send.clone();
        writer.submit(tick(time), Box::new(move |result| send.send(result).expect("the test receives")));
        receive.recv().expect("an answer")
    };
    submit(1).expect("durable");
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert_eq!(submit(2).expect_err("fails").code, SqlState::IO_ERROR);
    faults.sync_fails.store(false, Ordering::SeqCst);
    assert_eq!(submit(3).expect_err("stays closed").code, SqlState::IO_ERROR);
    assert!(writer.failed().is_some());
    assert!(writer.close().is_err());
}

/// The stretches of a survey: after, last, ticks.
fn stretches(survey: &Survey) -> Vec<(u64, u64, usize)> {
    survey.stretches.iter().map(|s| (s.after, s.last, s.ticks)).collect()
}

/// Catches: a log that cannot be mended, one that is mended to something that never was, ticks given up without need.
#[test]
fn a_log_is_made_anew_from_what_can_be_read() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=30);
    let all = segment_files(temp.path());
    let whole: Vec<Vec<u8>> = all.iter().map(|f| std::fs::read(f).expect("read")).collect();
    let dir = DataDir::open(temp.path()).expect("data directory");
    assert_eq!(stretches(&Survey::of(&dir).expect("surveyed")), [(0, 30, 30)]);
    let (mut cut, mut gone_on) = (0, 0);
    for (number, bytes) in whole.iter().enumerate().take(3) {
        for at in (0..bytes.len()).step_by(149) {
            segment_files(temp.path()).iter().for_each(|f| std::fs::remove_file(f).expect("remove"));
            all.iter().zip(&whole).for_each(|(f, bytes)| std::fs::write(f, bytes).expect("write"));
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&all[number], &bad).expect("write");
            let survey = Survey::of(&dir).expect("surveyed");
            if survey.is_sound() {
                assert_eq!(
                    (stretches(&survey), survey.torn),
                    (vec![(0, 30, 30)], false),
                    "segment {number}, byte {at}"
                );
                continue;
            }
            // Without a checkpoint all before the damage is kept; with one at the end of it what comes after.
            for (tick, seal) in [(0, Some(1000)), (14, None)] {
                let Some(kept) = survey.from(tick) else {
                    assert!(at < HEADER_BYTES as usize || tick > 0, "segment {number}, byte {at}");
                    continue;
                };
                let kept = survey.stretches[kept].clone();
                assert!(kept.last == 30 || tick == 0 || kept.after == 0, "{kept:?}");
                let home = tempfile::tempdir().expect("temporary directory");
                let other = DataDir::open(home.path()).expect("data directory");
                for file in segment_files(temp.path()) {
                    std::fs::copy(&file, home.path().join("log").join(file.file_name().expect("a name")))
                        .expect("copy");
                }
                let survey = Survey::of(&other).expect("surveyed");
                let after = kept.after.max(if kept.after == 0 { 0 } else { tick });
                TickLog::rebuild(&other, &survey, Some(&kept), after, seal).expect("made anew");
                let again = Survey::of(&other).expect("surveyed");
                assert!(again.is_sound() && !again.torn, "{:?}", again.damage);
                let (mut log, recovered) = TickLog::open(&other).expect("opens");
                assert_eq!((recovered.last_time, recovered.torn), (seal.unwrap_or(kept.last), None));
                let expected: Vec<u64> = (after + 1..=kept.last).chain(seal).collect();
                assert_eq!((log.floor(), times(&log)), (after, expected), "segment {number}, byte {at}");
                log.append(&self::tick(2000)).expect("goes on");
                cut += usize::from(kept.last < 30);
                gone_on += usize::from(after == 14);
            }
        }
    }
    assert!(cut > 0 && gone_on > 0, "{cut} were cut, {gone_on} went on after the damage");
}

#[test]
fn what_a_survey_says_of_missing_and_foreign_files() {
    let temp = tempfile::tempdir().expect("temporary directory");
    write_ticks(temp.path(), SMALL, 1..=30);
    let all = segment_files(temp.path());
    std::fs::remove_file(&all[1]).expect("remove");
    std::fs::write(temp.path().join("log/letter"), "dear").expect("write");
    let dir = DataDir::open(temp.path()).expect("data directory");
    let survey = Survey::of(&dir).expect("surveyed");
    let said: Vec<&str> = survey.damage.iter().map(|e| e.message.as_str()).collect();
    assert!(said.len() == 2 && said[0].contains("letter") && said[1].contains("is missing"), "{said:?}");
    let found = stretches(&survey);
    assert!(found.len() == 2 && found[0].0 == 0 && found[1].1 == 30 && found[1].0 > found[0].1, "{found:?}");
    let kept = survey.from(0).map(|at| survey.stretches[at].clone()).expect("the beginning");
    TickLog::rebuild(&dir, &survey, Some(&kept), 0, None).expect("made anew");
    let (log, _) = TickLog::open(&dir).expect("opens");
    assert_eq!(times(&log), (1..=kept.last).collect::<Vec<_>>());
    // A record that another version wrote is no damage.
    let mut log = log;
    log.append(&tick(100)).expect("append");
    let mut payload = vec![];
    tick(101).encode(&mut payload).expect("encodes");
    payload[0] = 99;
    log.append_encoded(101, &payload).expect("append");
    log.sync().expect("sync");
    drop(log);
    let e = Survey::of(&dir).expect_err("another version");
    assert_eq!(e.code, SqlState::PREREQUISITE_STATE, "{e:?}");
}

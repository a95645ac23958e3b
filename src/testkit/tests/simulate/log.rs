//! The tick log by itself on the simulated disk.

use super::disk::{At, Disk, DiskFiles, Image, Place, Plan};
use hw_repr::SqlError;
use hw_store::ticklog::LogLimits;
use hw_store::{DataDir, TickLog, TickRecord};
use hw_testkit::Random;
use std::path::Path;
use std::sync::Arc;

/// Some lives of a log, each cut short by a crash.
pub fn lives(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let limits = LogLimits { segment_bytes: 2 << 10, extend_bytes: 512, spare_bytes: 4 << 10 };
    let (mut image, mut synced, mut written) = (Image::default(), 0, 0);
    for life in 0..5 {
        let crash_at = Some(At(Place::Log, 1 + random.below(50)));
        let plan = Plan { crash_at, ..Plan::default() };
        let disk = Disk::new(image, plan, Random::new(random.bits()));
        let lived = live(&disk, limits, &mut random, &mut synced, &mut written);
        match lived {
            Err(e) if !disk.is_dead() => return Err(format!("life {life}: {e}\n{}", disk.trace().join("\n"))),
            _ => image = disk.crash(),
        }
    }
    Ok(())
}

/// Until the crash: what was synced before is there, and more is written.
fn live(
    disk: &Arc<Disk>,
    limits: LogLimits,
    random: &mut Random,
    synced: &mut u64,
    written: &mut u64,
) -> Result<(), SqlError> {
    let dir = DataDir::open_with(Path::new("/data"), Arc::new(DiskFiles(disk.clone())))?;
    let (mut log, recovered) = TickLog::open_with(&dir, limits)?;
    if !(*synced..=*written).contains(&recovered.last_time) {
        let said = format!("it ends at {}, {synced} was synced, {written} written", recovered.last_time);
        return Err(SqlError::internal(said));
    }
    let times: Vec<u64> = log.replay().map(|r| r.map(|r| r.time)).collect::<Result<_, _>>()?;
    if times != (1..=recovered.last_time).collect::<Vec<_>>() {
        return Err(SqlError::internal(format!("it has {times:?}")));
    }
    (*synced, *written) = (recovered.last_time, recovered.last_time);
    loop {
        let catalog = vec![vec![7; 1 + random.below(400) as usize]];
        *written += 1;
        log.append(&TickRecord { time: *written, catalog, ..TickRecord::default() })?;
        if random.chance(50) {
            log.sync()?;
            *synced = *written;
        }
    }
}

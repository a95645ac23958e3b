//! Seeded randomness: the same seed gives the same run on every platform.

/// A small generator (SplitMix64): good enough to choose statements, quick, and never different in another version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.bits() % n }
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these; precondition: there is one.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// The seed where none is given: CI does the same every time.
const SEED: u64 = 20_261;

/// `HEADWATER_TEST_SEED`, or a fixed one; `random` takes one from the clock. Tests print it, so that a failure can be
/// had again.
pub fn seed() -> u64 {
    match std::env::var("HEADWATER_TEST_SEED").as_deref() {
        Ok("random") => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            Random::new(now.map_or(1, |d| d.as_nanos() as u64)).bits() % 1_000_000_000
        }
        Ok(given) => given.parse().unwrap_or(SEED),
        Err(_) => SEED,
    }
}

/// `amount` of work as CI does it, times `HEADWATER_TEST_LONG` where that is set.
pub fn scaled(amount: u64) -> u64 {
    let times = std::env::var("HEADWATER_TEST_LONG").ok().and_then(|s| s.parse::<u64>().ok());
    amount * times.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_run() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert!((0..100).all(|_| a.bits() == b.bits()));
        let mut c = Random::new(8);
        assert!((0..100).any(|_| a.bits() != c.bits()));
        assert!((0..1000).all(|_| c.below(3) < 3));
        assert_eq!(c.below(0), 0);
    }
}

//! A stream of random numbers that a seed and a name decide.

use std::ops::RangeInclusive;

/// xoshiro256++ (Blackman and Vigna, 2019), seeded by SplitMix64. Not for secrets: a simulation has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    /// The stream of this seed and name. Streams of different names are independent of each other.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a over the name: the seeds of streams need to differ, no more.
        let mut mixed = name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(32), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        mixed ^= seed;
        Self { state: [(); 4].map(|()| split_mix(&mut mixed)) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number of the range. The bias of the remainder is below one in a million for ranges under 2^44.
    pub fn in_range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = range.end().saturating_sub(*range.start()).saturating_add(1);
        if span == 0 { self.next_u64() } else { range.start() + self.next_u64() % span }
    }

    /// Whether something of this probability, in millionths, happens now.
    pub fn happens(&mut self, probability_ppm: u32) -> bool {
        self.next_u64() % 1_000_000 < u64::from(probability_ppm)
    }

    /// One of the items; `None` where there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let last = (items.len() as u64).checked_sub(1)?;
        items.get(self.in_range(0..=last) as usize)
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.in_range(0..=index as u64) as usize);
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_follows_from_its_seed_and_its_name() {
        let draw = |seed, name| Stream::new(seed, name).next_u64();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
        assert_ne!(draw(1, "network"), draw(1, "faults"));
        assert_ne!(draw(0, ""), 0);
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_all_of_it() {
        let mut stream = Stream::new(7, "test");
        let mut seen = [false; 5];
        for _ in 0..1_000 {
            seen[stream.in_range(0..=4) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(stream.choose::<u8>(&[]), None);
        assert!(!stream.happens(0) && stream.happens(1_000_000));
        let mut items: Vec<u32> = (0..100).collect();
        stream.shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..100));
    }
}

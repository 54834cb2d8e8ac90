//! Dividing a budget of GPUs among claims by weight: water-filling.
//!
//! Every claim first gets its floor. The rest rises like water in vessels that are as wide as the
//! claims' weights: claim i has floor + level · weight, until it reaches its cap, and the level
//! is the one at which the budget is used up. These shares are then cut down to whole replicas, and
//! what that leaves goes to those that lost most by it (the method of largest remainders).
//!
//! That method has a known oddity: a larger budget may take a replica from somebody, because it
//! changes the order of the remainders. It never takes more than one where all replicas are equally
//! large.

use std::cmp::Reverse;

use crate::units::{Gpus, Replicas};

/// What one claimant may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// How much it counts beyond its floor, such as priority times the GPUs that it needs. What is
    /// not a positive number counts as zero: such a claim gets its floor only.
    pub weight: f64,
    /// The replicas that it has in any case.
    pub floor: Replicas,
    /// The most replicas that it can use; it goes before the floor.
    pub cap: Replicas,
    /// GPUs of one replica; zero counts as one.
    pub gpus_per_replica: Gpus,
}

/// What all get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// One for each claim, in their order.
    pub replicas: Vec<Replicas>,
    /// Whether the floors alone exceed the budget, so that every claim has its floor and the budget
    /// does not hold.
    pub floors_exceed_budget: bool,
}

/// Divides `budget` among `claims`. Of equal claims the first is served first.
#[must_use]
pub fn share(budget: Gpus, claims: &[Claim]) -> Shares {
    let mut vessels: Vec<Vessel> = claims.iter().map(Vessel::of).collect();
    let floors: f64 = vessels.iter().map(Vessel::water).sum();
    let floors_exceed_budget = floors > budget.as_f64();
    let mut left = (budget.as_f64() - floors).max(0.0);
    // Mostly once is enough. Where replicas differ in size, large ones that do not fit leave GPUs
    // over, which the others then divide: in each round some vessel is full or too coarse.
    loop {
        let mut open: Vec<&mut Vessel> =
            vessels.iter_mut().filter(|vessel| vessel.takes(left)).collect();
        if open.is_empty() {
            break;
        }
        left = pour(left, &mut open);
    }
    Shares { replicas: vessels.iter().map(Vessel::replicas).collect(), floors_exceed_budget }
}

/// A claim, in numbers for arithmetic.
struct Vessel {
    /// Replicas that it has got so far.
    replicas: f64,
    /// Replicas that it may still get.
    room: f64,
    /// GPUs of one replica.
    gpus: f64,
    weight: f64,
}

impl Vessel {
    /// Weights lie between these, so that no sum and no quotient of them leaves the numbers.
    const WEIGHTS: (f64, f64) = (1e-100, 1e100);

    fn of(claim: &Claim) -> Self {
        let floor = claim.floor.min(claim.cap);
        let (least, most) = Self::WEIGHTS;
        let weight = if claim.weight > 0.0 { claim.weight.clamp(least, most) } else { 0.0 };
        Self {
            replicas: floor.as_f64(),
            room: if weight > 0.0 { (claim.cap - floor).as_f64() } else { 0.0 },
            gpus: claim.gpus_per_replica.as_f64().max(1.0),
            weight,
        }
    }

    /// The GPUs that it holds.
    fn water(&self) -> f64 {
        self.replicas * self.gpus
    }

    /// Whether a replica more is wanted and fits.
    fn takes(&self, left: f64) -> bool {
        self.room > 0.0 && self.gpus <= left
    }

    fn fill(&mut self, replicas: f64) {
        self.replicas += replicas;
        self.room -= replicas;
    }

    /// The level at which it is full.
    fn full_at(&self) -> f64 {
        self.room * self.gpus / self.weight
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is whole and lies between a floor and a cap"
    )]
    fn replicas(&self) -> Replicas {
        Replicas::new(self.replicas as u32)
    }
}

/// Divides the GPUs that are left in whole replicas; returns what is left then.
fn pour(mut left: f64, vessels: &mut [&mut Vessel]) -> f64 {
    let level = level(left, vessels);
    let mut remainders = Vec::with_capacity(vessels.len());
    for (idx, vessel) in vessels.iter_mut().enumerate() {
        let exact = (level * vessel.weight / vessel.gpus).min(vessel.room);
        // One that misses a whole number by rounding has the largest remainder of all, and gets it back.
        let whole = exact.floor();
        vessel.fill(whole);
        left -= whole * vessel.gpus;
        remainders.push((Reverse(millionths(exact - whole)), idx));
    }
    remainders.sort_unstable();
    for (_, idx) in remainders {
        let vessel = &mut *vessels[idx];
        if vessel.takes(left) {
            vessel.fill(1.0);
            left -= vessel.gpus;
        }
    }
    left
}

/// The level at which the vessels take up `water`, or one at which all are full.
fn level(mut water: f64, vessels: &[&mut Vessel]) -> f64 {
    let mut by_fullness: Vec<&Vessel> = vessels.iter().map(|vessel| &**vessel).collect();
    by_fullness.sort_by(|a, b| a.full_at().total_cmp(&b.full_at()));
    // Sums from the far end, because to take weights off a sum one by one would gather errors.
    let mut widths: Vec<f64> = by_fullness
        .iter()
        .rev()
        .scan(0.0, |width, vessel| {
            *width += vessel.weight;
            Some(*width)
        })
        .collect();
    widths.reverse();
    for (vessel, width) in by_fullness.iter().zip(widths) {
        if water / width < vessel.full_at() {
            return water / width;
        }
        water = (water - vessel.room * vessel.gpus).max(0.0);
    }
    f64::MAX
}

/// A remainder for comparison: those that differ by rounding are equal.
#[expect(clippy::cast_possible_truncation, reason = "a remainder is at most one replica")]
fn millionths(remainder: f64) -> i64 {
    (remainder * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(budget: u32, claims: &[Claim], expected: &[u32]) {
        let shares = share(Gpus::new(budget), claims);
        let expected: Vec<_> = expected.iter().copied().map(Replicas::new).collect();
        assert_eq!(shares.replicas, expected, "{budget} {claims:?}");
    }

    fn claim(weight: f64, floor: u32, cap: u32, gpus: u32) -> Claim {
        let (floor, cap) = (Replicas::new(floor), Replicas::new(cap));
        Claim { weight, floor, cap, gpus_per_replica: Gpus::new(gpus) }
    }

    #[test]
    fn what_a_full_claim_does_not_take_rises_in_the_others() {
        check(20, &[claim(1.0, 0, 2, 1), claim(1.0, 0, 9, 1), claim(2.0, 0, 50, 1)], &[2, 6, 12]);
        check(9, &[claim(1.0, 0, 3, 1), claim(1.0, 0, 3, 1)], &[3, 3]);
        check(9, &[], &[]);
    }

    #[test]
    fn large_replicas_leave_what_they_do_not_need() {
        // 5.5 GPUs each: one replica of 4 and its remainder of 1.5, five of 1 and their half.
        check(11, &[claim(1.0, 0, 9, 4), claim(1.0, 0, 9, 1)], &[1, 7]);
        check(3, &[claim(1.0, 0, 9, 4), claim(1.0, 0, 2, 1)], &[0, 2]);
    }

    #[test]
    fn remainders_that_differ_by_rounding_are_equal() {
        // 0.1 + 0.2 is a little more than 0.3, which is no reason to serve it first.
        check(3, &[claim(0.3, 0, 9, 1), claim(0.1 + 0.2, 0, 9, 1)], &[2, 1]);
        // A third of 0.9 is a little less than 0.3, and ten of them are three all the same.
        check(30, &[claim(0.9 / 3.0, 0, 99, 1), claim(2.7, 0, 99, 1)], &[3, 27]);
    }

    #[test]
    fn a_weight_that_is_none_gets_the_floor() {
        for weight in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            check(9, &[claim(weight, 2, 9, 1), claim(1.0, 0, 4, 1)], &[2, 4]);
        }
        check(8, &[claim(f64::INFINITY, 0, 4, 1), claim(1.0, 0, 9, 1)], &[4, 4]);
        check(8, &[claim(f64::MIN_POSITIVE, 0, 9, 1), claim(f64::MIN_POSITIVE, 0, 9, 1)], &[4, 4]);
    }

    #[test]
    fn the_cap_goes_before_the_floor_and_no_number_is_too_large() {
        check(9, &[claim(1.0, 5, 3, 1)], &[3]);
        let most = u32::MAX;
        check(most, &[claim(1.0, 0, most, 1), claim(0.0, 0, most, most)], &[most, 0]);
        check(most, &[claim(1.0, most, most, most)], &[most]);
    }
}

//! Chance that can be repeated: one seed, one sequence of numbers.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
//! generators", 2014), which needs eight octets of state and no crate. It is no good for secrets.
//! Distributions take logarithms and sines of the platform's libm: the same seed gives the same
//! bytes on one platform, and nearly the same on another.

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent sequence that begins here.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 32 bits.
    pub fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// From 0 up to but without `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// From `first` to `last`, both included.
    pub fn range(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// From 0 up to but without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `first` up to but without `end`.
    pub fn uniform(&mut self, first: f64, end: f64) -> f64 {
        first + (end - first) * self.unit()
    }

    /// Whether something of probability `p` happens.
    pub fn is(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// The normal distribution, N(0, 1) (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// scale x exp(sigma x N(0, 1)).
    pub fn lognormal(&mut self, sigma: f64, scale: f64) -> f64 {
        scale * (sigma * self.normal()).exp()
    }

    /// One of `values` by its weight; the weights need not sum up to anything.
    pub fn pick<T: Copy>(&mut self, values: &[(f64, T)]) -> T {
        let total: f64 = values.iter().map(|(weight, _)| weight).sum();
        let mut point = self.unit() * total;
        for (weight, value) in values {
            point -= weight;
            if point < 0.0 {
                return *value;
            }
        }
        values[values.len() - 1].1
    }
}

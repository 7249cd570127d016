//! A firewall's uptime clock, which is not the simulation's: it begins elsewhere, drifts, and steps.

use super::state::Micros;

/// What it shows, by the simulation's time. Time-outs are not on it: drift makes little of them.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds ahead at time 0.
    pub offset: i64,
    /// How much too fast it runs, in a million.
    pub ppm: i64,
    /// When it steps, and by how many microseconds.
    pub steps: Vec<(Micros, i64)>,
}

impl Clock {
    /// What it shows at a time.
    pub fn at(&self, time: Micros) -> i64 {
        let steps = self.steps.iter().filter(|(when, _)| *when <= time);
        let stepped: i64 = steps.map(|(_, by)| by).sum();
        let time = time as i64;
        let drift = (i128::from(time) * i128::from(self.ppm) / 1_000_000) as i64;
        time + self.offset + drift + stepped
    }

    /// Whole seconds that it counted from one time to another, as a state's age is told.
    pub fn seconds(&self, from: Micros, to: Micros) -> u32 {
        let second = |time| self.at(time).div_euclid(1_000_000);
        (second(to) - second(from)).max(0) as u32
    }
}

//! A firewall's uptime clock, which is not the simulation's: it begins elsewhere, drifts, and steps.

use super::state::Micros;

/// What it shows, by the simulation's time. Time-outs are not on it: drift makes little of them.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Times as fast as the clock the simulation goes.
    pub speed: f64,
    /// Microseconds ahead at time 0.
    pub offset: i64,
    /// How much too fast it runs, in a million.
    pub ppm: i64,
    /// When it steps, and by how many microseconds.
    pub steps: Vec<(Micros, i64)>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            speed: 1.0,
            offset: 0,
            ppm: 0,
            steps: Vec::new(),
        }
    }
}

impl Clock {
    /// What it shows at a time.
    pub fn at(&self, time: Micros) -> i64 {
        let steps = self.steps.iter().filter(|(when, _)| *when <= time);
        let stepped: i64 = steps.map(|(_, by)| by).sum();
        let time = self.scaled(time) as i64;
        let drift = (i128::from(time) * i128::from(self.ppm) / 1_000_000) as i64;
        time + self.offset + drift + stepped
    }

    /// Whole seconds that it counted from one time to another, as a state's age is told.
    pub fn seconds(&self, from: Micros, to: Micros) -> u32 {
        let second = |time| self.at(time).div_euclid(1_000_000);
        (second(to) - second(from)).max(0) as u32
    }

    /// How long something of the simulation takes by the clock, without drift and steps.
    pub fn scaled(&self, time: Micros) -> Micros {
        if self.speed == 1.0 {
            return time;
        }
        (time as f64 / self.speed) as Micros
    }

    /// How long the simulation takes for whole seconds of the clock.
    pub fn simulated(&self, seconds: u32) -> Micros {
        let time = u64::from(seconds) * 1_000_000;
        if self.speed == 1.0 {
            return time;
        }
        (time as f64 * self.speed) as Micros
    }
}

//! Quantiles of the last seconds, from the differences of histograms that only grow.

use std::collections::VecDeque;
use std::time::Duration;

use redis_manager::Histogram;

/// How many readings back the differences go.
const READINGS: usize = 10;

/// A histogram as it was at the last readings.
#[derive(Default)]
pub(crate) struct MovingHistogram {
    readings: VecDeque<Vec<u64>>,
}

impl MovingHistogram {
    /// Takes the latest reading. One with lower counts is of a node that was added again: what was before is forgotten.
    pub(crate) fn read(&mut self, histogram: &Histogram) {
        let mut up_to: Vec<u64> = histogram.buckets().map(|(_, up_to)| up_to).collect();
        up_to.push(histogram.count());
        if self.readings.back().is_some_and(|last| last.last() > up_to.last()) {
            self.readings.clear();
        }
        self.readings.push_back(up_to);
        if self.readings.len() > READINGS {
            self.readings.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.readings.clear();
    }

    /// In milliseconds; within a bucket by its share, as Prometheus does. None if nothing was recorded in these readings.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let counts: Vec<u64> = last.iter().zip(first).map(|(last, first)| last.saturating_sub(*first)).collect();
        let total = *counts.last()?;
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let bounds: Vec<Duration> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        let at = counts.iter().position(|up_to| *up_to as f64 >= rank)?;
        let milliseconds = |bound: &Duration| bound.as_secs_f64() * 1_000.0;
        let Some(upper) = bounds.get(at) else { return bounds.last().map(milliseconds) };
        let (lower, before) = match at.checked_sub(1) {
            Some(previous) => (milliseconds(&bounds[previous]), counts[previous]),
            None => (0.0, 0),
        };
        let share = (rank - before as f64) / (counts[at] - before).max(1) as f64;
        Some(lower + (milliseconds(upper) - lower) * share)
    }
}

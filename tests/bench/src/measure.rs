//! The numbers that are reported: medians with their spread, paired ratios, percentiles, fairness.

use std::fmt;

/// A median with the least and the most that were seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Spread { median: (low + high) / 2.0, min: sorted[0], max: sorted[sorted.len() - 1] }
    }

    /// Of `ours / theirs`, round by round: both sides of a pair had the same machine in the same second.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Spread {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Spread::of(&ratios)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = *self;
        let digits = match median.abs() {
            size if size < 10.0 => 2,
            size if size < 100.0 => 1,
            _ => 0,
        };
        let text = format!("{median:.digits$} ({min:.digits$}..{max:.digits$})");
        f.pad(&text)
    }
}

/// The value that this part of a sorted list does not exceed; 0 of none.
pub(crate) fn percentile(sorted: &[u32], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let rank = (part * sorted.len() as f64).ceil() as usize;
    f64::from(sorted[rank.saturating_sub(1).min(last)])
}

/// Jain's index of fairness: 1 if all got the same, 1/n if one of n got all.
pub(crate) fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}

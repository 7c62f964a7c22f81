//! The goals, each a ratio to a peer in the same run or a plain number, and whether they were met.

use crate::measure::Spread;
use crate::table;

/// On which side of the number the goal lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want {
    AtLeast(f64),
    AtMost(f64),
}

impl Want {
    fn is_met(self, value: f64) -> bool {
        match self {
            Want::AtLeast(bound) => value >= bound,
            Want::AtMost(bound) => value <= bound,
        }
    }
}

/// The goals that a run could judge, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Goals {
    rows: Vec<Vec<String>>,
    met: usize,
    missed: usize,
}

impl Goals {
    /// Judges one goal by the median; None if nothing was measured that could tell.
    pub(crate) fn judge(&mut self, what: &str, want: Want, seen: Option<Spread>) {
        let wanted = match want {
            Want::AtLeast(bound) => format!(">= {bound}"),
            Want::AtMost(bound) => format!("<= {bound}"),
        };
        let verdict = match seen.map(|seen| want.is_met(seen.median)) {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        };
        self.met += usize::from(verdict == "met");
        self.missed += usize::from(verdict == "MISSED");
        let seen = seen.map(|seen| seen.to_string()).unwrap_or_default();
        self.rows.push(vec![String::from(what), wanted, seen, String::from(verdict)]);
    }

    /// Prints them all, if there are any.
    pub(crate) fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        table::print("Goals", &["goal", "wanted", "measured: median (min..max)", ""], &self.rows);
        println!("\n{} met, {} missed, {} not measured.", self.met, self.missed, self.rows.len() - self.met - self.missed);
    }
}

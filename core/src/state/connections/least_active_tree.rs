//! Which of many pools lends next: a tournament that is kept up to date, instead of a look at each of them.

/// Up to so many pools are looked at one by one, which takes no more instructions than a tournament.
const FEW: usize = 24;

/// The place of a pool that has nothing to lend.
const OUT: u64 = u64::MAX;

/// A tree of matches: the pool with the fewest active connections wins, the lowest index where several have as few. To
/// enter a result costs O(log n) for n pools, to ask for the winner O(1). For few pools there is none, which costs nothing.
#[derive(Debug)]
pub(crate) struct LeastActiveTree {
    /// The final is at 1, the matches that lead to the one at `n` are at `2 n` and behind it; the pools themselves come last.
    matches: Vec<u64>,
}

impl LeastActiveTree {
    /// Of so many pools, none of which has anything to lend yet.
    pub(crate) fn of(pools: usize) -> Self {
        Self { matches: vec![OUT; Self::places(pools)] }
    }

    /// Whether it is as large as so many pools want it.
    pub(crate) fn suits(&self, pools: usize) -> bool {
        self.matches.len() == Self::places(pools)
    }

    fn places(pools: usize) -> usize {
        if pools > FEW { 2 * pools.next_power_of_two() } else { 0 }
    }

    /// Whether it is worth its while.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        !self.matches.is_empty()
    }

    /// The pool that lends next; None if nothing idles.
    pub(crate) fn first(&self) -> Option<usize> {
        let winner = *self.matches.get(1)?;
        (winner != OUT).then_some((winner & u64::from(u32::MAX)) as usize)
    }

    /// Enters how many active connections a pool has; None: it has nothing to lend.
    pub(crate) fn enter(&mut self, pool: usize, active: Option<usize>) {
        let mut at = self.matches.len() / 2 + pool;
        self.matches[at] = active.map_or(OUT, |active| (active as u64) << 32 | pool as u64);
        while at > 1 {
            let winner = self.matches[at].min(self.matches[at ^ 1]);
            at /= 2;
            if std::mem::replace(&mut self.matches[at], winner) == winner {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rng::Rng;

    /// Seen to bite: with an `enter` that stops one match too soon.
    #[test]
    fn the_winner_is_who_a_look_at_each_would_find() {
        for pools in [FEW + 1, 32, 33, 100, 256] {
            let mut rng = Rng::new(7);
            let (mut least_active, mut active) = (LeastActiveTree::of(pools), vec![None; pools]);
            assert_eq!(least_active.first(), None);
            for _ in 0..2_000 {
                let pool = rng.index(pools);
                active[pool] = Some(rng.index(5)).filter(|active| *active < 4);
                least_active.enter(pool, active[pool]);
                let lenders = active.iter().enumerate().filter_map(|(pool, active)| Some((((*active)?), pool)));
                assert_eq!(least_active.first(), lenders.min().map(|(_, pool)| pool));
            }
        }
        assert!(!LeastActiveTree::of(FEW).is_kept());
    }
}

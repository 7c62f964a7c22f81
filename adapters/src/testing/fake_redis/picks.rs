//! Picking at random as SRANDMEMBER and its kin do.

use super::keyspace::Draw;

/// A call may ask for many times the members there are; more are not given.
const MOST: usize = 1 << 20;

/// `count` different ones, or all; below zero: so many, and one may come more than once.
pub(super) fn pick_many<T: Clone>(draw: &mut Draw, all: &[T], count: i64) -> Vec<T> {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(MOST);
    if all.is_empty() {
        return Vec::new();
    }
    if count < 0 {
        return (0..wanted).map(|_| all[draw.index(all.len())].clone()).collect();
    }
    let mut rest = all.to_vec();
    (0..wanted.min(all.len())).map(|_| rest.swap_remove(draw.index(rest.len()))).collect()
}

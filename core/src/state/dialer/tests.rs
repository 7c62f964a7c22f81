//! The back-off, the ramp, and what a dial proves.

use super::*;

fn dialer() -> (Dialer, Rng) {
    let config = NodeConfig::builder().build().expect("the defaults are valid");
    (Dialer::new(&config), Rng::new(1))
}

fn failure(kind: DialFailureKind) -> DialFailure {
    DialFailure::new(String::from("no"), kind)
}

#[test]
fn a_failing_node_is_dialled_one_at_a_time_then_by_one_two_four() {
    let (mut dialer, mut rng) = dialer();
    let now = Instant::from_nanos(0);
    assert!(dialer.may_dial(now, 100));
    dialer.failed(now, now, failure(DialFailureKind::Passing), true, &mut rng);
    assert!(!dialer.may_dial(now, 0), "not before the back-off is over");
    let next = dialer.next_probe_at().expect("armed");
    assert!(dialer.may_dial(next, 0));
    assert!(!dialer.may_dial(next, 1));
    dialer.succeeded(next, next);
    for width in [1, 2, 4] {
        assert!(dialer.may_dial(next, width - 1));
        for _ in 0..width {
            assert!(!dialer.may_dial(next, width));
            dialer.succeeded(next, next);
        }
    }
    assert!(dialer.may_dial(next, 1_000));
}

/// Seen to bite: with every success taken for the end of the failures.
#[test]
fn a_dial_that_had_begun_before_a_new_connection_was_lost_does_not_end_the_pause() {
    let (mut dialer, mut rng) = dialer();
    let (begun, lost) = (Instant::ZERO, Instant::from_nanos(1_000_000));
    dialer.lost_early(lost, failure(DialFailureKind::Passing), true, &mut rng);
    let next = dialer.next_probe_at().expect("armed");
    dialer.succeeded(lost, begun);
    assert_eq!(dialer.next_probe_at(), Some(next), "it goes on as planned");
    assert!(dialer.has_failed() && dialer.last_error().is_some());
    dialer.succeeded(next, next);
    assert!(!dialer.is_failing() && dialer.last_error().is_none());
}

#[test]
fn the_back_off_stays_below_its_caps_and_callers_shorten_it() {
    let (mut dialer, mut rng) = dialer();
    let mut now = Instant::ZERO;
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        dialer.failed(now, now, failure(DialFailureKind::Passing), false, &mut rng);
        let next = dialer.next_probe_at().expect("armed");
        longest = longest.max(next.saturating_duration_since(now));
        assert!(longest <= Duration::from_secs(5));
        dialer.hurry(now, &mut rng);
        let hurried = dialer.next_probe_at().expect("armed");
        assert!(hurried <= next && hurried.saturating_duration_since(now) <= Duration::from_millis(500));
        now = hurried;
    }
    assert!(longest > Duration::from_secs(3), "the slow cap is used: {longest:?}");
}

#[test]
fn a_node_that_refuses_is_dialled_sixty_times_in_fifteen_seconds_and_hardly_ever_more_than_eighty() {
    let window = Duration::from_secs(15);
    let (mut all, mut above) = (0, 0);
    for seed in 0..2_000 {
        let (mut dialer, mut rng) = (dialer().0, Rng::new(seed));
        let (mut now, mut dials) = (Instant::ZERO, 0);
        while now < Instant::ZERO + window {
            dialer.failed(now, now, failure(DialFailureKind::Passing), true, &mut rng);
            now = dialer.next_probe_at().expect("armed");
            dials += 1;
        }
        assert!(dials < 100, "seed {seed}: {dials}");
        all += dials;
        above += usize::from(dials > 80);
    }
    assert!((58..=68).contains(&(all / 2_000)) && above <= 4, "{all} dials, {above} windows with more than 80");
}

#[test]
fn a_probe_into_a_void_is_cut_off_early_but_a_slow_server_gets_its_time() {
    let (mut dialer, mut rng) = dialer();
    let now = Instant::ZERO;
    assert_eq!(dialer.cutoff(), Duration::from_secs(5));
    let mut cutoffs = Vec::new();
    for _ in 0..7 {
        dialer.failed(now, now, failure(DialFailureKind::TimedOut), true, &mut rng);
        cutoffs.push(dialer.cutoff().as_secs());
    }
    assert_eq!(cutoffs, [1, 1, 5, 1, 1, 1, 5]);
    dialer.succeeded(now + Duration::from_secs(2), now);
    dialer.failed(now, now, failure(DialFailureKind::Passing), true, &mut rng);
    assert_eq!(dialer.cutoff(), Duration::from_secs(4), "twice what the last dial took");
    assert_eq!(dialer.patience(), dialer.cutoff());
}

#[test]
fn a_permanent_failure_is_probed_at_the_slowest_pace_whoever_waits() {
    let (mut dialer, mut rng) = dialer();
    let mut longest = Duration::ZERO;
    let mut now = Instant::ZERO;
    for _ in 0..50 {
        dialer.failed(now, now, failure(DialFailureKind::Permanent), true, &mut rng);
        dialer.hurry(now, &mut rng);
        let next = dialer.next_probe_at().expect("armed");
        longest = longest.max(next.saturating_duration_since(now));
        now = next;
    }
    assert!(longest > Duration::from_secs(3));
}

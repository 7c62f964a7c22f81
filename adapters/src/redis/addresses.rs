//! The order and the pace in which the addresses of a name are dialled: RFC 8305 as a pure state machine, without sockets or
//! clock.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use redis_manager_core::Instant;

/// Delay between two addresses: the "Connection Attempt Delay" of RFC 8305, section 5.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that are kept for a node, of each kind.
const MOST_REMEMBERED: usize = 64;

/// Addresses that an error lists.
const MOST_NAMED: usize = 8;

/// The results of earlier dials of a node. At most 64 addresses that worked and 64 that failed.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    /// The latest last; so is each of the two.
    worked: VecDeque<SocketAddr>,
    failed: VecDeque<SocketAddr>,
}

impl AddressBook {
    /// Addresses that worked come first, the latest one at the beginning; then those that were never dialled; then those that
    /// failed, the latest one at the end. Otherwise IPv6 and IPv4 take turns, and the order of the resolver is kept.
    pub(crate) fn order(&self, resolved: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut seen = HashSet::new();
        let (mut worked, mut unknown, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for address in resolved.into_iter().filter(|address| seen.insert(*address)) {
            if let Some(position) = position(&self.worked, address) {
                worked.push((Reverse(position), address));
            } else if let Some(position) = position(&self.failed, address) {
                failed.push((position, address));
            } else {
                unknown.push(address);
            }
        }
        worked.sort_unstable();
        failed.sort_unstable();
        let worked = worked.into_iter().map(|(_, address)| address);
        let failed = failed.into_iter().map(|(_, address)| address).collect();
        worked.chain(interleaved(unknown)).chain(interleaved(failed)).collect()
    }

    /// The address accepted a connection.
    pub(crate) fn note_worked(&mut self, address: SocketAddr) {
        forget(&mut self.failed, address);
        remember(&mut self.worked, address);
    }

    /// The address refused, did not answer, or led to an unusable server.
    pub(crate) fn note_failed(&mut self, address: SocketAddr) {
        forget(&mut self.worked, address);
        remember(&mut self.failed, address);
    }
}

fn position(list: &VecDeque<SocketAddr>, address: SocketAddr) -> Option<usize> {
    list.iter().position(|known| *known == address)
}

fn forget(list: &mut VecDeque<SocketAddr>, address: SocketAddr) {
    list.retain(|known| *known != address);
}

fn remember(list: &mut VecDeque<SocketAddr>, address: SocketAddr) {
    forget(list, address);
    if list.len() == MOST_REMEMBERED {
        list.pop_front();
    }
    list.push_back(address);
}

/// IPv6 and IPv4 by turns, beginning with the family of the first address, for as long as there are both.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend(pair.0.into_iter().chain(pair.1));
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RaceStep {
    /// Dial the address of this number; its attempt has the same number.
    Start(usize),
    /// Drop the attempt of this number: it has timed out.
    GiveUp(usize),
    /// Nothing, before then or the end of an attempt.
    Wait(Instant),
    /// Every address has failed.
    AllFailed,
}

/// One dial of a name: its addresses in order, and the results of those that were dialled.
///
/// ```text
///  not started --- its turn: 250 ms after the one before, or at once when one fails ---> open --- it accepts ---> the winner
///                                                                                         |
///                                             it refuses, or dial_timeout has passed ---> failed
/// ```
#[derive(Debug)]
pub(crate) struct AddressRace {
    order: Vec<SocketAddr>,
    /// Of the first so many addresses.
    attempts: Vec<AddressAttempt>,
    /// The longest that one address may take.
    dial_timeout: Duration,
    /// When the next address is dialled.
    next_at: Instant,
}

#[derive(Debug)]
struct AddressAttempt {
    deadline: Instant,
    /// Why it failed; none while it is open.
    failure: Option<String>,
}

impl AddressRace {
    pub(crate) fn new(order: Vec<SocketAddr>, dial_timeout: Duration, now: Instant) -> Self {
        Self { order, attempts: Vec::new(), dial_timeout, next_at: now }
    }

    /// The address of this number.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        self.order[number]
    }

    /// Call it again after each step and each failure, until it returns `Wait`.
    pub(crate) fn next_step(&mut self, now: Instant) -> RaceStep {
        let has_open = |attempt: &AddressAttempt| attempt.failure.is_none();
        let overdue = self.attempts.iter().position(|attempt| has_open(attempt) && attempt.deadline <= now);
        if let Some(number) = overdue {
            self.failed(number, format!("no answer within {:?}", self.dial_timeout), now);
            return RaceStep::GiveUp(number);
        }
        let has_more = self.attempts.len() < self.order.len();
        if has_more && self.next_at <= now {
            self.attempts.push(AddressAttempt { deadline: now + self.dial_timeout, failure: None });
            self.next_at = now + STAGGER;
            return RaceStep::Start(self.attempts.len() - 1);
        }
        let deadlines = self.attempts.iter().filter(|attempt| has_open(attempt)).map(|attempt| attempt.deadline);
        match deadlines.chain(has_more.then_some(self.next_at)).min() {
            Some(at) => RaceStep::Wait(at),
            None => RaceStep::AllFailed,
        }
    }

    /// An attempt has failed: the next address is dialled at once.
    pub(crate) fn failed(&mut self, number: usize, why: String, now: Instant) {
        self.attempts[number].failure = Some(why);
        self.next_at = now;
    }

    /// An address accepted. Addresses that were dialled before it and have not answered count as failed. Addresses dialled
    /// after it had no time to answer and count as neither.
    pub(crate) fn won(&self, winner: usize, book: &mut AddressBook) {
        self.lost(book, winner);
        book.note_worked(self.order[winner]);
    }

    /// No address accepted: all failed, or the dial was cancelled. The last one may have had no time to answer and is not
    /// noted.
    pub(crate) fn ended(&self, book: &mut AddressBook) {
        self.lost(book, self.attempts.len().saturating_sub(1));
    }

    /// Notes all failures, and what is open before the attempt of this number.
    fn lost(&self, book: &mut AddressBook, before: usize) {
        for (number, attempt) in self.attempts.iter().enumerate() {
            if attempt.failure.is_some() || number < before {
                book.note_failed(self.order[number]);
            }
        }
    }

    /// Each address that was dialled, with its error; at most 8 are listed.
    pub(crate) fn failures(&self) -> String {
        let dialled = self.order.iter().zip(&self.attempts);
        let failures = dialled.filter_map(|(address, attempt)| Some((address, attempt.failure.as_ref()?)));
        let mut named: Vec<_> = failures.map(|(address, why)| format!("{address}: {why}")).collect();
        if named.len() > MOST_NAMED {
            let more = named.split_off(MOST_NAMED).len();
            named.push(format!("and {more} more"));
        }
        named.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u32) -> Instant {
        Instant::ZERO + MS * millis
    }

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let address = |text: &str| if text.contains(':') { format!("[{text}]:1") } else { format!("10.0.0.{text}:1") };
        text.split_whitespace().map(|text| address(text).parse().expect("an address")).collect()
    }

    fn one(text: &str) -> SocketAddr {
        addresses(text)[0]
    }

    /// Seen to bite: with a `position` of the first that worked, and without `interleaved`.
    #[test]
    fn h16_what_worked_comes_first_what_failed_last_and_families_take_turns() {
        let mut book = AddressBook::default();
        assert_eq!(book.order(addresses("1 2 3 ::1 ::2")), addresses("1 ::1 2 ::2 3"), "families by turns");
        assert_eq!(book.order(addresses("::1 ::2 1 ::1 1")), addresses("::1 1 ::2"), "the first family first, each once");
        book.note_worked(one("3"));
        book.note_worked(one("2"));
        book.note_failed(one("::1"));
        book.note_failed(one("1"));
        assert_eq!(book.order(addresses("::1 1 2 3 4 ::2")), addresses("2 3 4 ::2 ::1 1"));
        book.note_failed(one("2"));
        assert_eq!(book.order(addresses("1 2 3")), addresses("3 1 2"), "it worked once");
        book.note_worked(one("1"));
        assert_eq!(book.order(addresses("1 2 3")), addresses("1 3 2"), "it works again");
        assert_eq!(book.order(Vec::new()), Vec::new());
    }

    /// Seen to bite: without the `pop_front`.
    #[test]
    fn h16_what_is_remembered_is_bounded() {
        let mut book = AddressBook::default();
        let all: Vec<_> = (0..1_000).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        for address in &all {
            book.note_worked(*address);
            book.note_failed(*address);
            book.note_worked(*address);
        }
        all[..500].iter().for_each(|address| book.note_failed(*address));
        assert_eq!((book.worked.len(), book.failed.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        assert_eq!(book.order(vec![all[999], all[0]]), vec![all[999], all[0]]);
    }

    /// Seen to bite: with a `next_at` that a failure does not move, and without `STAGGER`.
    #[test]
    fn h16_the_next_address_starts_250_ms_later_or_at_once_when_one_fails() {
        let mut race = AddressRace::new(addresses("1 2 3 4"), SECOND, at(0));
        assert_eq!(race.next_step(at(0)), RaceStep::Start(0));
        assert_eq!(race.next_step(at(0)), RaceStep::Wait(at(250)));
        assert_eq!(race.next_step(at(249)), RaceStep::Wait(at(250)));
        assert_eq!(race.next_step(at(250)), RaceStep::Start(1));
        assert_eq!(race.next_step(at(250)), RaceStep::Wait(at(500)));
        race.failed(1, String::from("refused"), at(300));
        assert_eq!(race.next_step(at(300)), RaceStep::Start(2));
        assert_eq!(race.next_step(at(300)), RaceStep::Wait(at(550)));
        assert_eq!(race.next_step(at(600)), RaceStep::Start(3));
        assert_eq!(race.next_step(at(600)), RaceStep::Wait(at(1_000)));
        // The first one has had its second.
        assert_eq!(race.next_step(at(1_000)), RaceStep::GiveUp(0));
        assert_eq!(race.next_step(at(1_000)), RaceStep::Wait(at(1_300)));
        race.failed(3, String::from("unreachable"), at(1_100));
        assert_eq!(race.next_step(at(1_400)), RaceStep::GiveUp(2));
        assert_eq!(race.next_step(at(1_400)), RaceStep::AllFailed);
        assert_eq!(
            race.failures(),
            "10.0.0.1:1: no answer within 1s; 10.0.0.2:1: refused; 10.0.0.3:1: no answer within 1s; 10.0.0.4:1: unreachable"
        );
    }

    #[test]
    fn h16_no_address_fails_at_once_and_a_short_timeout_is_kept() {
        assert_eq!(AddressRace::new(Vec::new(), SECOND, at(0)).next_step(at(0)), RaceStep::AllFailed);
        let mut race = AddressRace::new(addresses("1 2"), MS * 10, at(0));
        assert_eq!(race.next_step(at(0)), RaceStep::Start(0));
        assert_eq!(race.next_step(at(0)), RaceStep::Wait(at(10)));
        assert_eq!(race.next_step(at(10)), RaceStep::GiveUp(0));
        assert_eq!(race.next_step(at(10)), RaceStep::Start(1));
    }

    /// Seen to bite: with `lost` noting failures only (the silent address is dialled first for ever).
    #[test]
    fn h16_a_silent_address_is_last_next_time_also_after_a_dial_that_was_cut_off() {
        let mut book = AddressBook::default();
        let mut race = AddressRace::new(addresses("1 2 3"), SECOND, at(0));
        for now in [0, 250, 500] {
            assert!(matches!(race.next_step(at(now)), RaceStep::Start(_)));
        }
        race.won(1, &mut book);
        assert_eq!(book.order(addresses("1 2 3")), addresses("2 3 1"), "the third had no time to answer");

        let mut book = AddressBook::default();
        race.ended(&mut book);
        assert_eq!(book.order(addresses("1 2 3")), addresses("3 1 2"));
    }

    #[test]
    fn an_error_names_a_bounded_number_of_addresses() {
        let mut race = AddressRace::new(addresses("1 2 3 4 5 6 7 8 9 10 11"), SECOND, at(0));
        while let RaceStep::Start(number) = race.next_step(at(0)) {
            race.failed(number, String::from("no"), at(0));
        }
        assert!(race.failures().ends_with("10.0.0.8:1: no; and 3 more"), "{}", race.failures());
    }
}

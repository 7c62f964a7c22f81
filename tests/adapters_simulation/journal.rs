//! What a server saw, compared with what the callers were told, connection by connection.

use std::collections::BTreeMap;
use std::time::Duration;

use redis_manager::runtime::Instant;
use redis_manager::testing::Seen;

use crate::ledger::CalmPicture;
use crate::plan::SimulatedSeed;
use crate::traces::{CommandEnd, TracedCommand, Traces};

/// What schedules, timers and the line may add to the way of a close to its server, beside the latency.
const CLOSE_ARRIVES_WITHIN: Duration = Duration::from_millis(100);

/// The number of a command that is traced.
fn token_of(command: &[Vec<u8>]) -> Option<u64> {
    let words = || command.iter().map(|word| std::str::from_utf8(word).unwrap_or(""));
    let name = words().next()?.to_ascii_uppercase();
    match name.as_str() {
        "ECHO" => words().nth(1)?.parse().ok(),
        "INCRBY" => words().nth(1)?.strip_prefix("once:")?.parse().ok(),
        "BLPOP" => words().find_map(|word| word.strip_prefix("pop:"))?.parse().ok(),
        _ => None,
    }
}

fn is_ping(seen: &Seen) -> bool {
    seen.command[0].eq_ignore_ascii_case(b"PING")
}

pub(crate) struct JournalChecker<'a> {
    pub(crate) traces: &'a Traces,
    pub(crate) plan: &'a SimulatedSeed,
    pub(crate) calm: &'a CalmPicture,
}

impl JournalChecker<'_> {
    /// The first rule that a journal breaks.
    pub(crate) fn check(&self, journal: &[Seen]) -> Result<(), String> {
        let mut connections: BTreeMap<u64, Vec<&Seen>> = BTreeMap::new();
        for seen in journal {
            connections.entry(seen.connection).or_default().push(seen);
        }
        for (id, seen) in &connections {
            self.check_order(*id, seen)
                .and_then(|()| self.check_pops(*id, seen))
                .and_then(|()| self.check_calm(*id, seen))
                .map_err(|what| format!("{what}{}", self.tell(seen)))?;
        }
        Ok(())
    }

    /// The story of a connection, for those who look for the bug.
    fn tell(&self, seen: &[&Seen]) -> String {
        if std::env::var_os("SIMULATION_TELLS").is_none() {
            return String::new();
        }
        let mut story = format!("\n{:?}\ncalm until {:?}, then {:?}", self.plan, self.calm.until, self.calm.open);
        for seen in seen {
            let words: Vec<_> = seen.command.iter().map(|word| String::from_utf8_lossy(word)).collect();
            let end = self.traced(seen).map(|(_, command)| command);
            story += &format!("\n  {:?}: {} ({}) {end:?}", seen.at, words.join(" "), seen.carried_out);
        }
        story
    }

    fn traced(&self, seen: &Seen) -> Option<(u64, TracedCommand)> {
        let token = token_of(&seen.command)?;
        Some((token, *self.traces.get(&token)?))
    }

    /// What may follow what on one connection.
    fn check_order(&self, id: u64, seen: &[&Seen]) -> Result<(), String> {
        // The command before and when it was carried out, whether PING came after it, and whether the last PING was answered as it should be.
        let (mut before, mut is_checked, mut is_sound) = (None::<(u64, TracedCommand, Instant)>, false, true);
        // Since when nothing may begin here, and since when nothing may begin here before the next check.
        let (mut ended_at, mut left_at) = (None::<Instant>, None::<Instant>);
        for seen in seen {
            if is_ping(seen) {
                (is_checked, is_sound) = (true, seen.carried_out);
                left_at = left_at.filter(|left_at| seen.at <= *left_at);
                continue;
            }
            let Some((token, command)) = self.traced(seen) else { continue };
            if before.is_some_and(|(before, ..)| before == token) {
                continue;
            }
            if !is_sound {
                return Err(format!("H14: {token} is sent on connection {id}, which has answered PING by something else"));
            }
            if let Some((cancelled, before, carried_out_at)) = before
                && matches!(before.end, CommandEnd::Cancelled(_))
                && before.lease != command.lease
                && !is_checked
                && command.begun_at < carried_out_at + self.plan.conditions.latency
            {
                return Err(format!(
                    "L3: {token} is sent on connection {id} before the reply to {cancelled}, which was cancelled"
                ));
            }
            if ended_at.is_some_and(|ended_at| command.begun_at > ended_at) {
                return Err(format!("H1: {token} begins on connection {id} after it was lost, or has not answered in time"));
            }
            if left_at.is_some_and(|left_at| command.begun_at > left_at) {
                return Err(format!("H6: {token} begins on the shared connection {id}, which has not answered in time"));
            }
            let half = command.begun_at + self.plan.command_timeout / 2;
            match command.end {
                CommandEnd::Lost(at) => ended_at = ended_at.or(Some(at)),
                CommandEnd::TimedOut(at) if command.lease.is_some() => ended_at = ended_at.or(Some(at)),
                // Else it has spent its time waiting for a connection.
                CommandEnd::TimedOut(at) if seen.at < half => left_at = left_at.or(Some(at)),
                CommandEnd::TimedOut(_) | CommandEnd::Answered | CommandEnd::Cancelled(_) | CommandEnd::UnderWay => {}
            }
            (before, is_checked) = (Some((token, command, seen.at)), false);
        }
        Ok(())
    }

    /// While nothing is wrong, nothing is popped for a caller that has left long before.
    fn check_pops(&self, id: u64, seen: &[&Seen]) -> Result<(), String> {
        let way = self.plan.conditions.latency + self.plan.conditions.jitter + CLOSE_ARRIVES_WITHIN;
        for (at, waiting) in seen.iter().enumerate() {
            if !waiting.command[0].eq_ignore_ascii_case(b"BLPOP") {
                continue;
            }
            let Some((token, TracedCommand { end: CommandEnd::Cancelled(left_at), .. })) = self.traced(waiting) else { continue };
            let served = if waiting.carried_out { Some(waiting) } else { seen.get(at + 1) };
            let is_pop = |served: &&&&Seen| served.carried_out && served.command[0].eq_ignore_ascii_case(b"BLPOP");
            if let Some(served) = served.filter(|served| is_pop(&served))
                && served.at < self.calm.until
                && served.at > left_at + way
            {
                let late = served.at.saturating_duration_since(left_at);
                return Err(format!(
                    "L4: the server has popped for {token} on connection {id} {late:?} after its caller had left"
                ));
            }
        }
        Ok(())
    }

    /// While nothing is wrong, no connection ends on which shared clients have sent the last command.
    fn check_calm(&self, id: u64, seen: &[&Seen]) -> Result<(), String> {
        // Where all nodes share a total, one may take the connections of another.
        if self.plan.total.is_some() || self.calm.open.contains(&id) {
            return Ok(());
        }
        let Some(last) = seen.iter().rev().find(|seen| seen.at < self.calm.until && !is_ping(seen)) else { return Ok(()) };
        let Some((token, TracedCommand { lease: None, end, .. })) = self.traced(last) else { return Ok(()) };
        if seen.iter().any(|seen| seen.at >= self.calm.until) || matches!(end, CommandEnd::TimedOut(_)) {
            return Ok(());
        }
        Err(format!("L3: the shared connection {id} has ended after {token}, and nothing was wrong"))
    }
}

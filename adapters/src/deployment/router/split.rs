//! Cuts a command with keys of several slots into one command for each slot.

use redis::Cmd;

use crate::deployment::router::command_index::shown_name;
use crate::deployment::router::key_spec::{KeyRun, KeySpec, text_of};
use crate::deployment::router::route_error::RouteError;
use crate::deployment::router::slot::slot_of;

/// The part of a command for one slot.
#[derive(Clone, Debug)]
pub(crate) struct SplitPart {
    pub(crate) slot: u16,
    /// The same command with the keys of this slot only, and what belongs to them.
    pub(crate) cmd: Cmd,
    /// Which keys of the whole command these are, in the same order; the first one is 0.
    pub(crate) places: Vec<usize>,
}

/// What becomes of a command that may be split.
#[derive(Debug)]
pub(super) enum SplitOutcome {
    /// It has no key.
    NoKey,
    /// All keys are of this slot.
    Whole(u16),
    /// In the order of the first key of each slot.
    Parts(Vec<SplitPart>),
}

/// Which part each key belongs to.
#[derive(Debug)]
struct Assignment {
    /// By key.
    parts: Vec<usize>,
    /// By part: its slot, and how many keys it has.
    slots: Vec<(u16, usize)>,
}

impl Assignment {
    /// Of keys by their slots. The slots are looked up by their number: they are as good as random, so no hashing is needed.
    fn of(slots: impl ExactSizeIterator<Item = u16>) -> Self {
        const NONE: usize = usize::MAX;
        let places = (2 * slots.len()).next_power_of_two();
        let mut part_at = vec![NONE; places];
        let mut assignment = Self { parts: Vec::with_capacity(slots.len()), slots: Vec::with_capacity(slots.len()) };
        for slot in slots {
            let mut place = usize::from(slot) & (places - 1);
            let part = loop {
                match part_at[place] {
                    NONE => {
                        part_at[place] = assignment.slots.len();
                        assignment.slots.push((slot, 1));
                        break part_at[place];
                    }
                    part if assignment.slots[part].0 == slot => {
                        assignment.slots[part].1 += 1;
                        break part;
                    }
                    _ => place = (place + 1) & (places - 1),
                }
            };
            assignment.parts.push(part);
        }
        assignment
    }
}

/// Splits a command whose keys these are: each key with what follows it up to the next one, and what follows the last of them
/// in every part.
pub(super) fn cut(cmd: &Cmd, keys: KeySpec) -> Result<SplitOutcome, RouteError> {
    let KeyRun { start, step, count } = keys.run(cmd);
    let arguments = cmd.args_iter().skip(start);
    let mut slots = arguments.clone().step_by(step).take(count).filter_map(text_of).map(slot_of);
    let Some(first) = slots.next() else { return Ok(SplitOutcome::NoKey) };
    if slots.all(|slot| slot == first) {
        return Ok(SplitOutcome::Whole(first));
    }
    let wrong = || RouteError::WrongNumberOfArguments { command: shown_name(cmd) };
    // A cursor is no key.
    let texts = arguments.map(text_of).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    if texts.len() < count * step {
        return Err(wrong());
    }
    let (groups, rest) = texts.split_at(count * step);
    let groups = groups.chunks_exact(step);
    let assignment = Assignment::of(groups.clone().map(|group| slot_of(group[0])));
    let size = cmd.args_iter().filter_map(text_of).map(<[u8]>::len).sum::<usize>();
    let mut parts: Vec<SplitPart> = assignment
        .slots
        .iter()
        .map(|(slot, keys)| {
            let mut cmd_of_part = Cmd::with_capacity(start + keys * step + rest.len(), size * keys / count + 16);
            for word in cmd.args_iter().take(start).filter_map(text_of) {
                cmd_of_part.arg(word);
            }
            SplitPart { slot: *slot, cmd: cmd_of_part, places: Vec::with_capacity(*keys) }
        })
        .collect();
    for (key, (group, part)) in groups.zip(&assignment.parts).enumerate() {
        let part = &mut parts[*part];
        part.places.push(key);
        for word in group {
            part.cmd.arg(*word);
        }
    }
    for word in rest {
        for part in &mut parts {
            part.cmd.arg(*word);
        }
    }
    Ok(SplitOutcome::Parts(parts))
}

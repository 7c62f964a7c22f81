//! A command that is split and gathered has the effect and the reply of the whole one: with random keys, on a model of a server.

use std::collections::HashMap;

use redis::{Cmd, Value};

use crate::deployment::router::command_index::keys_of;
use crate::deployment::router::key_spec::text_of;
use crate::deployment::router::{Destination, Gathering, route_command, slot_of};

/// A server with all slots.
#[derive(Debug, Default)]
struct WholeServer(HashMap<Vec<u8>, Vec<u8>>);

impl WholeServer {
    fn carry_out(&mut self, cmd: &Cmd) -> Value {
        let words: Vec<Vec<u8>> = cmd.args_iter().map(|arg| text_of(arg).expect("no cursor").to_vec()).collect();
        let (name, words) = words.split_first().expect("a name");
        let count = |found: usize| Value::Int(i64::try_from(found).expect("few keys"));
        match name.as_slice() {
            b"MGET" => {
                let value = |key| self.0.get(key).map_or(Value::Nil, |value| Value::BulkString(value.clone()));
                Value::Array(words.iter().map(value).collect())
            }
            b"MSET" => {
                self.0.extend(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())));
                Value::Okay
            }
            b"DEL" => count(words.iter().filter(|key| self.0.remove(*key).is_some()).count()),
            b"EXISTS" => count(words.iter().filter(|key| self.0.contains_key(*key)).count()),
            other => panic!("{other:?}"),
        }
    }

    /// Part by part, the last one first.
    fn carry_out_by_slot(&mut self, cmd: &Cmd) -> (Value, usize) {
        let routed = route_command(cmd).expect("it has a way").to;
        let Destination::Split(parts, gather) = routed else { return (self.carry_out(cmd), 1) };
        let items = parts.iter().map(|part| part.places.len()).sum();
        let mut gathering = Gathering::new(gather, items, parts.len());
        for (number, part) in parts.iter().enumerate().rev() {
            assert!(keys_of(&part.cmd).all(|key| slot_of(key) == part.slot), "{part:?}");
            gathering.put(number, "node:6379", Some(part), self.carry_out(&part.cmd));
        }
        (gathering.finish(), parts.len())
    }
}

/// A small generator, so that a failure comes again.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Few keys, so that some of them are the same, and some with a tag.
    fn key(&mut self) -> String {
        let number = self.below(12);
        match self.below(3) {
            0 => format!("{{tag}}{number}"),
            1 => format!("key:{number}"),
            _ => String::from_utf8(vec![b'x'; usize::try_from(number).expect("small")]).expect("letters"),
        }
    }

    fn command(&mut self) -> Cmd {
        let names = ["MGET", "MSET", "DEL", "EXISTS"];
        let name = names[usize::try_from(self.below(4)).expect("small")];
        let mut cmd = redis::cmd(name);
        for _ in 0..=self.below(10) {
            cmd.arg(self.key());
            if name == "MSET" {
                cmd.arg(self.below(1000));
            }
        }
        cmd
    }
}

/// Seen to bite: with keys of a part in reverse (MSET of a key that comes twice), with the least count for DEL, with the items of MGET
/// in the order of the parts, and with two slots in one place of the table taken for one.
#[test]
fn a_command_in_parts_does_what_the_whole_one_does() {
    let (mut splits, mut parts_seen) = (0, 0);
    for seed in 1..=300_u64 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let (mut whole, mut split) = (WholeServer::default(), WholeServer::default());
        for step in 0..40 {
            let cmd = random.command();
            let expected = whole.carry_out(&cmd);
            let (reply, parts) = split.carry_out_by_slot(&cmd);
            assert_eq!(reply, expected, "seed {seed}, step {step}: {}", super::line(&cmd));
            assert_eq!(split.0, whole.0, "seed {seed}, step {step}: {}", super::line(&cmd));
            splits += usize::from(parts > 1);
            parts_seen += parts;
        }
    }
    assert!(splits > 6_000 && parts_seen > 30_000, "{splits} commands were split, in {parts_seen} parts");
}

//! Finds the rule of a command by its name: a hash table that is made from the table of commands when this is compiled.

use redis::Cmd;

use crate::deployment::router::command_rule::{Access, CommandRule, SentTo};
use crate::deployment::router::command_table::GROUPS;
use crate::deployment::router::key_spec::{KeySpec, keys_by, text_of};

/// Of commands that are not in the table: the first argument is the key, and it is written.
const UNKNOWN: &CommandRule = &CommandRule { access: Access::Write, keys: &[KeySpec::At(1)], sent: SentTo::ToKeys };

/// Of subcommands that are not in the table. The server knows whether there is one.
const UNKNOWN_SUBCOMMAND: &CommandRule = &CommandRule { access: Access::Write, keys: &[], sent: SentTo::ToKeys };

/// A third more than there are names, and a power of two: most names are found at the first or the second look.
const PLACES: usize = 1024;

/// A name in upper case, padded with zeros, and for a subcommand what stands for its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedName([u64; 4]);

impl PackedName {
    const NONE: Self = Self([0; 4]);
    /// The longest names in the table have 21 letters.
    const LONGEST: usize = 24;

    /// `None` if it is longer than the names in the table.
    const fn read(text: &[u8]) -> Option<Self> {
        if text.len() > Self::LONGEST {
            return None;
        }
        Some(Self([word(text, 0), word(text, 8), word(text, 16), 0]))
    }

    /// The name of a subcommand of this container.
    const fn within(self, container: Self) -> Self {
        let (Self([a, b, c, _]), Self([d, e, _, _])) = (self, container);
        Self([a, b, c, d ^ e.rotate_left(7)])
    }

    /// Where the name is looked for first.
    const fn place(self) -> usize {
        let Self([a, b, c, d]) = self;
        let mixed = a ^ b.rotate_left(29) ^ c.rotate_left(13) ^ d.rotate_left(47);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - PLACES.trailing_zeros())) as usize
    }

    const fn is(self, other: Self) -> bool {
        let (Self(one), Self(other)) = (self, other);
        one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3]
    }
}

/// Eight letters of a name, from this one on, in upper case.
const fn word(text: &[u8], from: usize) -> u64 {
    let (mut word, mut at) = (0, from);
    while at < text.len() && at < from + 8 {
        word |= (text[at] as u64) << (8 * (at - from));
        at += 1;
    }
    // All letters at once: the highest bit of a byte becomes set where the byte is from a to z.
    let low = word & (0x7F * EACH);
    let from_a = low + (0x80 - b'a' as u64) * EACH;
    let after_z = low + (0x7F - b'z' as u64) * EACH;
    word - (((from_a ^ after_z) & !word & (0x80 * EACH)) >> 2)
}

/// 1 in each byte.
const EACH: u64 = u64::from_le_bytes([1; 8]);

/// A name, and the number of its group.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    name: PackedName,
    group: u8,
}

/// A place without a name has this one, which no command has.
const EMPTY: IndexEntry = IndexEntry { name: PackedName::NONE, group: 0 };

const INDEX: &[IndexEntry; PLACES] = &index();

const fn index() -> [IndexEntry; PLACES] {
    assert!(GROUPS.len() <= u8::MAX as usize, "the number of a group is a byte");
    let mut index = [EMPTY; PLACES];
    let mut group = 0;
    while group < GROUPS.len() {
        let mut names = GROUPS[group].names.as_bytes().trim_ascii_start();
        while !names.is_empty() {
            let mut length = 0;
            while length < names.len() && !names[length].is_ascii_whitespace() {
                length += 1;
            }
            let (name, rest) = names.split_at(length);
            let name = name_in_table(name);
            let mut place = name.place();
            while !index[place].name.is(PackedName::NONE) {
                assert!(!index[place].name.is(name), "a name is in the table twice");
                place = (place + 1) % PLACES;
            }
            index[place] = IndexEntry { name, group: group as u8 };
            names = rest.trim_ascii_start();
        }
        group += 1;
    }
    index
}

/// A name as it is in the table, such as `CLIENT|LIST`.
const fn name_in_table(text: &[u8]) -> PackedName {
    let mut bar = 0;
    while bar < text.len() && text[bar] != b'|' {
        bar += 1;
    }
    let (container, subcommand) = text.split_at(bar);
    let Some(container) = PackedName::read(container) else { panic!("a name in the table is too long") };
    let Some((_, subcommand)) = subcommand.split_first() else { return container };
    let Some(name) = PackedName::read(subcommand) else { panic!("a name in the table is too long") };
    name.within(container)
}

fn find(name: PackedName) -> Option<&'static CommandRule> {
    if name.is(PackedName::NONE) {
        return None;
    }
    let mut place = name.place();
    loop {
        let entry = &INDEX[place];
        if entry.name.is(name) {
            return Some(&GROUPS[usize::from(entry.group)].rule);
        }
        if entry.name.is(PackedName::NONE) {
            return None;
        }
        place = (place + 1) % PLACES;
    }
}

/// What the table says of a command, or what holds for commands that it does not have.
pub(super) fn rule_of(cmd: &Cmd) -> &'static CommandRule {
    let mut words = cmd.args_iter();
    let Some(name) = words.next().and_then(text_of) else { return UNKNOWN_SUBCOMMAND };
    let Some(name) = PackedName::read(name) else { return UNKNOWN };
    let Some(rule) = find(name) else { return UNKNOWN };
    if rule.sent != SentTo::AsSubcommand {
        return rule;
    }
    let subcommand = words.next().and_then(text_of).and_then(PackedName::read);
    subcommand.and_then(|subcommand| find(subcommand.within(name))).unwrap_or(UNKNOWN_SUBCOMMAND)
}

/// The keys of a command, and the channels of one that has shard channels. None if the server will reject it for its form.
pub(crate) fn keys_of(cmd: &Cmd) -> impl Iterator<Item = &[u8]> {
    keys_by(rule_of(cmd).keys, cmd)
}

/// The name of a command in upper case, with that of its subcommand if it has one, for messages.
pub(super) fn shown_name(cmd: &Cmd) -> String {
    let is_container = |name: &[u8]| PackedName::read(name).and_then(find).is_some_and(|rule| rule.sent == SentTo::AsSubcommand);
    let mut words = cmd.args_iter().filter_map(text_of);
    let Some(name) = words.next() else { return String::new() };
    let subcommand = words.next().filter(|_| is_container(name));
    let names = [name].into_iter().chain(subcommand).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{CommandRule, GROUPS, PackedName, UNKNOWN, UNKNOWN_SUBCOMMAND, find, name_in_table, rule_of, shown_name};

    fn rule(words: &[&str]) -> &'static CommandRule {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(*word);
        });
        rule_of(&cmd)
    }

    /// Seen to bite: with an index that gives up at the first place.
    #[test]
    fn every_name_in_the_table_is_found_in_any_case() {
        let mut names = 0;
        for group in GROUPS {
            for name in group.names.split_ascii_whitespace() {
                assert_eq!(find(name_in_table(name.as_bytes())), Some(&group.rule), "{name}");
                assert_eq!(find(name_in_table(name.to_ascii_lowercase().as_bytes())), Some(&group.rule), "{name}");
                names += 1;
            }
        }
        assert!(names > 600, "{names}");
    }

    /// Seen to bite: with the subcommands of all containers in one table.
    #[test]
    fn a_name_that_is_not_in_the_table_is_unknown() {
        for name in ["", "GETS", "GE\u{7f}", "G\u{e5}t", "get ", "GEORADIUSBYMEMBER_ROGEORADIUSBYMEMBER_RO", "CLIENT|LIST"] {
            assert_eq!(rule(&[name, "a"]), UNKNOWN, "{name:?}");
        }
        for name in ["", "LISTS", "NOSUCHSUBCOMMAND-THAT-IS-LONG", "ENCODING"] {
            assert_eq!(rule(&["CLIENT", name]), UNKNOWN_SUBCOMMAND, "{name:?}");
        }
        assert_eq!(rule(&[]), UNKNOWN_SUBCOMMAND);
    }

    /// Seen to bite: with the letter after z as one, and with bytes beyond ASCII that change.
    #[test]
    fn only_small_letters_change() {
        for byte in 0..=u8::MAX {
            let (as_it_is, upper) = ([byte; 9], [byte.to_ascii_uppercase(); 9]);
            let whole = PackedName([u64::from_le_bytes([upper[0]; 8]), u64::from(upper[0]), 0, 0]);
            assert_eq!(PackedName::read(&as_it_is), Some(whole), "{byte}");
        }
    }

    #[test]
    fn a_message_names_the_subcommand_too() {
        let mut cmd = redis::cmd("config");
        assert_eq!(shown_name(&cmd), "CONFIG");
        cmd.arg("get").arg("maxmemory");
        assert_eq!(shown_name(&cmd), "CONFIG GET");
        assert_eq!(shown_name(redis::cmd("get").arg("a")), "GET");
    }
}

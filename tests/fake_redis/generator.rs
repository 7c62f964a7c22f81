//! Seeded commands over all families: templates with holes, sometimes with a word too few, too many or of a wrong kind.

/// A small generator of its own, so that a seed means the same for ever.
pub(crate) struct CommandDice(u64);

impl CommandDice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % count
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// The holes: a letter and what it stands for. `K`: a key of the template's family, `A`: a key of any.
fn fill(dice: &mut CommandDice, hole: &str, family: &str) -> String {
    match hole {
        "%K" => format!("{family}{}", dice.below(4)),
        "%A" => format!("{}{}", dice.pick(&["s", "l", "h", "e", "z", "x"]), dice.below(4)),
        "%V" => dice.pick(&["", "a", "bb", "hello world", "3", "10", "-7", "3.5", "\r\n", "9223372036854775807"]).into(),
        "%M" => dice.pick(&["a", "b", "c", "d", "e", "f", "1", "2"]).into(),
        "%I" => dice
            .pick(&["0", "1", "2", "3", "-1", "-2", "5", "-100", "100", "0", "1", "x", "1.5", "", "+1", "9223372036854775807"])
            .into(),
        "%N" => dice.pick(&["1", "2", "3", "1", "2", "0", "-1", "x"]).into(),
        "%F" => dice.pick(&["1", "0.5", "-2.25", "10", "3e2", "1.1", "x", "inf", "nan", ""]).into(),
        "%S" => dice.pick(&["1", "2", "3", "-1.5", "0.1", "1e10", "inf", "-inf", "3", "x", "nan"]).into(),
        "%B" => dice.pick(&["-inf", "+inf", "1", "(1", "2", "(3", "0", "-5", "x"]).into(),
        "%X" => dice.pick(&["-", "+", "[a", "(b", "[c", "(d", "x", "[e"]).into(),
        "%T" => dice.pick(&["100000", "50000", "77777", "-1", "0", "x", "9223372036854775807"]).into(),
        "%P" => dice.pick(&["*", "s*", "?1", "[sl]?", "h[^1]", "z*1", "nothing", "\\*"]).into(),
        "%D" => dice.pick(&["1-1", "2-1", "3", "5-0", "7-7", "0-0", "0", "-", "+", "x", "100-1"]).into(),
        "%G" => dice.pick(&["g1", "g2"]).into(),
        "%C" => dice.pick(&["c1", "c2"]).into(),
        word => word.into(),
    }
}

const ODD_WORDS: [&str; 12] =
    ["NX", "XX", "GET", "COUNT", "0", "-1", "abc", "", "LIMIT", "9223372036854775808", "WITHSCORES", "DB"];

/// One command of this template, in most cases as it stands.
pub(crate) fn command(dice: &mut CommandDice, family: &str, template: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<String> = template.split(' ').map(|hole| fill(dice, hole, family)).collect();
    match dice.below(20) {
        0 if words.len() > 1 => {
            let at = 1 + dice.below(words.len() - 1);
            words.remove(at);
        }
        1 => words.push(dice.pick(&ODD_WORDS).into()),
        2 if words.len() > 1 => {
            let at = 1 + dice.below(words.len() - 1);
            words[at] = dice.pick(&ODD_WORDS).into();
        }
        // Another type of value.
        3 if words.len() > 1 && template.contains("%K") => {
            let at = template.split(' ').position(|hole| hole == "%K").expect("it is there");
            if at < words.len() {
                words[at] = fill(dice, "%A", family);
            }
        }
        4 => words[0] = words[0].to_ascii_lowercase(),
        _ => {}
    }
    // One that is picked at random would make two histories.
    if words[0].eq_ignore_ascii_case("SPOP") {
        words.truncate(2);
        words.push("100".into());
    }
    // Nothing may wait for ever.
    let waits = words[0].to_ascii_uppercase().starts_with('B') && words.len() > 1;
    if waits {
        let last = words.len() - 1;
        for at in [1, last] {
            if words[at].parse().is_ok_and(|seconds: f64| (0.0..1e9).contains(&seconds)) {
                words[at] = "0.01".into();
            }
        }
    }
    words.into_iter().map(String::into_bytes).collect()
}

//! The name of a command as a number, for the tables of commands.

/// A name in upper case as two numbers. The first one distinguishes almost all names: a name is looked up for every command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct CommandName(u128, u64);

impl CommandName {
    /// For an empty place in a table.
    pub(crate) const NONE: Self = Self(0, 0);
    const LONGEST: usize = 24;

    /// For the tables.
    pub(crate) const fn of(text: &[u8]) -> Self {
        match Self::read(text) {
            Some(name) => name,
            None => panic!("a name in the tables is too long"),
        }
    }

    /// `None` if the text cannot be a name in the tables.
    pub(crate) const fn read(text: &[u8]) -> Option<Self> {
        if text.len() > Self::LONGEST {
            return None;
        }
        let (mut first, mut second) = ([0; 16], [0; 8]);
        let mut at = 0;
        while at < text.len() {
            let letter = text[at].to_ascii_uppercase();
            if letter == 0 {
                // A shorter name is padded with zeros: nothing may follow them.
                return None;
            }
            if at < first.len() {
                first[at] = letter;
            } else {
                second[at - first.len()] = letter;
            }
            at += 1;
        }
        Some(Self(u128::from_be_bytes(first), u64::from_be_bytes(second)))
    }

    /// As text, in small letters.
    pub(crate) fn to_small_letters(self) -> String {
        let letters = self.0.to_be_bytes().into_iter().chain(self.1.to_be_bytes()).take_while(|letter| *letter > 0);
        letters.map(|letter| char::from(letter.to_ascii_lowercase())).collect()
    }
}

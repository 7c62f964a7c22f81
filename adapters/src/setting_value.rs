//! The value of a setting as a file or the environment has it, and how it is read.

use std::fmt;
use std::time::Duration;

/// What would have been understood.
pub(crate) type Expected = &'static str;

/// A value before it is known what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SettingValue {
    /// A text, a number or a switch.
    Text(String),
    /// Of files alone, as the next.
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "read, and made by serde alone"))]
    List(Vec<String>),
    /// A null.
    #[cfg_attr(not(feature = "serde"), allow(dead_code, reason = "read, and made by serde alone"))]
    Absent,
}

const LENGTH: Expected = "a duration such as \"250ms\", \"10s\", \"2m\", \"1.5h\" or \"7d\", or \"never\"";
const MICROSECOND: f64 = 1e-6;

impl SettingValue {
    fn text(&self, expected: Expected) -> Result<&str, Expected> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::List(_) | Self::Absent => Err(expected),
        }
    }

    /// Whether it is a null, or says `none`.
    pub(crate) fn is_none(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Text(text) => text.trim().eq_ignore_ascii_case("none"),
            Self::List(_) => false,
        }
    }

    pub(crate) fn count(&self) -> Result<usize, Expected> {
        let expected = "a whole number";
        self.text(expected)?.replace('_', "").parse().map_err(|_| expected)
    }

    pub(crate) fn count_u32(&self) -> Result<u32, Expected> {
        let expected = "a whole number";
        u32::try_from(self.count()?).map_err(|_| expected)
    }

    pub(crate) fn switch(&self) -> Result<bool, Expected> {
        let expected = "true or false";
        match self.text(expected)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(expected),
        }
    }

    pub(crate) fn duration(&self) -> Result<Duration, Expected> {
        duration_of(self.text(LENGTH)?).ok_or(LENGTH)
    }

    pub(crate) fn string(&self) -> Result<String, Expected> {
        self.text("a text").map(String::from)
    }

    /// A word of a choice: lower case, without what only separates.
    pub(crate) fn word(&self, expected: Expected) -> Result<String, Expected> {
        let text = self.text(expected)?;
        Ok(text.chars().filter(|letter| !matches!(letter, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect())
    }

    /// The parts of a list; of a text, what stands between commas, slashes with spaces around them, or spaces.
    pub(crate) fn items(&self, expected: Expected) -> Result<Vec<String>, Expected> {
        match self {
            Self::List(items) => Ok(items.iter().map(|item| String::from(item.trim())).collect()),
            Self::Text(text) => {
                let items = text.split([',', ' ', '\n', '\t']).filter(|item| !item.is_empty() && *item != "/");
                Ok(items.map(String::from).collect())
            }
            Self::Absent => Err(expected),
        }
    }

    /// Three durations, or two of them and a count.
    pub(crate) fn three(&self, expected: Expected) -> Result<[SettingValue; 3], Expected> {
        let items: Vec<_> = self.items(expected)?.into_iter().map(SettingValue::Text).collect();
        items.try_into().map_err(|_| expected)
    }
}

/// As it would be written into a file.
impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text.trim()),
            Self::List(items) => f.write_str(&items.join(", ")),
            Self::Absent => f.write_str("none"),
        }
    }
}

/// A number and its unit.
fn duration_of(text: &str) -> Option<Duration> {
    if text.eq_ignore_ascii_case("never") {
        return Some(Duration::MAX);
    }
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?);
    let seconds = match unit.trim() {
        "us" | "µs" => MICROSECOND,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" | "days" => 86_400.0,
        _ => return None,
    };
    let micros = (number.parse::<f64>().ok()? * seconds / MICROSECOND).round();
    // Exact up to 285 years.
    (micros < 9e15).then(|| Duration::from_micros(micros as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against: a unit of another length, a bare number taken for seconds, and rounding to whole seconds.
    #[test]
    fn durations_have_a_number_and_a_unit() {
        let read = |text: &str| SettingValue::Text(String::from(text)).duration();
        for (text, millis) in [("250ms", 250), ("10s", 10_000), ("1.5 s", 1_500), ("2m", 120_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(read(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(read("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(read("Never"), Ok(Duration::MAX));
        for text in ["", "10", "s", "-1s", "1.2.3s", "1 fortnight", "1e300d", "9999999999999d", "s10"] {
            assert_eq!(read(text), Err(LENGTH), "{text}");
        }
    }

    /// Guards against: lists that are read in one of their forms only.
    #[test]
    fn lists_may_be_lists_or_texts() {
        let parts = vec![String::from("50ms"), String::from("500ms"), String::from("5s")];
        for value in [
            SettingValue::List(parts.clone()),
            SettingValue::Text(String::from("50ms, 500ms, 5s")),
            SettingValue::Text(String::from("50ms / 500ms / 5s")),
            SettingValue::Text(String::from("50ms 500ms 5s")),
        ] {
            assert_eq!(value.items(""), Ok(parts.clone()), "{value}");
        }
    }
}

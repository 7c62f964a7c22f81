//! Reads the text formats of Prometheus, and finds what is wrong with a text.

use std::collections::{BTreeMap, BTreeSet};

/// By name and value.
pub type LabelsOfSeries = BTreeMap<String, String>;

/// The values of a text, by name and labels. Bounds of buckets are written in one way, whatever the text has: `0.00001`, `1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    values: BTreeMap<(String, LabelsOfSeries), f64>,
    /// The types of the families.
    types: BTreeMap<String, String>,
}

impl Exposition {
    /// Reads a text, OpenMetrics or Prometheus.
    ///
    /// # Errors
    ///
    /// What is wrong with it: a line that is neither a comment nor a sample, a second header of a family, a sample outside of
    /// its family, a series that comes twice, a counter below 0, a histogram whose buckets do not add up.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let (mut family, mut helped) = (String::new(), BTreeSet::new());
        for line in text.lines() {
            let wrong = |why: &str| format!("{why}: {line}");
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                match (words.next(), words.next(), words.next()) {
                    (Some("TYPE"), Some(name), Some(kind)) => {
                        family = name.to_owned();
                        if read.types.insert(family.clone(), kind.to_owned()).is_some() {
                            return Err(wrong("a second type"));
                        }
                    }
                    (Some("HELP"), Some(name), Some(_)) => {
                        if !helped.insert(name.to_owned()) {
                            return Err(wrong("a second help"));
                        }
                    }
                    (Some("UNIT"), Some(name), Some(unit)) if name.ends_with(unit) && name == family => {}
                    (Some("EOF"), None, None) => {}
                    _ => return Err(wrong("no comment that is known")),
                }
                continue;
            }
            let (name, mut labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
            if let Some(bound) = labels.get_mut("le") {
                let parsed = number(bound).ok_or_else(|| wrong("no bound"))?;
                *bound = if parsed.is_infinite() { String::from("+Inf") } else { parsed.to_string() };
            }
            let kind = read.types.get(&family).map_or("", String::as_str);
            if !suffixes(kind).iter().any(|suffix| name == format!("{family}{suffix}")) {
                return Err(wrong("a sample outside of its family"));
            }
            if (kind == "counter" || kind == "histogram") && (value.is_nan() || value < 0.0) {
                return Err(wrong("a counter below 0"));
            }
            if read.values.insert((name, labels), value).is_some() {
                return Err(wrong("a series that comes twice"));
            }
        }
        read.check_histograms()?;
        Ok(read)
    }

    fn check_histograms(&self) -> Result<(), String> {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(family, _)| family) {
            let mut buckets: BTreeMap<LabelsOfSeries, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), up_to) in self.values.iter().filter(|((name, _), _)| *name == format!("{family}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").ok_or_else(|| format!("{family}: a bucket without le"))?;
                let bound = number(&bound).ok_or_else(|| format!("{family}: le is {bound}"))?;
                buckets.entry(labels).or_default().push((bound, *up_to));
            }
            let counts = self.values.iter().filter(|((name, _), _)| *name == format!("{family}_count"));
            for ((_, labels), count) in counts {
                let mut buckets = buckets.remove(labels).unwrap_or_default();
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                if !buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1) {
                    return Err(format!("{family}{labels:?}: the buckets are not cumulative: {buckets:?}"));
                }
                if buckets.last() != Some(&(f64::INFINITY, *count)) {
                    return Err(format!("{family}{labels:?}: the buckets do not end with +Inf and {count}: {buckets:?}"));
                }
                if !self.values.contains_key(&(format!("{family}_sum"), labels.clone())) {
                    return Err(format!("{family}{labels:?}: no sum"));
                }
            }
            if !buckets.is_empty() {
                return Err(format!("{family}: buckets without a count: {buckets:?}"));
            }
        }
        Ok(())
    }

    /// The value of the only series of this name that has these labels among its own.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.matching(name, labels);
        assert!(found.len() == 1, "{} series of {name} with {labels:?} in {:#?}", found.len(), self.values);
        found[0]
    }

    /// The sum of all series of this name that have these labels among their own; 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).iter().sum()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let has = |of_series: &LabelsOfSeries| {
            labels.iter().all(|(key, value)| of_series.get(*key).is_some_and(|of_series| of_series == value))
        };
        let series = self.values.iter().filter(|((of_series, labels), _)| of_series == name && has(labels));
        series.map(|(_, value)| *value).collect()
    }

    /// All values by name and labels.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<(String, LabelsOfSeries), f64> {
        &self.values
    }
}

/// The ends of the names of samples of a family. In OpenMetrics a counter's samples end with `_total`, its family does not.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["", "_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[],
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<(String, LabelsOfSeries, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = LabelsOfSeries::new();
    let mut rest = rest.strip_prefix('{').map_or((rest, false), |rest| (rest, true));
    while rest.1 {
        let (key, after) = rest.0.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        if !is_name(key) || key.contains(':') || labels.insert(key.to_owned(), value).is_some() {
            return None;
        }
        rest = match after.strip_prefix(',') {
            Some(more) => (more, true),
            None => (after.strip_prefix('}')?, false),
        };
    }
    let value = number(rest.0.strip_prefix(' ')?)?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// The text up to the closing quote without its escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            (_, char) => value.push(char),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        _ if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => text.parse().ok(),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    name.bytes().next().is_some_and(is_first) && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "# HELP h how long\n# TYPE h histogram\nh_sum{a=\"x\\\"\\\\\\n}, \"} 1.5\nh_count{a=\"x\\\"\\\\\\n}, \"} 3\n\
                         h_bucket{le=\"0.1\",a=\"x\\\"\\\\\\n}, \"} 1\nh_bucket{le=\"+Inf\",a=\"x\\\"\\\\\\n}, \"} 3\n\
                         # HELP c count\n# TYPE c counter\nc_total 7\n# EOF\n";

    /// Guards against: a checker that lets anything pass.
    #[test]
    fn each_flaw_of_a_text_is_found() {
        let sound = Exposition::parse(SOUND).expect("nothing is wrong");
        assert_eq!(sound.value("h_bucket", &[("le", "0.1"), ("a", "x\"\\\n}, ")]), 1.0);
        assert_eq!((sound.sum("c_total", &[]), sound.sum("d", &[])), (7.0, 0.0));
        for (from, to, why) in [
            ("c_total 7", "c_total", "no sample"),
            ("c_total 7", "c_total seven", "no sample"),
            ("c_total 7", "c_total{a=\"b} 7", "no sample"),
            ("c_total 7", "c_total{a=\"\\d\"} 7", "no sample"),
            ("c_total 7", "c-total 7", "no sample"),
            ("c_total 7", "c_total -1", "a counter below 0"),
            ("c_total 7", "d_total 7", "outside of its family"),
            ("c_total 7", "c_total 7\nc_total 7", "comes twice"),
            ("# HELP c count", "# TYPE h histogram", "a second type"),
            ("# HELP c count", "# HELP h how long", "a second help"),
            ("# EOF", "# HELLO you", "no comment"),
            ("} 1\n", "} 4\n", "not cumulative"),
            ("\"+Inf\"", "\"Inf\"", "no bound"),
            ("\"+Inf\"", "\"2\"", "do not end with +Inf"),
            ("h_count{", "h_count{b=\"\",", "do not end with +Inf"),
        ] {
            let broken = SOUND.replace(from, to);
            assert_ne!(broken, SOUND);
            let found = Exposition::parse(&broken).expect_err(&broken);
            assert!(found.contains(why), "{found} and not {why}");
        }
    }
}

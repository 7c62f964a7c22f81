//! Numbers as Redis reads and writes them, and the errors that many commands share; no state.

/// An argument, a key or a value: any bytes.
pub(super) type Bytes = Vec<u8>;

/// The text of an error as Redis sends it, its code first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure(pub(super) Bytes);

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

pub(super) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const NOT_FLOAT: &str = "ERR value is not a valid float";
pub(super) const NO_SUCH_KEY: &str = "ERR no such key";
pub(super) const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub(super) const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";

/// The error of a command with too few or too many words; `name` in lower case, `client|id` for a subcommand.
pub(super) fn wrong_arity(name: &str) -> Failure {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// An integer in the one form in which Redis takes it: no sign but `-`, no leading zero, no blank.
pub(super) fn strict_integer(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

pub(super) fn integer(bytes: &[u8]) -> Result<i64, Failure> {
    strict_integer(bytes).ok_or_else(|| NOT_INTEGER.into())
}

/// A number from zero up, for counts.
pub(super) fn positive(bytes: &[u8]) -> Result<usize, Failure> {
    match strict_integer(bytes) {
        Some(number) => usize::try_from(number).map_err(|_| NOT_POSITIVE.into()),
        None => Err(NOT_POSITIVE.into()),
    }
}

/// A float as strtod() takes it, without blanks, NaN and numbers that overflow.
pub(super) fn loose_float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: f64 = text.parse().ok()?;
    let says_infinite = text.to_ascii_lowercase().contains("inf");
    (!number.is_nan() && (says_infinite || number.is_finite())).then_some(number)
}

pub(super) fn float(bytes: &[u8]) -> Result<f64, Failure> {
    loose_float(bytes).ok_or_else(|| NOT_FLOAT.into())
}

/// A double with 17 significant digits, as `%.17g` writes it.
pub(super) fn double_text(number: f64) -> String {
    if number.is_infinite() {
        return String::from(if number > 0.0 { "inf" } else { "-inf" });
    }
    if number.is_nan() {
        return String::from("nan");
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..17).contains(&exponent) {
        let decimals = usize::try_from(16 - exponent).expect("at most 20");
        return without_zeros(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

fn without_zeros(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// The sum of two numbers for INCRBYFLOAT and HINCRBYFLOAT, with 64 bits of precision and 17 places, as Redis reckons; with
/// a double for numbers that are very long or very large. None if it is no finite number.
pub(super) fn decimal_sum(left: &[u8], right: &[u8]) -> Option<String> {
    if let (Some(left), Some(right)) = (fixed_point(left), fixed_point(right)) {
        return Some(fixed_text(rounded(left + right)));
    }
    let sum = loose_float(left)? + loose_float(right)?;
    if !sum.is_finite() {
        return None;
    }
    let text = without_zeros(&format!("{sum:.17}"));
    Some(if text == "-0" { String::from("0") } else { text })
}

const PLACES: usize = 17;
const SCALE: u128 = 100_000_000_000_000_000;
/// Enough for 17 places; the other 68 bits are for what stands before the point.
const FRACTION_BITS: u32 = 60;

fn fixed_point(bytes: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.contains(['e', 'E']) {
        let number = loose_float(bytes).filter(|number| number.abs() < 1e15)?;
        // Shortest digits, without an exponent.
        return fixed_point(format!("{number}").as_bytes());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() > 19 || part.len() > PLACES || whole.len() + part.len() == 0 || !is_decimal(whole) || !is_decimal(part) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = format!("{part:0<PLACES$}").parse().ok()?;
    let part = ((part << FRACTION_BITS) + SCALE / 2) / SCALE;
    let number = rounded((whole << FRACTION_BITS) + i128::try_from(part).ok()?);
    Some(if negative { -number } else { number })
}

/// The nearest number of 64 bits.
fn rounded(number: i128) -> i128 {
    let size = number.unsigned_abs();
    let excess = (128 - size.leading_zeros()).saturating_sub(64);
    if excess == 0 {
        return number;
    }
    let (unit, rest) = (1_u128 << excess, size % (1_u128 << excess));
    let down = size - rest;
    let is_up = rest > unit / 2 || rest == unit / 2 && (down >> excess) % 2 == 1;
    let size = i128::try_from(if is_up { down + unit } else { down }).unwrap_or(i128::MAX);
    if number < 0 { -size } else { size }
}

fn fixed_text(number: i128) -> String {
    let size = number.unsigned_abs();
    let (mut whole, part) = (size >> FRACTION_BITS, size % (1 << FRACTION_BITS));
    let mut part = (part * SCALE + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
    if part == SCALE {
        (whole, part) = (whole + 1, 0);
    }
    let sign = if number < 0 && (whole, part) != (0, 0) { "-" } else { "" };
    without_zeros(&format!("{sign}{whole}.{part:0PLACES$}"))
}

/// The argument in upper case, to compare with the words of options.
pub(super) fn upper(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_uppercase()
}

/// Redis's glob: `*`, `?`, `[a-z]`, `[^a]`, `\` before a sign that stands for itself.
pub(super) fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and how much of the text it has taken: what is tried next.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, read));
            at += 1;
            continue;
        }
        if read == text.len() {
            return at == pattern.len();
        }
        match one_sign(&pattern[at..], text[read]) {
            Some(length) => {
                at += length;
                read += 1;
            }
            None => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    (at, read) = (*after, *taken);
                }
                None => return false,
            },
        }
    }
}

/// How long the first sign of the pattern is, if it stands for this byte.
fn one_sign(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => one_class(pattern, byte),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        sign => (sign == byte).then_some(1),
    }
}

fn one_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let is_negated = pattern.get(1) == Some(&b'^');
    let mut at = if is_negated { 2 } else { 1 };
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            at += 1;
            found |= pattern[at] == byte;
        } else if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() {
            let (low, high) = (pattern[at].min(pattern[at + 2]), pattern[at].max(pattern[at + 2]));
            found |= (low..=high).contains(&byte);
            at += 2;
        } else {
            found |= pattern[at] == byte;
        }
        at += 1;
    }
    let length = (at + 1).min(pattern.len());
    (found != is_negated).then_some(length)
}

pub(super) fn unknown_command(args: &[Bytes]) -> Failure {
    let name = &args[0][..args[0].len().min(128)];
    let mut words = Vec::new();
    for arg in &args[1..] {
        if words.len() >= 128 {
            break;
        }
        let length = arg.len().min(128 - words.len());
        words.extend_from_slice(&[b"'", &arg[..length], b"' "].concat());
    }
    Failure([b"ERR unknown command '", name, b"', with args beginning with: ", &words].concat())
}

//! The secrets that we have sent, and the one place that removes them from texts of servers and libraries.

use std::fmt;

use redis::RedisConnectionInfo;

use crate::redis_node::parameters::hex_byte;

/// Characters of a text that are kept: more than the pool keeps of an error.
const LONGEST_TEXT: usize = 600;

/// This many bytes of a secret in a row are treated as a part of it. A shorter secret is searched as a whole.
const SHORTEST_PIECE: usize = 4;

/// The same, after text between words was left out.
const SHORTEST_PIECE_ACROSS_WORDS: usize = 6;

/// The secrets that we have sent to a node.
#[derive(Default)]
pub(crate) struct Secrets {
    password: Vec<u8>,
}

impl Secrets {
    /// The password of a login, with or without a user. Nothing else that we send is secret; the key of a client's certificate
    /// is not sent.
    pub(crate) fn of(login: &RedisConnectionInfo) -> Self {
        Self { password: login.password().unwrap_or_default().as_bytes().to_vec() }
    }

    /// One word that is secret.
    pub(crate) fn of_word(word: &[u8]) -> Self {
        Self { password: word.to_vec() }
    }

    /// A text in which each word that contains a part of a secret is `***`. Whole words are replaced: known words with a gap
    /// would reveal the text in the gap.
    ///
    /// A secret is found in any case, plain, escaped (`\x70`, `\u{70}`, `\160`, `\"`), percent-encoded, as a list of numbers,
    /// each of them escaped once more, cut into pieces, and with other words or line ends between its pieces.
    pub(crate) fn clean(&self, text: &str) -> String {
        let text: String = text.chars().take(LONGEST_TEXT).collect();
        if self.password.is_empty() {
            return text;
        }
        let mut hidden = vec![false; text.len()];
        for reading in readings(&text) {
            hide_pieces(&reading, &self.password, SHORTEST_PIECE, &mut hidden);
            hide_ends(&reading, &self.password, &mut hidden);
            let joined: Reading = reading.into_iter().filter(|seen| !parts_words(seen.byte)).collect();
            let secret: Vec<u8> = self.password.iter().copied().filter(|byte| !parts_words(*byte)).collect();
            if secret.len() >= SHORTEST_PIECE {
                hide_pieces(&joined, &secret, SHORTEST_PIECE_ACROSS_WORDS, &mut hidden);
            }
        }
        without_hidden_words(&text, &hidden, &self.password)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A byte that a text encodes, and its place in the text.
#[derive(Clone, Copy)]
struct DecodedByte {
    byte: u8,
    start: usize,
    end: usize,
}

type Reading = Vec<DecodedByte>;

/// All decodings of a text.
fn readings(text: &str) -> Vec<Reading> {
    let plain: Reading = text.bytes().enumerate().map(|(at, byte)| DecodedByte { byte, start: at, end: at + 1 }).collect();
    let mut all = vec![plain];
    // One decoder after the other.
    let mut first = 0;
    for _ in 0..2 {
        let readings = first..all.len();
        first = readings.end;
        for index in readings {
            let reading = &all[index];
            let has = |byte| reading.iter().any(|seen| seen.byte == byte);
            let decoders: [(u8, Decoder); 3] = [(b'\\', unescape), (b'%', from_percent), (b',', from_number)];
            let of_use = decoders.into_iter().filter(|(sign, _)| has(*sign));
            let decoded: Vec<_> = of_use.map(|(_, decoder)| decode(reading, decoder)).collect();
            all.extend(decoded);
        }
    }
    all
}

/// The bytes that the beginning of a text encodes, and the length of the encoding; `None` if it is plain.
type Decoder = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

fn decode(reading: &[DecodedByte], decoder: Decoder) -> Reading {
    let bytes: Vec<u8> = reading.iter().map(|seen| seen.byte).collect();
    let mut decoded = Vec::with_capacity(reading.len());
    let mut at = 0;
    while at < reading.len() {
        // No escape is longer.
        let rest = &bytes[at..bytes.len().min(at + 16)];
        let (stands_for, taken) = decoder(rest).unwrap_or_else(|| (vec![bytes[at]], 1));
        let (start, end) = (reading[at].start, reading[at + taken - 1].end);
        decoded.extend(stands_for.into_iter().map(|byte| DecodedByte { byte, start, end }));
        at += taken;
    }
    decoded
}

fn from_percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let digits = text.strip_prefix(b"%")?.get(..2)?;
    Some((vec![hex_byte(digits)?], 3))
}

fn unescape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let escaped = text.strip_prefix(b"\\")?;
    let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
    let code = |digits: &[u8], taken| {
        let number = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
        char::from_u32(number).map(|found| (String::from(found).into_bytes(), taken))
    };
    match escaped {
        [b'x', rest @ ..] => Some((vec![hex_byte(rest.get(..2)?)?], 4)),
        [b'u', b'{', rest @ ..] => {
            let length = rest.iter().position(|byte| *byte == b'}')?;
            code(&rest[..length], length + 4)
        }
        [b'u', rest @ ..] => code(rest.get(..4)?, 6),
        [one, two, three, ..] if [one, two, three].into_iter().all(is_octal) => {
            let number = [one, two, three].iter().fold(0_u32, |number, digit| number * 8 + u32::from(**digit - b'0'));
            u8::try_from(number).ok().map(|byte| (vec![byte], 4))
        }
        [short, ..] => Some((vec![short_escape(*short)], 2)),
        [] => None,
    }
}

fn short_escape(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'0' => 0,
        other => other,
    }
}

/// A list of bytes, as `Debug` prints it.
fn from_number(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let number = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    let taken = if text[length..].starts_with(b", ") { length + 2 } else { length };
    Some((vec![number], taken))
}

fn is_same(seen: u8, secret: u8) -> bool {
    // A form has a + for a space.
    seen.eq_ignore_ascii_case(&secret) || (seen == b'+' && secret == b' ')
}

/// Hides every common part of the decoding and the secret of at least `shortest` bytes, or the whole secret.
fn hide_pieces(reading: &[DecodedByte], secret: &[u8], shortest: usize, hidden: &mut [bool]) {
    let shortest = shortest.min(secret.len());
    // For each byte of the secret: the length of the match that ends at it and at the present byte.
    let mut lengths = vec![0; secret.len() + 1];
    for (at, seen) in reading.iter().enumerate() {
        for index in (0..secret.len()).rev() {
            lengths[index + 1] = if is_same(seen.byte, secret[index]) { lengths[index] + 1 } else { 0 };
        }
        let longest = lengths.iter().copied().max().unwrap_or_default();
        if longest >= shortest {
            reading[at + 1 - longest..=at].iter().for_each(|seen| hidden[seen.start..seen.end].fill(true));
        }
    }
}

/// Hides the rest of a secret that was cut: a word in quotes, or the last one, if the secret begins or ends with it.
fn hide_ends(reading: &[DecodedByte], secret: &[u8], hidden: &mut [bool]) {
    let mut next = 0;
    for word in reading.split(|seen| parts_words(seen.byte)) {
        let at = next;
        next += word.len() + 1;
        let is_quoted = at.checked_sub(1).is_some_and(|before| b"'\"`".contains(&reading[before].byte));
        let is_last = at + word.len() == reading.len();
        let is_end = word.len() <= secret.len() && {
            let is_like = |part: &[u8]| word.iter().zip(part).all(|(seen, secret)| is_same(seen.byte, *secret));
            is_like(secret) || is_like(&secret[secret.len() - word.len()..])
        };
        if (is_quoted || is_last) && is_end {
            word.iter().for_each(|seen| hidden[seen.start..seen.end].fill(true));
        }
    }
}

/// Whether a byte separates words.
fn parts_words(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"'\"`()[]{}<>,;".contains(&byte)
}

/// Replaces each word with a hidden part, and all hidden text around it.
fn without_hidden_words(text: &str, hidden: &[bool], secret: &[u8]) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let is_part = |(index, letter): &(usize, char)| hidden[at + index] || !u8::try_from(*letter).is_ok_and(parts_words);
        let end = rest.char_indices().find(|letter| !is_part(letter)).map_or(rest.len(), |(index, _)| index);
        let length = if end == 0 { first.len_utf8() } else { end };
        let (run, left) = rest.split_at(length);
        let is_hidden = hidden[at..at + length].contains(&true) && !is_code(run, secret);
        cleaned.push_str(if is_hidden { "***" } else { run });
        rest = left;
    }
    cleaned
}

/// Whether a word is an error code of a server, and not a part of the secret.
fn is_code(word: &str, secret: &[u8]) -> bool {
    const CODES: [&str; 8] = ["DENIED", "LOADING", "MASTERDOWN", "NOAUTH", "NOPERM", "NOPROTO", "READONLY", "WRONGPASS"];
    let word = word.strip_suffix(':').unwrap_or(word);
    CODES.contains(&word) && !secret.windows(word.len()).any(|part| part == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against: no `is_code`, and one that shows a password that is a code.
    #[test]
    fn the_code_of_an_error_is_shown_whatever_the_password_is() {
        let shown = |password, text| secrets(password).clean(text);
        let refusal = "\"WRONGPASS\": invalid username-password pair";
        assert_eq!(shown("wrong", refusal), refusal);
        assert_eq!(shown("WRONGPASS", refusal), "\"***\": invalid *** pair");
        assert_eq!(shown("passwd", "WRONGPASS for 'passwd'"), "WRONGPASS for '***'");
        for password in ["READONLY-2024", "1DENIED2", "!LOADING!"] {
            let quoted = format!("ERR unknown 'AUTH' '{password}' {password}");
            assert_eq!(secrets(password).clean(&quoted), "ERR unknown 'AUTH' '***' ***");
        }
    }

    fn secrets(password: &str) -> Secrets {
        Secrets { password: password.as_bytes().to_vec() }
    }

    /// Seen to bite: with each decoder left out, with readings that are not read again, with case distinguished, without
    /// `hide_ends`, without what is joined.
    #[test]
    fn a_secret_is_taken_out_of_whatever_a_server_makes_of_it() {
        let secrets = secrets("Hunter2 & \"Käse\"\\");
        for quoted in [
            r#"ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'Hunter2 & "Käse"\'"#,
            r#"ERR got "Hunter2 & \"Käse\"\\""#,
            r#"ERR got "Hunter2 & \"K\xc3\xa4se\"\\""#,
            r#"ERR got "\x48\x75\x6e\x74\x65\x72\x32 \x26 \x22K\u{e4}se""#,
            r#"ERR got "\110\165\156\164\145\162\062 & \"K\303\244se\"""#,
            r#"ERR got "Hunter2 \u0026 \u0022K\u00e4se\u0022\u005c""#,
            r#"ERR got "Hunter2 & \\\"K\\xc3\\xa4se""#,
            r#"ERR got "\\x48\\x75\\x6e\\x74\\x65\\x72\\x32""#,
            "ERR GET /?a=Hunter2%20%26%20%22K%c3%a4se%22%5C HTTP/1.1",
            "ERR GET /?a=Hunter2+%26+%22K%C3%A4se%22%5C HTTP/1.1",
            "ERR GET /?a=%48%75%6e%74%65%72%32 HTTP/1.1",
            "ERR binary-data([72, 117, 110, 116, 101, 114, 50, 32, 38, 255])",
            "ERR hunter2 & \"kÄSE\"\\",
            "ERR HUNTER2",
            "ERR args: 'AUTH' 'Hun'",
            "ERR args: 'AUTH' 'H'",
            "ERR args: AUTH Hun",
            "ERR Hun\r\nter2",
            "ERR 'Hun' 'ter' '2'",
            "ERR Hunt... and nter2 it was",
        ] {
            let cleaned = secrets.clean(quoted);
            let kept = cleaned.to_lowercase();
            let pieces = ["hun", "ter", "er2", "k\u{e4}se", "xc3", "%c3", "303", "117", "x75", "%75", "165", "'h"];
            assert!(cleaned.contains("***"), "{quoted} -> {cleaned}");
            assert!(!pieces.iter().any(|piece| kept.replace("'hello", "").contains(piece)), "{quoted} -> {cleaned}");
            assert!(cleaned.starts_with("ERR "), "what is no secret stays: {cleaned}");
        }
    }

    /// Seen to bite: with each of these forms passed over, with a text of any length cleaned.
    #[test]
    fn a_secret_is_read_in_every_form_of_its_letters() {
        for form in ["é€ß!", "\\u{e9}\\u{20ac}\\u{df}!", "\\u00e9\\u20AC\\u00df!", "\\303\\251\\342\\202\\254\\303\\237!"] {
            assert_eq!(secrets("é€ß!").clean(&format!("it was ({form})")), "it was (***)");
        }
        assert_eq!(secrets("a b c d").clean("GET /?pass=a+b+c+d"), "GET ***");
        assert_eq!(secrets("hunter2").clean(&"x".repeat(LONGEST_TEXT + 1)), "x".repeat(LONGEST_TEXT));
    }

    /// As redis-server does: the words of an unknown command are cut after 128 bytes.
    #[test]
    fn a_secret_that_a_server_has_cut_at_any_place_is_taken_out() {
        let password = "correct-horse-battery-staple-".repeat(6);
        for length in 1..password.len() {
            let cleaned = secrets(&password).clean(&format!("ERR unknown command 'HELLO', args: 'u' '{}' ", &password[..length]));
            assert_eq!(cleaned, "ERR unknown command 'HELLO', args: 'u' '***' ", "{length}");
            if length % 13 > 1 {
                continue;
            }
            let text = format!("{} {password}", "x".repeat(LONGEST_TEXT - 1 - length));
            let cleaned = secrets(&password).clean(&text);
            assert!(cleaned.ends_with("x ***"), "{length}");
        }
    }

    /// Seen to bite: with secrets below `SHORTEST_PIECE` passed over, with only the secret itself replaced.
    #[test]
    fn short_secrets_are_taken_out_with_the_words_that_they_are_in() {
        assert_eq!(secrets("e").clean("PING failed: no answer at 7"), "PING *** no *** at 7");
        assert_eq!(secrets("q7").clean("ERR 'AUTH' 'q7' and xq7x, Q7"), "ERR 'AUTH' '***' and ***, ***");
        assert_eq!(secrets("q 7").clean("ERR 'AUTH' 'q 7' aq 7b"), "ERR 'AUTH' '***' ***");
        assert_eq!(secrets("''").clean("ERR got '''' or ''"), "ERR got *** or ***");
        assert_eq!(secrets("hunter2").clean("ERR 'hunt' and 'er2' 'nt' nter's"), "ERR '***' and '***' 'nt' ***'s");
        assert_eq!(secrets("").clean("all is 'well'"), "all is 'well'");
    }

    #[test]
    fn what_is_no_secret_is_left_as_it_is() {
        for text in [
            "handshake failed: WRONGPASS invalid username-password pair or user is disabled.",
            "cannot connect to 127.0.0.1:6379: Connection refused (os error 111)",
            r"a \x4 \u{zz} \u{110000} \777 % %zz %4 [1, 2, 999, 300, \",
            "LOADING Redis ist dabei, die Daten zu laden – später \u{1f512}",
        ] {
            assert_eq!(secrets("hunter2-\u{1f511}").clean(text), text);
        }
    }
}

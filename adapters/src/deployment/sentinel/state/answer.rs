//! What one sentinel answers: the replies to the five questions that it is asked, read as data.

use std::sync::Arc;

use redis::{ServerError, Value};

use crate::deployment::host_port::HostPort;
use crate::error::FailureKind;

/// Sentinels that one answer may name; no deployment has more.
const MOST_SENTINELS: usize = 64;
/// Replicas that one answer may name.
const MOST_REPLICAS: usize = 256;

/// What one sentinel says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentinelAnswer {
    /// The primary; `None` if it does not know the name.
    pub(crate) primary: Option<HostPort>,
    /// Grows with each failover; 0 if it does not tell.
    pub(crate) epoch: u64,
    /// Its own id.
    pub(crate) id: Option<Arc<str>>,
    /// The other sentinels of the name, with their ids.
    pub(crate) sentinels: Vec<(HostPort, Option<Arc<str>>)>,
    pub(crate) replicas: Vec<ReportedReplica>,
}

impl SentinelAnswer {
    pub(crate) fn has_replica(&self, place: &HostPort) -> bool {
        self.replicas.iter().any(|replica| replica.place == *place)
    }
}

/// A replica, as a sentinel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportedReplica {
    pub(crate) place: HostPort,
    /// The sentinel cannot reach it, or its link to the primary is down.
    pub(crate) is_down: bool,
}

/// Why a sentinel gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SentinelFault {
    #[error("{words}")]
    Unreachable { words: String, kind: FailureKind, is_permanent: bool },
    #[error("no answer in time")]
    Silent,
    #[error("it is no sentinel: {words}")]
    NotASentinel { words: String },
    #[error("it refuses: {words}")]
    Refused { words: String },
    #[error("its answer makes no sense: {what}")]
    Nonsense { what: String },
}

impl SentinelFault {
    /// The category, for a data node.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { kind, .. } => *kind,
            Self::Silent => FailureKind::Silent,
            Self::NotASentinel { .. } | Self::Refused { .. } | Self::Nonsense { .. } => FailureKind::Protocol,
        }
    }

    /// Whether it stays so until a setting or the server is changed.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable { is_permanent, .. } => *is_permanent,
            Self::NotASentinel { .. } => true,
            Self::Silent | Self::Refused { .. } | Self::Nonsense { .. } => false,
        }
    }
}

/// The replies to `GET-MASTER-ADDR-BY-NAME`, `MASTER`, `SENTINELS`, `REPLICAS` and `MYID`, in this order. Only the first must be
/// there: a user may be allowed no more, and old sentinels have no ids. `clean` hides secrets in the words of a server.
///
/// # Errors
///
/// Why it is of no use.
pub(crate) fn read_answer(replies: &[Value], clean: impl Fn(&str) -> String) -> Result<SentinelAnswer, SentinelFault> {
    let [told, rest @ ..] = replies else {
        return Err(SentinelFault::Nonsense { what: String::from("there is none") });
    };
    let nonsense = |what: String| SentinelFault::Nonsense { what };
    let primary = if *told == Value::Nil {
        None
    } else if let Value::ServerError(error) = told {
        return Err(refusal(error, clean));
    } else if let Value::Array(fields) = told {
        let [host, port] = fields.as_slice() else {
            return Err(nonsense(format!("an address of {} parts", fields.len())));
        };
        Some(place(&text(host), &text(port)).map_err(nonsense)?)
    } else {
        return Err(nonsense(String::from("the address is no list")));
    };
    let of = |at: usize| rest.get(at).unwrap_or(&Value::Nil);
    let epoch = field(&fields(of(0)), "config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let sentinels = instances(of(1)).take(MOST_SENTINELS).filter_map(|fields| {
        let id = field(&fields, "runid").filter(|id| !id.is_empty()).map(Arc::from);
        Some((place_of(&fields)?, id))
    });
    let replicas = instances(of(2)).take(MOST_REPLICAS).filter_map(|fields| {
        let flags = field(&fields, "flags").unwrap_or_default();
        let is_down = flags.split(',').any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
            || field(&fields, "master-link-status").is_some_and(|status| status != "ok");
        Some(ReportedReplica { place: place_of(&fields)?, is_down })
    });
    let id = Some(text(of(3))).filter(|id| !id.is_empty()).map(Arc::from);
    Ok(SentinelAnswer { primary, epoch, id, sentinels: sentinels.collect(), replicas: replicas.collect() })
}

fn refusal(error: &ServerError, clean: impl Fn(&str) -> String) -> SentinelFault {
    let words = clean(&format!("{} {}", error.code(), error.details().unwrap_or_default()));
    let is_unknown = words.to_ascii_lowercase().contains("unknown command");
    if is_unknown { SentinelFault::NotASentinel { words } } else { SentinelFault::Refused { words } }
}

/// The fields of an instance: a map, or with RESP2 a list in which names and values take turns.
fn fields(value: &Value) -> Vec<(String, String)> {
    if let Value::Map(pairs) = value {
        return pairs.iter().map(|(name, value)| (text(name), text(value))).collect();
    }
    let flat = if let Value::Array(flat) = value { flat.as_slice() } else { &[] };
    flat.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn instances(value: &Value) -> impl Iterator<Item = Vec<(String, String)>> {
    let list = if let Value::Array(list) = value { list.as_slice() } else { &[] };
    list.iter().map(fields)
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn place_of(fields: &[(String, String)]) -> Option<HostPort> {
    place(field(fields, "ip")?, field(fields, "port")?).ok()
}

fn place(host: &str, port: &str) -> Result<HostPort, String> {
    let number = port.parse().map_err(|_| format!("the port {:?}", port.chars().take(20).collect::<String>()))?;
    HostPort::new(host, number).map_err(String::from)
}

/// The word in a value; empty if it is none.
fn text(value: &Value) -> String {
    redis::from_redis_value_ref(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn list(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| bulk(word)).collect())
    }

    fn read(replies: &[Value]) -> Result<SentinelAnswer, SentinelFault> {
        read_answer(replies, |words| String::from(words))
    }

    fn place(host: &str, port: u16) -> HostPort {
        HostPort::new(host, port).expect("a place")
    }

    /// Seen to bite: with maps not read, with the epoch of another field, with replicas that are down taken for sound.
    #[test]
    fn an_answer_is_read_in_both_protocols_and_its_first_part_is_enough() {
        let map = Value::Map(vec![(bulk("name"), bulk("m")), (bulk("config-epoch"), bulk("7"))]);
        for master in [list(&["name", "m", "config-epoch", "7"]), map] {
            let sentinels = Value::Array(vec![list(&["ip", "10.0.0.9", "port", "26379", "runid", "abc"]), list(&["ip", ""])]);
            let replica = |port, flags, link| list(&["ip", "r", "port", port, "flags", flags, "master-link-status", link]);
            let replicas =
                Value::Array(vec![replica("1", "slave", "ok"), replica("2", "s_down,slave", "ok"), replica("3", "slave", "err")]);
            let answer = read(&[list(&["10.0.0.1", "6379"]), master, sentinels, replicas, bulk("me")]).expect("it is sound");
            assert_eq!((answer.primary, answer.epoch, answer.id.as_deref()), (Some(place("10.0.0.1", 6379)), 7, Some("me")));
            assert_eq!(answer.sentinels, [(place("10.0.0.9", 26379), Some(Arc::from("abc")))]);
            assert_eq!(answer.replicas.iter().map(|replica| replica.is_down).collect::<Vec<_>>(), [false, true, true]);
        }
        let refused = || redis::parse_redis_value(b"-NOPERM no\r\n").expect("an error");
        let answer = read(&[list(&["h", "1"]), refused(), refused(), refused(), refused()]).expect("enough");
        assert_eq!(answer, SentinelAnswer { primary: Some(place("h", 1)), ..SentinelAnswer::default() });
        assert_eq!(read(&[Value::Nil]).expect("an unknown name").primary, None);
    }

    /// Seen to bite: with each kind of fault taken for another.
    #[test]
    fn what_is_no_answer_is_told_by_its_kind() {
        let said = |line: &str| redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error");
        let of = |replies: &[Value]| read(replies).expect_err("a fault");
        assert!(matches!(of(&[]), SentinelFault::Nonsense { .. }));
        assert!(matches!(of(&[said("ERR unknown command 'SENTINEL'")]), SentinelFault::NotASentinel { .. }));
        assert!(matches!(of(&[said("NOAUTH Authentication required.")]), SentinelFault::Refused { .. }));
        for nonsense in [list(&["h"]), list(&["", "1"]), list(&["h", "0"]), list(&["h", "x"]), list(&["h h", "1"]), bulk("h:1")] {
            assert!(matches!(of(&[nonsense]), SentinelFault::Nonsense { .. }));
        }
    }
}

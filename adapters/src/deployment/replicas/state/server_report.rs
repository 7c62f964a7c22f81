//! What a server says of its replication, read from its words, and whether a replica may be read from by that.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value};

use crate::deployment::host_port::HostPort;

/// Replicas that one report may name.
const MOST_FOLLOWERS: usize = 256;

/// What a server says of its replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerReport {
    pub(crate) is_primary: bool,
    /// Replicas that copy it.
    pub(crate) followers: Vec<HostPort>,
    /// The link of a replica to its primary.
    pub(crate) link_is_up: bool,
    /// A replica that gets a copy of all data.
    pub(crate) is_syncing: bool,
    /// It refuses all commands on keys.
    pub(crate) is_loading: bool,
    /// Which stream of writes it has; none if it does not tell.
    pub(crate) history: Option<Arc<str>>,
    /// How far it is in this stream, in bytes.
    pub(crate) offset: u64,
    /// Its availability zone, if it tells one.
    pub(crate) zone: Option<Arc<str>>,
}

/// Why a replica is not read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfitness {
    NotAsked,
    NoAnswer(String),
    /// It has refused a read just now.
    Refuses,
    IsPrimary,
    Syncing,
    Loading,
    LinkDown,
    /// It copies another primary, or has not followed the present one yet.
    OtherHistory,
    /// In bytes.
    Lags(u64),
}

impl fmt::Display for Unfitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("it has not been asked yet"),
            Self::NoAnswer(words) => f.write_str(words),
            Self::Refuses => f.write_str("it has refused a read"),
            Self::IsPrimary => f.write_str("it says that it is a primary"),
            Self::Syncing => f.write_str("it gets a copy of all data"),
            Self::Loading => f.write_str("it loads its data"),
            Self::LinkDown => f.write_str("its link to the primary is down"),
            Self::OtherHistory => f.write_str("it does not copy this primary"),
            Self::Lags(bytes) => write!(f, "it lags by {bytes} bytes"),
        }
    }
}

impl ServerReport {
    /// What a server is asked.
    pub(crate) fn questions() -> [Cmd; 3] {
        ["REPLICATION", "PERSISTENCE", "SERVER"].map(|section| {
            let mut info = redis::cmd("INFO");
            info.arg(section);
            info
        })
    }

    /// The replies to the questions. Only the first must be there. `clean` hides secrets in the words of a server.
    ///
    /// # Errors
    ///
    /// Why they are of no use.
    pub(crate) fn read_replies(replies: &[Value], clean: impl Fn(&str) -> String) -> Result<Self, String> {
        if let Some(Value::ServerError(error)) = replies.first() {
            return Err(clean(&format!("INFO failed: {} {}", error.code(), error.details().unwrap_or_default())));
        }
        let text = |reply: &Value| redis::from_redis_value_ref::<String>(reply).unwrap_or_default();
        Self::read(&replies.iter().map(text).collect::<Vec<_>>().join("\n"))
    }

    /// Reads `INFO replication`, and what matters in other sections of INFO.
    ///
    /// # Errors
    ///
    /// If it does not say what the server is.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut report = Self::default();
        let (mut role, mut own_offset, mut offset_of_primary) = (None, None, None);
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name {
                "role" => role = Some(value == "master"),
                "master_link_status" => report.link_is_up = value == "up",
                "master_sync_in_progress" => report.is_syncing = value == "1",
                "loading" => report.is_loading = value == "1",
                "master_replid" => report.history = Some(Arc::from(value)),
                "slave_repl_offset" => own_offset = value.parse().ok(),
                "master_repl_offset" => offset_of_primary = value.parse().ok(),
                "availability_zone" if !value.is_empty() => report.zone = Some(Arc::from(value)),
                name if is_follower(name) && report.followers.len() < MOST_FOLLOWERS => {
                    report.followers.extend(read_follower(value));
                }
                _ => {}
            }
        }
        report.is_primary = role.ok_or("INFO does not say what it is")?;
        let offset = if report.is_primary { offset_of_primary } else { own_offset };
        report.offset = offset.unwrap_or(0);
        Ok(report)
    }

    /// How many bytes of the primary's writes it lacks, or why it is not read from. `primary` is what the primary said last, before
    /// this; `primary_answers` says whether it answers now.
    pub(crate) fn fitness(&self, primary: Option<&Self>, primary_answers: bool, max_lag: u64) -> Result<u64, Unfitness> {
        if self.is_primary {
            return Err(Unfitness::IsPrimary);
        }
        if self.is_syncing {
            return Err(Unfitness::Syncing);
        }
        if self.is_loading {
            return Err(Unfitness::Loading);
        }
        // While there is no primary nothing is written that it could lack.
        if !self.link_is_up && (primary_answers || primary.is_none()) {
            return Err(Unfitness::LinkDown);
        }
        let Some(primary) = primary else { return Ok(0) };
        if let (Some(own), Some(other)) = (&self.history, &primary.history)
            && own != other
        {
            return Err(Unfitness::OtherHistory);
        }
        let lag = primary.offset.saturating_sub(self.offset);
        if lag > max_lag { Err(Unfitness::Lags(lag)) } else { Ok(lag) }
    }
}

/// `slave0`, `slave1` …
fn is_follower(name: &str) -> bool {
    name.strip_prefix("slave").is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `ip=127.0.0.1,port=6380,state=online,offset=1,lag=0`
fn read_follower(value: &str) -> Option<HostPort> {
    let field = |name: &str| value.split(',').find_map(|field| field.split_once('=').filter(|(known, _)| *known == name));
    let ((_, host), (_, port)) = (field("ip")?, field("port")?);
    HostPort::new(host, port.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_link_status:up\r\n\
                           master_sync_in_progress:0\r\nslave_read_repl_offset:120\r\nslave_repl_offset:100\r\n\
                           connected_slaves:0\r\nmaster_replid:aa\r\nmaster_repl_offset:100\r\n\
                           # Server\r\navailability_zone:eu-1a\r\n";
    const PRIMARY: &str = "role:master\r\nconnected_slaves:1\r\n\
                           slave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\nslave_priority:100\r\nmaster_replid:aa\r\nmaster_repl_offset:1100\r\n";

    fn read(text: &str) -> ServerReport {
        ServerReport::read(text).expect("a report")
    }

    /// Guards against: the offset of a primary read from the line of a replica.
    #[test]
    fn a_report_is_read_from_the_words_of_a_server() {
        let replica = read(REPLICA);
        assert!(!replica.is_primary && replica.link_is_up && !replica.is_syncing);
        assert_eq!((replica.offset, replica.zone.as_deref(), replica.history.as_deref()), (100, Some("eu-1a"), Some("aa")));
        let primary = read(PRIMARY);
        assert_eq!((primary.is_primary, primary.offset), (true, 1_100));
        assert_eq!(primary.followers, [HostPort::new("10.0.0.2", 6380).expect("a place")]);
        assert!(ServerReport::read("redis_version:7.0.15\r\n").is_err());
        assert!(ServerReport::read("").is_err());
    }

    /// Guards against: each of the reasons left out, and a lag compared by its lower bound.
    #[test]
    fn s6_a_replica_is_fit_if_it_copies_this_primary_and_lacks_no_more_than_the_setting_allows() {
        let (replica, primary) = (read(REPLICA), read(PRIMARY));
        let lag = |replica: &ServerReport, most| replica.fitness(Some(&primary), true, most);
        assert_eq!(lag(&replica, 1_000), Ok(1_000));
        assert_eq!(lag(&replica, 999), Err(Unfitness::Lags(1_000)));
        assert_eq!(lag(&ServerReport { offset: 2_000, ..replica.clone() }, 0), Ok(0), "it was asked later");
        assert_eq!(lag(&ServerReport { is_syncing: true, ..replica.clone() }, 9_999), Err(Unfitness::Syncing));
        assert_eq!(lag(&ServerReport { is_loading: true, ..replica.clone() }, 9_999), Err(Unfitness::Loading));
        assert_eq!(lag(&ServerReport { history: Some(Arc::from("bb")), ..replica.clone() }, 9_999), Err(Unfitness::OtherHistory));
        assert_eq!(lag(&primary, 9_999), Err(Unfitness::IsPrimary));
        let cut_off = ServerReport { link_is_up: false, ..replica.clone() };
        assert_eq!(lag(&cut_off, 9_999), Err(Unfitness::LinkDown));
        assert_eq!(cut_off.fitness(Some(&primary), false, 1_000), Ok(1_000), "the primary is gone: nothing is written");
        assert_eq!(cut_off.fitness(Some(&primary), false, 999), Err(Unfitness::Lags(1_000)));
        assert_eq!(cut_off.fitness(None, false, 999), Err(Unfitness::LinkDown), "it may lack anything");
        assert_eq!(replica.fitness(None, false, 0), Ok(0));
    }
}

//! How requests end, as kinds that are counted.

use redis_manager_core::{CountKey, count_key};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestResult {
    /// It got its reply, and no error is among the replies.
    Ok,
    /// The server replied with an error, or with an error to one of several commands.
    ServerError,
    /// It may have been sent, and got no reply in time.
    TimedOut,
    /// It may have been sent, and its connection ended before the reply.
    OutcomeUnknown,
    /// It was not sent: the connection was lost before, there was none in time, or the pools are closed.
    NotSent,
    /// It was refused before it was sent: this client cannot send it.
    Refused,
    /// Its future was dropped before its end.
    Cancelled,
}

count_key! { RequestResult:
    Ok "ok", ServerError "server_error", TimedOut "timed_out", OutcomeUnknown "outcome_unknown", NotSent "not_sent",
    Refused "refused", Cancelled "cancelled",
}

/// The kind of client that a request was sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestWay {
    /// A [`Client`](crate::Client), a [`PubSub`](crate::PubSub), or the hook `after_connect`.
    Exclusive,
    /// A [`SharedClient`](crate::SharedClient); at a node of a cluster, any client of the whole cluster.
    Shared,
}

count_key! { RequestWay: Exclusive "exclusive", Shared "shared", }

/// The first word of a server's error, as one of a fixed list. Its label is that word in small letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerErrorCode {
    /// `ASK`: this key of the slot is at another node already.
    Ask,
    /// `BUSY`: a script runs for too long.
    Busy,
    /// `CLUSTERDOWN`: the cluster is down, or the slot has no owner.
    ClusterDown,
    /// `CROSSSLOT`: the keys belong to several slots.
    CrossSlot,
    /// `ERR`: no more specific code.
    Err,
    /// `EXECABORT`: a transaction was discarded because one of its commands was refused.
    ExecAbort,
    /// `LOADING`: the server loads its data.
    Loading,
    /// `MASTERDOWN`: a replica without a link to its primary.
    MasterDown,
    /// `MOVED`: the slot belongs to another node.
    Moved,
    /// `NOAUTH`: the server needs a login.
    NoAuth,
    /// `NOPERM`: the user has no permission.
    NoPerm,
    /// `NOSCRIPT`: no script has this hash.
    NoScript,
    /// `OOM`: the server has reached its limit of memory.
    Oom,
    /// `READONLY`: a write to a replica.
    ReadOnly,
    /// `TRYAGAIN`: a part of the keys is at another node already.
    TryAgain,
    /// `WRONGTYPE`: the key holds another type.
    WrongType,
    /// Any other code: those of scripts and modules, for example.
    Other,
}

count_key! { ServerErrorCode:
    Ask "ask", Busy "busy", ClusterDown "clusterdown", CrossSlot "crossslot", Err "err", ExecAbort "execabort",
    Loading "loading", MasterDown "masterdown", Moved "moved", NoAuth "noauth", NoPerm "noperm", NoScript "noscript",
    Oom "oom", ReadOnly "readonly", TryAgain "tryagain", WrongType "wrongtype", Other "other",
}

impl ServerErrorCode {
    /// The code of an error. Servers send codes in capital letters.
    pub(crate) fn of(code: &str) -> Self {
        match code {
            "ASK" => Self::Ask,
            "BUSY" => Self::Busy,
            "CLUSTERDOWN" => Self::ClusterDown,
            "CROSSSLOT" => Self::CrossSlot,
            "ERR" => Self::Err,
            "EXECABORT" => Self::ExecAbort,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::MasterDown,
            "MOVED" => Self::Moved,
            "NOAUTH" => Self::NoAuth,
            "NOPERM" => Self::NoPerm,
            "NOSCRIPT" => Self::NoScript,
            "OOM" => Self::Oom,
            "READONLY" => Self::ReadOnly,
            "TRYAGAIN" => Self::TryAgain,
            "WRONGTYPE" => Self::WrongType,
            _ => Self::Other,
        }
    }

    /// Whether another node is to execute the command, or this one later.
    #[must_use]
    pub fn is_redirection(self) -> bool {
        match self {
            Self::Ask | Self::ClusterDown | Self::Loading | Self::MasterDown | Self::Moved | Self::ReadOnly | Self::TryAgain => {
                true
            }
            Self::Busy
            | Self::CrossSlot
            | Self::Err
            | Self::ExecAbort
            | Self::NoAuth
            | Self::NoPerm
            | Self::NoScript
            | Self::Oom
            | Self::WrongType
            | Self::Other => false,
        }
    }
}

/// A [`RequestResult`] with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    Ok,
    TimedOut,
    OutcomeUnknown,
    NotSent,
    Refused,
    Cancelled,
    ServerError(ServerErrorCode),
}

impl RequestEnd {
    /// How many there are: each code is one.
    pub(crate) const COUNT: usize = Self::CODES_FROM + ServerErrorCode::ALL.len();
    const CODES_FROM: usize = 6;

    /// Its place among all of them.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::TimedOut => 1,
            Self::OutcomeUnknown => 2,
            Self::NotSent => 3,
            Self::Refused => 4,
            Self::Cancelled => 5,
            Self::ServerError(code) => Self::CODES_FROM + code as usize,
        }
    }

    /// Whether the time until it says something about the server: the request was sent, and its caller waited to the end.
    pub(crate) fn is_timed(self) -> bool {
        match self {
            Self::Ok | Self::TimedOut | Self::OutcomeUnknown | Self::ServerError(_) => true,
            Self::NotSent | Self::Refused | Self::Cancelled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Seen to bite: with `OOM` left out of `of`.
    #[test]
    fn the_label_of_a_code_is_the_code_in_small_letters() {
        for code in ServerErrorCode::ALL {
            assert_eq!(ServerErrorCode::of(&code.label().to_uppercase()), *code, "{code:?}");
        }
        assert_eq!(
            [ServerErrorCode::of("moved"), ServerErrorCode::of(""), ServerErrorCode::of("NOPROTO")].map(CountKey::label),
            ["other"; 3]
        );
    }

    /// Seen to bite: with `CODES_FROM` = 5.
    #[test]
    fn every_end_has_a_place_of_its_own() {
        use RequestEnd::{Cancelled, NotSent, Ok, OutcomeUnknown, Refused, TimedOut};
        let codes = ServerErrorCode::ALL.iter().map(|code| RequestEnd::ServerError(*code));
        let all = [Ok, TimedOut, OutcomeUnknown, NotSent, Refused, Cancelled].into_iter().chain(codes);
        let places: BTreeSet<_> = all.map(RequestEnd::index).collect();
        assert_eq!(places, (0..RequestEnd::COUNT).collect());
    }
}

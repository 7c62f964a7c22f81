//! The name under which a request is timed: one of a fixed list, whatever users send.

use redis::{Arg, Cmd};

use crate::connection::resp::request::Outgoing;
use crate::redis_node::commands::{name_of_number, names, number_of_name};

/// Those that are no names of commands.
const OTHERS: [&str; 3] = ["other", "pipeline", "transaction"];
pub(crate) const OTHER: usize = 0;
const PIPELINE: usize = 1;
const TRANSACTION: usize = 2;

/// How many labels there are.
pub(crate) fn labels() -> usize {
    OTHERS.len() + names()
}

/// The number of the label of a request.
pub(crate) fn label_of(request: Outgoing<'_>) -> usize {
    match request {
        Outgoing::Command(cmd) | Outgoing::Subscription { cmd, .. } => label_of_command(cmd),
        Outgoing::Pipeline { .. } if request.is_transaction() => TRANSACTION,
        Outgoing::Pipeline { .. } | Outgoing::Batch(_) => PIPELINE,
    }
}

fn label_of_command(cmd: &Cmd) -> usize {
    let number = match cmd.args_iter().next() {
        Some(Arg::Simple(text)) => number_of_name(text),
        Some(Arg::Cursor | _) | None => None,
    };
    number.map_or(OTHER, |number| OTHERS.len() + number)
}

/// The text of a label: the name of a command in small letters, `pipeline`, `transaction` for an atomic pipeline, or `other`.
pub(crate) fn text_of_label(label: usize) -> String {
    match OTHERS.get(label) {
        Some(text) => String::from(*text),
        None => name_of_number(label - OTHERS.len()).map_or_else(|| String::from(OTHERS[OTHER]), |name| name.to_small_letters()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Seen to bite: with `multi` for an atomic pipeline, which is the name of a command; with a label more than there are names.
    #[test]
    fn every_name_of_the_tables_is_a_label_of_its_own_and_any_other_text_is_other() {
        let texts: BTreeSet<_> = (0..labels()).map(text_of_label).collect();
        assert_eq!(texts.len(), labels());
        for name in ["GET", "get", "XREADGROUP", "Tdigest.Trimmed_Mean", "CLIENT", "ZUNIONSTORE", "ACL"] {
            assert_eq!(text_of_label(label_of(Outgoing::Command(&redis::cmd(name)))), name.to_lowercase());
        }
        for text in ["user:4711", "", "GET\0", "other", "pipeline"] {
            assert_eq!(label_of(Outgoing::Command(&redis::cmd(text))), OTHER, "{text}");
        }
        let mut pipeline = redis::pipe();
        assert_eq!(text_of_label(label_of(Outgoing::whole(&pipeline))), "pipeline");
        pipeline.atomic();
        assert_eq!(text_of_label(label_of(Outgoing::whole(&pipeline))), "transaction");
    }
}

//! How replies of several nodes become one.

use redis::{ServerErrorKind, Value};

use super::{cmd, error, text, words_of};
use crate::deployment::router::{Destination, Gather, Gathering, Routed, SplitPart, route_command};

/// What nodes 1, 2, ... reply, each in its turn.
fn of_nodes(gather: Gather, replies: impl IntoIterator<Item = Value, IntoIter: ExactSizeIterator>) -> Value {
    let replies = replies.into_iter();
    let mut gathering = Gathering::new(gather, 0, replies.len());
    for (part, reply) in replies.enumerate() {
        gathering.put(part, &format!("node{}:6379", part + 1), None, reply);
    }
    gathering.finish()
}

fn split(line: &str) -> (Vec<SplitPart>, Gathering) {
    let Ok(Routed { to: Destination::Split(parts, gather), .. }) = route_command(&cmd(line)) else { panic!("not split: {line}") };
    let items = parts.iter().map(|part| part.places.len()).sum();
    let gathering = Gathering::new(gather, items, parts.len());
    (parts, gathering)
}

fn array<const COUNT: usize>(items: [Value; COUNT]) -> Value {
    Value::Array(items.into())
}

/// Seen to bite: with the items in the order in which the parts arrive.
#[test]
fn the_items_of_a_split_command_are_in_the_places_of_their_keys() {
    let (parts, mut gathering) = split("MGET a b {a}1 c b");
    gathering.put(2, "node1:6379", Some(&parts[2]), array([text("c")]));
    gathering.put(0, "node2:6379", Some(&parts[0]), array([text("a"), Value::Nil]));
    gathering.put(1, "node1:6379", Some(&parts[1]), array([text("b"), text("b")]));
    assert_eq!(gathering.finish(), array([text("a"), text("b"), Value::Nil, text("c"), text("b")]));
}

/// Seen to bite: with the words of the server alone, and with a reply of any length.
#[test]
fn the_keys_of_a_part_that_is_refused_have_the_error_and_the_others_their_values() {
    let (parts, mut gathering) = split("MGET a b {a}1 c");
    gathering.put(0, "node1:6379", Some(&parts[0]), error("NOPERM you may not"));
    gathering.put(1, "node2:6379", Some(&parts[1]), array([text("b")]));
    gathering.put(2, "node2:6379", Some(&parts[2]), array([text("c"), text("d")]));
    let Value::Array(items) = gathering.finish() else { panic!("an array") };
    assert_eq!(items[1], text("b"));
    assert_eq!(words_of(&items[0]), "NOPERM you may not (\"a\" at node1:6379)");
    assert_eq!(words_of(&items[2]), "NOPERM you may not (\"{a}1\" at node1:6379)");
    let Value::ServerError(error) = &items[0] else { panic!("an error") };
    assert_eq!(error.kind(), Some(ServerErrorKind::NoPerm));
    assert!(words_of(&items[3]).starts_with("ERR the replies of the nodes"), "two items for one key: {:?}", items[3]);
}

/// Seen to bite: with the error of the last part, and with the refused part among the others.
#[test]
fn a_refusal_says_which_keys_it_is_about_and_what_became_of_the_others() {
    let (parts, mut gathering) = split("DEL a b c");
    gathering.put(2, "node3:6379", Some(&parts[2]), error("NOPERM you may not"));
    gathering.put(0, "node1:6379", Some(&parts[0]), Value::Int(1));
    gathering.put(1, "node2:6379", Some(&parts[1]), error("CLUSTERDOWN Hash slot not served"));
    assert_eq!(
        words_of(&gathering.finish()),
        "CLUSTERDOWN Hash slot not served (\"b\" at node2:6379; 1 of the other 2 parts were carried out)"
    );
    let refused = of_nodes(Gather::AllSucceeded, [Value::Okay, error("MYCODE"), Value::Okay]);
    assert_eq!(words_of(&refused), "MYCODE (at node2:6379; 2 of the other 2 nodes carried it out)");
    assert_eq!(words_of(&of_nodes(Gather::Sum, [error("ERR no")])), "ERR no (at node1:6379)");
}

/// Seen to bite: with the sum of what is wanted the least of, and with a script on one node taken for one on all.
#[test]
fn numbers_of_nodes_become_one() {
    let ints = |items: &[i64]| Value::Array(items.iter().copied().map(Value::Int).collect());
    assert_eq!(of_nodes(Gather::Sum, [1, 2, 3].map(Value::Int)), Value::Int(6));
    assert_eq!(of_nodes(Gather::Sum, [i64::MAX, 1].map(Value::Int)), Value::Int(i64::MAX));
    assert_eq!(of_nodes(Gather::Min, [3, 1, 2].map(Value::Int)), Value::Int(1));
    assert_eq!(of_nodes(Gather::Min, [ints(&[1, 5]), ints(&[0, 7])]), ints(&[0, 5]));
    assert_eq!(of_nodes(Gather::LogicalAnd, [ints(&[1, 1, 0]), ints(&[1, 0, 0])]), ints(&[1, 0, 0]));
    let unlike = of_nodes(Gather::Sum, [Value::Int(1), Value::Okay]);
    assert!(words_of(&unlike).starts_with("ERR the replies of the nodes"), "{unlike:?}");
}

/// Seen to bite: with the last reply in the place of the first one, and with NOTBUSY before the error that matters.
#[test]
fn all_must_succeed_or_one_must() {
    assert_eq!(of_nodes(Gather::AllSucceeded, [text("sha1"), text("sha2")]), text("sha1"));
    let idle = || error("NOTBUSY No scripts in execution right now.");
    assert_eq!(of_nodes(Gather::OneSucceeded, [idle(), Value::Okay, idle()]), Value::Okay);
    let all_idle = of_nodes(Gather::OneSucceeded, [idle(), idle()]);
    assert_eq!(
        words_of(&all_idle),
        "NOTBUSY No scripts in execution right now. (at node1:6379; 0 of the other 1 nodes carried it out)"
    );
    let one_refuses = of_nodes(Gather::OneSucceeded, [idle(), error("UNKILLABLE it has written"), idle()]);
    assert!(words_of(&one_refuses).starts_with("UNKILLABLE"), "{one_refuses:?}");
}

/// Seen to bite: with nil where a node has refused.
#[test]
fn a_random_key_is_of_any_node_that_has_one() {
    assert_eq!(of_nodes(Gather::AnyNonNil, [Value::Nil, text("a"), error("ERR no")]), text("a"));
    assert_eq!(of_nodes(Gather::AnyNonNil, [Value::Nil, Value::Nil]), Value::Nil);
    assert!(words_of(&of_nodes(Gather::AnyNonNil, [Value::Nil, error("ERR no")])).starts_with("ERR no (at node2:6379"));
}

/// Seen to bite: with the map in the order in which the nodes reply.
#[test]
fn what_differs_from_node_to_node_is_a_map_with_the_errors_in_it() {
    let mut gathering = Gathering::new(Gather::ByNode, 0, 2);
    gathering.put(1, "node2:6379", None, error("NOPERM you may not"));
    gathering.put(0, "node1:6379", None, text("info"));
    let Value::Map(pairs) = gathering.finish() else { panic!("a map") };
    assert_eq!(pairs[0], (text("node1:6379"), text("info")));
    assert_eq!(words_of(&pairs[1].1), "NOPERM you may not (at node2:6379)");
}

#[test]
fn lists_and_counts_of_nodes_become_one() {
    let keys = of_nodes(Gather::Concatenated, [array([text("a")]), array([]), array([text("b")])]);
    assert_eq!(keys, array([text("a"), text("b")]));
    let counts = of_nodes(Gather::SummedPairs, [array([text("a"), Value::Int(1)]), array([text("a"), Value::Int(2)])]);
    assert_eq!(counts, array([text("a"), Value::Int(3)]));
}

/// A reply that is missing would be a value that no server has said.
#[test]
#[should_panic(expected = "1 of 2 parts have replied")]
fn a_gathering_that_is_not_complete_gives_no_reply() {
    let mut gathering = Gathering::new(Gather::Sum, 0, 2);
    gathering.put(0, "node1:6379", None, Value::Int(1));
    gathering.finish();
}

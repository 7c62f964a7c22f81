//! Where commands and transactions go.

use redis::{Cmd, Pipeline};

use super::{cmd, line};
use crate::deployment::router::{
    Access, Destination, Gather, NodeSet, RouteError, Routed, SplitPart, route_command, route_transaction, slot_of,
};

/// The destination in few words.
fn shown(line: &str) -> String {
    match route_command(&cmd(line)) {
        Ok(Routed { access, to: Destination::Slot(slot) }) => format!("{access:?} {slot}"),
        Ok(Routed { access, to: Destination::AnyNode }) => format!("{access:?} any"),
        Ok(Routed { to: Destination::Nodes(nodes, gather), .. }) => format!("{nodes:?} {gather:?}"),
        Ok(Routed { access, to: Destination::Split(parts, gather) }) => format!("{access:?} {gather:?} {}", parts.len()),
        Err(error) => error.to_string(),
    }
}

fn parts_of(cmd: &Cmd) -> Vec<SplitPart> {
    match route_command(cmd) {
        Ok(Routed { to: Destination::Split(parts, _), .. }) => parts,
        other => panic!("not split: {other:?}"),
    }
}

fn one_slot(cmd: &Cmd) -> u16 {
    match route_command(cmd) {
        Ok(Routed { to: Destination::Slot(slot), .. }) => slot,
        other => panic!("not of one slot: {other:?}"),
    }
}

/// The slots: a 15495, b 3300, c 7365.
///
/// Seen to bite: with any node for CLUSTER GETKEYSINSLOT, with a slot of 16384, with 65541 as slot 5, with keys that are not looked
/// at, and with an MSET without its last value that is split.
#[test]
fn a_command_goes_to_its_keys_or_to_the_nodes_that_it_is_about() {
    for (line, expected) in [
        ("GET a", "Read 15495"),
        ("SET a 1", "Write 15495"),
        ("EVAL script 1 a", "Write 15495"),
        ("EVAL_RO script 1 a", "Read 15495"),
        ("EVAL script 0", "Write any"),
        ("NOSUCHCOMMAND a", "Write 15495"),
        ("PUBLISH a b", "Write any"),
        ("SPUBLISH a b", "Write 15495"),
        ("TIME", "Write any"),
        ("COMMAND DOCS get", "Write any"),
        ("COMMAND", "Write any"),
        ("CLUSTER KEYSLOT a", "Write any"),
        ("CLUSTER GETKEYSINSLOT 5 10", "Write 5"),
        ("cluster countkeysinslot 16383", "Write 16383"),
        ("CLUSTER COUNTKEYSINSLOT 16384", "Write any"),
        ("CLUSTER COUNTKEYSINSLOT 65541", "Write any"),
        ("MGET a a{a}", "Read 15495"),
        ("MGET", "Read any"),
        ("MGET a b c b", "Read ByPosition 3"),
        ("MSET a 1 b 2", "Write AllSucceeded 2"),
        ("DEL a b", "Write Sum 2"),
        ("EXISTS a b", "Read Sum 2"),
        ("DBSIZE", "Primaries Sum"),
        ("KEYS *", "Primaries Concatenated"),
        ("FLUSHALL", "Primaries AllSucceeded"),
        ("WAIT 1 0", "Primaries Min"),
        ("RANDOMKEY", "Primaries AnyNonNil"),
        ("INFO", "Primaries ByNode"),
        ("CONFIG GET *", "All ByNode"),
        ("CONFIG SET a b", "All AllSucceeded"),
        ("SCRIPT LOAD x", "All AllSucceeded"),
        ("script exists x", "Primaries LogicalAnd"),
        ("SCRIPT KILL", "Primaries OneSucceeded"),
        ("FUNCTION LOAD x", "Primaries AllSucceeded"),
        ("PUBSUB NUMSUB a", "All SummedPairs"),
        ("SLOWLOG GET", "All ByNode"),
        ("SCAN 0", "SCAN is about one node, and the cluster has several: nothing was sent; `RedisManager::scan` asks all nodes"),
        (
            "Cluster Reset HARD",
            "CLUSTER RESET is about one node, and the cluster has several: nothing was sent; `RedisManager::get_client_of_node` \
             gives a client of the node that is meant",
        ),
        (
            "SINTER a {a}x b",
            "SINTER has keys of two slots, \"a\" of slot 15495 and \"b\" of slot 3300: nothing was sent; keys with the same {hash \
             tag} are of one slot",
        ),
        ("MSET a 1 b", "MSET cannot be split by slot, its number of arguments is wrong: nothing was sent"),
        // The server says it.
        ("MSET a 1 {a}b", "Write 15495"),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
}

/// Seen to bite: with parts in the order of their slots, and without what follows the keys.
#[test]
fn a_command_is_split_in_the_order_of_the_first_key_of_each_slot() {
    let lines = |whole: &str| {
        let parts = parts_of(&cmd(whole));
        assert!(parts.iter().all(|part| one_slot(&part.cmd) == part.slot));
        parts.iter().map(|part| format!("{} {:?}", line(&part.cmd), part.places)).collect::<Vec<_>>()
    };
    assert_eq!(lines("mget a b {a}1 c b"), ["mget a {a}1 [0, 2]", "mget b b [1, 4]", "mget c [3]"]);
    assert_eq!(lines("MSET a 1 b 2 {a}1 3"), ["MSET a 1 {a}1 3 [0, 2]", "MSET b 2 [1]"]);
    assert_eq!(lines("JSON.MGET a b $.x"), ["JSON.MGET a $.x [0]", "JSON.MGET b $.x [1]"]);
    assert_eq!(lines("JSON.MSET a $ 1 b $ 2"), ["JSON.MSET a $ 1 [0]", "JSON.MSET b $ 2 [1]"]);
}

/// More slots than a command of a few keys has.
#[test]
fn a_command_with_a_key_of_each_slot_has_a_part_for_each() {
    let mut unlink = redis::cmd("UNLINK");
    let keys: Vec<String> = (0..200_000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        unlink.arg(key);
    }
    let parts = parts_of(&unlink);
    assert_eq!(parts.len(), 16_384);
    assert_eq!(parts.iter().map(|part| part.places.len()).sum::<usize>(), keys.len());
    for part in &parts {
        assert!(part.places.iter().all(|place| slot_of(keys[*place].as_bytes()) == part.slot));
    }
}

fn transaction(lines: &[&str]) -> Result<Option<u16>, RouteError> {
    let mut pipeline = Pipeline::new();
    pipeline.atomic();
    for line in lines {
        pipeline.add_command(cmd(line));
    }
    route_transaction(&pipeline)
}

/// Seen to bite: with only the first key of each command, and with the slot of the last one.
#[test]
fn a_transaction_has_one_slot_or_none() {
    assert_eq!(transaction(&[]), Ok(None));
    assert_eq!(transaction(&["TIME", "PUBLISH a b"]), Ok(None));
    assert_eq!(transaction(&["TIME", "SET a 1", "MGET {a}1 {a}2", "CLUSTER COUNTKEYSINSLOT 15495"]), Ok(Some(15495)));
    let crossed = RouteError::CrossSlot {
        command: "MGET".into(),
        first_key: "a".into(),
        first_slot: 15495,
        other_key: "b".into(),
        other_slot: 3300,
    };
    assert_eq!(transaction(&["SET a 1", "MGET {a}1 b"]), Err(crossed));
    assert_eq!(transaction(&["DBSIZE"]), Err(RouteError::NotInATransaction { command: "DBSIZE".into() }));
    let needs_one_node = |result| matches!(result, Err(RouteError::NeedsOneNode { command, .. }) if command == "SCAN");
    assert!(needs_one_node(transaction(&["SET a 1", "SCAN 0"])));
}

#[test]
fn an_empty_command_goes_anywhere() {
    let Ok(Routed { access: Access::Write, to: Destination::AnyNode }) = route_command(&Cmd::new()) else {
        panic!("it does not")
    };
    let Ok(Routed { to: Destination::Nodes(NodeSet::Primaries, Gather::Sum), .. }) = route_command(&cmd("dbSize")) else {
        panic!("a name in any case")
    };
}

use redis::Value;

use super::*;

const NODES: &str = "\
aa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n\
bb 127.0.0.1:7002@17002,host.b master - 0 1 2 connected 5461-10922 [10923->-cc]\n\
cc 127.0.0.1:7003@17003 master - 0 1 3 connected 10923-16383\n\
dd 127.0.0.1:7004@17004 slave aa 0 1 1 connected\n\
ee :7005@17005 slave bb 0 1 2 connected\n\
ff 127.0.0.1:0@0 master,noaddr - 0 1 0 disconnected\n";

const ASKED: Asked<'static> = Asked { address: "10.9.9.9:7001", tls: false };

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

fn node(endpoint: Value, port: i64, id: &str) -> Value {
    list([endpoint, Value::Int(port), text(id), list([])])
}

fn range(first: i64, last: i64, nodes: impl IntoIterator<Item = Value>) -> Value {
    list([Value::Int(first), Value::Int(last)].into_iter().chain(nodes))
}

fn read(slots: Option<&Value>, nodes: Option<&str>) -> Result<TopologyReport, ReportFault> {
    read_report(slots, nodes.map(text).as_ref(), None, ASKED)
}

/// `id address role slots` of each node.
fn shown(report: &TopologyReport) -> Vec<String> {
    let show = |node: &ReportedNode| format!("{} {} {:?} {:?}", node.id, node.address, node.role, node.slots);
    report.nodes.iter().map(show).collect()
}

#[test]
fn k1_nodes_are_read_with_owners_roles_and_addresses() {
    let report = read(None, Some(NODES)).expect("it is well formed");
    assert_eq!(report.nodes.len(), 5, "a node without an address is none");
    assert_eq!(shown(&report)[1], "bb 127.0.0.1:7002 Primary [5461..=10922]", "what is on its way is no slot of another");
    assert_eq!(shown(&report)[4], "ee 10.9.9.9:7005 Replica []", "a host that is left out is the one asked");
    assert_eq!((report.nodes[3].primary.as_deref(), report.nodes[1].epoch), (Some("aa"), Some(2)));
    assert!(report.is_owned());
}

/// Seen to bite: with the addresses of `NODES` in place of the endpoints, and with a null endpoint that is no host.
#[test]
fn k1_endpoints_are_those_that_clients_are_to_use_in_every_preference() {
    let names = list([
        range(0, 5460, [node(text("host.a"), 7001, "aa"), node(text("host.d"), 7004, "dd")]),
        range(5461, 10922, [node(text("host.b"), 7002, "bb")]),
        range(10923, 16383, [node(text("?"), 7003, "cc")]),
    ]);
    let report = read(Some(&names), Some(NODES)).expect("it is well formed");
    assert_eq!(
        shown(&report),
        [
            "aa host.a:7001 Primary [0..=5460]",
            "bb host.b:7002 Primary [5461..=10922]",
            "cc 10.9.9.9:7003 Primary [10923..=16383]",
            "dd host.d:7004 Replica []",
            "ee 10.9.9.9:7005 Replica []",
        ]
    );
    let unknown = list([range(0, 16383, [node(Value::Nil, 7001, "aa"), node(Value::Nil, 7004, "dd")])]);
    let report = read(Some(&unknown), None).expect("it is well formed");
    assert_eq!(shown(&report), ["aa 10.9.9.9:7001 Primary [0..=16383]", "dd 10.9.9.9:7004 Replica []"]);
    assert_eq!(report.nodes[1].primary.as_deref(), Some("aa"));
}

/// Seen to bite: without the look at `health`.
#[test]
fn k1_shards_are_read_for_users_who_may_ask_nothing_else() {
    let member = |id: &str, port: i64, role: &str, health: &str| {
        let fields = [("id", text(id)), ("port", Value::Int(port)), ("tls-port", Value::Int(port + 100))];
        let words = [("endpoint", text("10.0.0.1")), ("role", text(role)), ("health", text(health))];
        let zone = [("availability-zone", text("eu-1a"))];
        list(fields.into_iter().chain(words).chain(zone).flat_map(|(name, value)| [text(name), value]))
    };
    let shard = |members: Vec<Value>| {
        Value::Map(vec![(text("slots"), list([0, 100, 200, 16383].map(Value::Int))), (text("nodes"), list(members))])
    };
    let failed_over = [member("old", 7001, "master", "fail"), member("new", 7002, "master", "online")];
    let reply = list([shard(failed_over.into())]);
    let report = read_report(None, None, Some(&reply), ASKED).expect("it is well formed");
    assert_eq!(
        shown(&report),
        ["old 10.0.0.1:7001 Replica []", "new 10.0.0.1:7002 Primary [0..=100, 200..=16383]"],
        "the one that lives is the owner"
    );
    assert_eq!((report.nodes[1].zone.as_deref(), report.nodes[0].failed), (Some("eu-1a"), true));
    let over_tls = Asked { tls: true, ..ASKED };
    let report = read_report(None, None, Some(&reply), over_tls).expect("it is well formed");
    assert_eq!(&*report.nodes[1].address, "10.0.0.1:7102");
}

/// Seen to bite: without the check for overlaps, and with ports and slots that are cut off to 16 bits.
#[test]
fn a_report_that_cannot_be_is_refused_with_what_is_wrong() {
    let of = |first, last, port| list([range(first, last, [node(text("a"), port, "aa")])]);
    let overlap = list([range(0, 100, [node(text("a"), 1, "aa")]), range(100, 200, [node(text("b"), 2, "bb")])]);
    let twice = list([range(0, 100, [node(text("a"), 1, "aa")]), range(101, 200, [node(text("a"), 1, "bb")])]);
    for (reply, words) in [
        (of(0, 16384, 1), "it reports the slots 0 to 16384, and there are 0 to 16383"),
        (of(-1, 5, 1), "it reports the slots -1 to 5, and there are 0 to 16383"),
        (of(7, 5, 1), "it reports the slots 7 to 5, and there are 0 to 16383"),
        (of(0, 5, 0), "it reports the port 0 of a"),
        (of(0, 5, 65_537), "it reports the port 65537 of a"),
        (overlap, "it reports slot 100 twice, of a:1 and of b:2"),
        (twice, "it reports a:1 twice, as aa and as bb"),
        (list([]), "it reports no nodes"),
        (Value::Int(3), "its reply to CLUSTER SLOTS has an unexpected form"),
        (list([Value::Nil]), "its reply to CLUSTER SLOTS has an unexpected form"),
    ] {
        assert_eq!(read(Some(&reply), None).expect_err(words).to_string(), words);
    }
    for lines in ["nonsense", "aa 127.0.0.1 master - 0 0 1 connected", "aa 127.0.0.1:x@1 master - 0 0 1 connected 1-x"] {
        assert_eq!(read(None, Some(lines)), Err(ReportFault::Form { command: "NODES" }), "{lines}");
    }
}

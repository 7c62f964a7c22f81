//! What the machine does by itself: the virtual clock, its settings, connections that go, and any bytes at all.

use std::time::Duration;

use redis_manager::runtime::Instant;
use redis_manager::testing::fake_redis::{ConnectionId, FakeUser, Output, Server};

use crate::generator::CommandDice;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn outputs(server: &mut Server) -> Vec<Output> {
    std::iter::from_fn(|| server.poll_output()).collect()
}

/// What an inline command gets on this connection.
fn ask(server: &mut Server, ms: u64, id: ConnectionId, text: &str) -> String {
    server.received(at(ms), id, format!("{text}\r\n").as_bytes());
    let own = outputs(server).into_iter().filter_map(|output| match output {
        Output::Send(to, bytes) if to == id => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Output::Close(of) if of == id => Some("closed".into()),
        Output::Send(..) | Output::Close(_) => None,
    });
    own.collect()
}

fn connect(server: &mut Server) -> ConnectionId {
    server.connected(Instant::ZERO, "10.0.0.1:1000").expect("it takes connections")
}

#[test]
fn keys_expire_and_waits_end_on_the_virtual_clock() {
    let mut server = Server::new(1);
    let id = connect(&mut server);
    assert_eq!(ask(&mut server, 0, id, "SET k v PX 100"), "+OK\r\n");
    assert_eq!(server.next_deadline(), Some(at(100)));
    assert_eq!(ask(&mut server, 99, id, "PTTL k"), ":1\r\n");
    assert_eq!(ask(&mut server, 100, id, "GET k"), "$-1\r\n");
    assert_eq!(ask(&mut server, 100, id, "BLPOP q 0.5"), "");
    assert_eq!(server.next_deadline(), Some(at(600)));
    server.tick(at(600));
    assert_eq!(outputs(&mut server), [Output::Send(id, b"*-1\r\n".to_vec())]);
    assert_eq!(server.next_deadline(), None);
}

#[test]
fn nothing_is_popped_for_a_connection_that_has_closed() {
    let mut server = Server::new(1);
    let (first, second) = (connect(&mut server), connect(&mut server));
    ask(&mut server, 0, first, "BLPOP q 0");
    assert!(server.connections()[0].blocked);
    server.closed(at(1), first);
    assert_eq!(ask(&mut server, 2, second, "RPUSH q a"), ":1\r\n");
    assert_eq!(ask(&mut server, 2, second, "LLEN q"), ":1\r\n");
    assert_eq!((server.count_of("BLPOP"), server.count_of("RPUSH")), (0, 1));
    assert_eq!(server.journal().len(), 3);
}

#[test]
fn the_settings_are_obeyed() {
    let mut server = Server::new(1);
    let id = connect(&mut server);
    server.settings().loading = true;
    assert_eq!(ask(&mut server, 0, id, "GET k"), "-LOADING Redis is loading the dataset in memory\r\n");
    server.settings().loading = false;
    server.settings().read_only = true;
    assert_eq!(ask(&mut server, 0, id, "SET k v"), "-READONLY You can't write against a read only replica.\r\n");
    server.settings().read_only = false;
    server.settings().wrong_reply(":7\r\n");
    assert_eq!(ask(&mut server, 0, id, "SET k v"), ":7\r\n");
    assert_eq!(ask(&mut server, 0, id, "EXISTS k"), ":0\r\n");
    server.settings().script = Some(Box::new(|words| (words[0] == b"MINE").then(|| b"+mine\r\n".to_vec())));
    assert_eq!(ask(&mut server, 0, id, "MINE"), "+mine\r\n");
    let user = FakeUser { keys: Some(vec!["a:*".into()]), ..FakeUser::default() };
    server.settings().users.insert("ann".into(), user);
    assert_eq!(ask(&mut server, 0, id, "AUTH ann x"), "+OK\r\n");
    assert_eq!(ask(&mut server, 0, id, "SET a:1 v"), "+OK\r\n");
    assert!(ask(&mut server, 0, id, "SET b:1 v").starts_with("-NOPERM"));
    server.settings().max_clients = 1;
    let refused = connect(&mut server);
    let error = b"-ERR max number of clients reached\r\n".to_vec();
    assert_eq!(outputs(&mut server), [Output::Send(refused, error), Output::Close(refused)]);
    server.restart(at(5), false);
    assert!(server.connections().is_empty());
    assert_eq!(connect(&mut server), refused + 1);
}

#[test]
fn any_bytes_are_answered_without_a_panic_and_the_same_bytes_get_the_same_answer() {
    const WORDS: [&str; 16] = [
        "*1\r\n",
        "*3\r\n",
        "$3\r\n",
        "$0\r\n\r\n",
        "GET",
        "\r\n",
        "*-1\r\n",
        "\"",
        "'",
        "MULTI\r\n",
        "$5",
        "EXEC\r\n",
        "\0",
        "\\x",
        "SPOP s\r\n",
        "\n",
    ];
    let history = |seed| {
        let mut dice = CommandDice::new(seed);
        let mut server = Server::new(seed);
        let mut all = Vec::new();
        for step in 0..300 {
            let id = u64::try_from(1 + dice.below(4)).expect("small");
            server.received(at(step), id, WORDS[dice.below(WORDS.len())].as_bytes());
            if dice.below(10) == 0 {
                server.connected(at(step), "10.0.0.1:1000");
            }
            all.extend(outputs(&mut server));
        }
        all
    };
    for seed in 0..200 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
}

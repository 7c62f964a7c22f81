//! A server that echoes what it does not understand, the password with it.

use redis_manager::testing::{FakeNetwork, FakeRedis, FakeRuntime};
use redis_manager::{AddNodeError, PoolArgs};

use crate::story::{MS, NAME, SECOND, Story, quiet_builder};

/// No four bytes of it are in any word of ours.
const SECRET: &str = "Zq8x-Jv5k\"Jp3y\\7Q+9Gm2h";
const IN_URL: &str = "Zq8x-Jv5k%22Jp3y%5C7Q%2B9Gm2h";

/// Everything that can be read afterwards.
#[derive(Default)]
struct ReadLater(String);

impl ReadLater {
    fn add(&mut self, shown: &(impl std::fmt::Debug + ?Sized)) {
        self.0 += &format!("{shown:?}\n{shown:#?}\n");
    }

    fn add_words(&mut self, shown: &(impl std::fmt::Debug + std::fmt::Display)) {
        self.0 += &format!("{shown}\n");
        self.add(shown);
    }

    #[track_caller]
    fn assert_holds_no_secret(&self, how: &str) {
        let shown = self.0.to_lowercase();
        for form in [SECRET.to_owned(), IN_URL.to_owned(), SECRET.escape_debug().to_string()] {
            let letters: Vec<char> = form.to_lowercase().chars().collect();
            for piece in letters.windows(4).map(|piece| piece.iter().collect::<String>()) {
                assert!(!shown.contains(&piece), "{how}: {piece:?} is in {}", self.0);
            }
        }
    }
}

fn words(command: &[Vec<u8>]) -> Vec<String> {
    command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// How a server quotes a command.
type Quoting = fn(&[Vec<u8>]) -> String;

const QUOTINGS: [(&str, Quoting); 5] = [
    ("plain", |command| format!("-ERR unknown command '{}'\r\n", words(command).join("' '"))),
    ("quoted", |command| format!("-ERR unknown command {:?}\r\n", words(command).join(" "))),
    ("escaped twice", |command| format!("-ERR unknown command {:?}\r\n", format!("{:?}", words(command)))),
    ("in hexadecimal", |command| {
        let bytes = command.concat();
        format!("-ERR unknown command {}\r\n", bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())
    }),
    ("as a status", |command| format!("+{}\r\n", words(command).join(" "))),
];

/// Guards against: what a server says kept as it is, in the error of the one who adds the node, in its status and in its events.
#[test]
fn t5_a_server_that_echoes_the_login_shows_no_password() {
    for (how, quoting) in QUOTINGS {
        for protocol in ["resp3", "resp2"] {
            let mut read = ReadLater::default();
            let runtime = FakeRuntime::new(5);
            let network = FakeNetwork::new(&runtime);
            let redis = FakeRedis::start(&network, NAME).expect("a free address");
            redis.set(|behaviour| behaviour.script = Some(Box::new(move |command| Some(quoting(command).into_bytes()))));
            let manager = quiet_builder(2).event_buffer(1_024).build(network).expect("valid settings");
            let mut events = manager.events().expect("they are on");
            let url = format!("redis://:{IN_URL}@{NAME}?protocol={protocol}");
            let node = manager.add_node_pool_lazy(&url).expect("a URL");
            runtime.advance(SECOND);
            read.add(&node.status());
            read.add_words(&manager.health());
            read.add(&manager);
            read.add_words(&runtime.block_on(node.get_client_timeout(300 * MS)).expect_err("it cannot log in"));
            let error = runtime.block_on(async {
                let mut client = node.get_shared_client().await?;
                redis_manager::redis::cmd("GET").arg("key").query_async::<Option<String>>(&mut client).await
            });
            read.add_words(&error.expect_err("it cannot log in"));
            runtime.block_on(manager.close_all_pools());
            drop((manager, node));
            let mut seen = 0;
            while let Some(event) = runtime.block_on(events.next_event()) {
                read.add_words(&event.expect("none is missed"));
                seen += 1;
            }
            assert!(seen > 0 && read.0.contains(NAME), "{how}, {protocol}: {seen} events");
            read.assert_holds_no_secret(&format!("{how}, {protocol}"));
        }
    }
}

/// As Redis 7.0 with HELLO and AUTH renamed has it: `unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' …`.
///
/// Guards against: the words of the server lost altogether.
#[test]
fn t5_a_server_that_does_not_know_hello_says_so_without_the_password() {
    let runtime = FakeRuntime::new(6);
    let network = FakeNetwork::new(&runtime);
    let redis = FakeRedis::start(&network, NAME).expect("a free address");
    redis.set(|behaviour| behaviour.disabled_commands.extend(["HELLO".into(), "AUTH".into()]));
    let manager = quiet_builder(2).build(network).expect("valid settings");
    let error = runtime.block_on(manager.add_node_pool(&format!("redis://:{IN_URL}@{NAME}"))).expect_err("it cannot log in");
    assert!(matches!(error, AddNodeError::NoHealthyPools { .. }), "{error:?}");
    let mut read = ReadLater::default();
    read.add_words(&error);
    assert!(read.0.contains("unknown command"), "{}", read.0);
    read.assert_holds_no_secret("HELLO is not known");
}

/// Guards against: what ends a connection on loan kept as it is.
#[test]
fn t5_what_a_server_echoes_later_on_shows_no_password_either() {
    let args = PoolArgs::default().command_timeout(SECOND);
    let story = Story::begin_with(7, "", |builder| builder.pool_args(args));
    story.redis.set(|behaviour| behaviour.password = Some(SECRET.to_owned()));
    let url = format!("redis://:{IN_URL}@{NAME}/1");
    let node = story.runtime.block_on(story.manager.add_node_pool(&url)).expect("the password is right");
    let mut read = ReadLater::default();
    for reply in [format!("?{SECRET}\r\n"), format!("-LOADING '{SECRET}'\r\n"), format!("-NOAUTH {SECRET:?}\r\n")] {
        let mut client = story.runtime.block_on(node.get_client()).expect("it answers");
        story.redis.set(|behaviour| behaviour.wrong_reply(reply.clone()));
        let error = story.ask::<Option<String>>(&mut client, "GET key").expect_err("no reply to GET");
        // What the server answers to a user's command is the user's, unless the connection ends with it.
        if error.is_io_error() || error.is_connection_dropped() {
            read.add_words(&error);
        }
        drop(client);
        story.runtime.advance(100 * MS);
        read.add(&node.status());
        read.add_words(&story.manager.health());
    }
    read.assert_holds_no_secret("an echo on an open connection");
}

//! Secrets are planted wherever there is room for one, and looked for in all that can be read afterwards.

use std::fmt::{Debug, Display};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redis::AsyncCommands;
use redis_manager::runtime::Network;
use redis_manager::{Event, Health, PoolArgs, RedisManager, RedisManagerBuilder};
use redis_manager_tests::log_recorder::LogRecorder;
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::tasks::{until, within};

use crate::{MS, one_pool, status};

on_every_runtime! {
    t5_a_real_server_that_quotes_a_login_gives_nothing_away;
    t5_a_wrong_password_is_told_without_it;
    t5_a_server_that_quotes_a_login_in_whatever_way_gives_nothing_away;
    t5_no_debug_output_holds_a_secret;
}

/// No four bytes of it are in any word of ours; nor, as it is written in a URL, four digits in a row, which might be a time.
const SECRET: &str = "Zq8x-Jv5k \"Jp3y\\7Q+é'9Gm2h%Kt4z6";

/// As it is written in a URL.
fn in_url(secret: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    secret.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// All that was shown, to be searched.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn debug(&mut self, shown: &impl Debug) {
        self.0 += &format!("{shown:?}\n{shown:#?}\n");
    }

    fn error(&mut self, error: &(impl Debug + Display)) {
        self.0 += &format!("{error}\n");
        self.debug(error);
    }

    fn json(&mut self, shown: &impl serde::Serialize) {
        self.0 += &format!("{}\n", serde_json::to_string(shown).expect("plain data"));
    }

    /// All that a manager shows of itself.
    fn manager(&mut self, manager: &RedisManager) {
        self.debug(manager);
        self.debug(&manager.fetch_pool_status());
        self.json(&manager.fetch_pool_status());
        self.error(&manager.health());
        self.json(&manager.health());
        self.debug(&manager.total_connections());
    }

    fn assert_clean(&self, secret: &str, why: &str) {
        let shown = self.0.to_lowercase();
        for form in [String::from(secret), in_url(secret), secret.escape_debug().to_string()] {
            let letters: Vec<char> = form.to_lowercase().chars().collect();
            for piece in letters.windows(4).map(|piece| piece.iter().collect::<String>()) {
                assert!(!shown.contains(&piece), "{why}: {piece:?} is in {}", self.0);
            }
        }
    }
}

/// What is shown by a manager that cannot add a node.
async fn refusal(url: &str, timeout: Duration, runtime: &(impl Network + Clone)) -> Shown {
    let mut shown = Shown::default();
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    let mut adding = Box::pin(manager.add_node_pool_timeout(url, timeout));
    // While it is being added it has a status.
    assert!(within(runtime, 100 * MS, &mut adding).await.is_none_or(|added| {
        shown.error(&added.expect_err("it must be refused"));
        true
    }));
    shown.manager(&manager);
    if shown.0.contains("NoHealthyPools") {
        return shown;
    }
    shown.error(&adding.await.expect_err("it must be refused"));
    shown.error(&manager.get_client(url).await.expect_err("it is unknown"));
    shown
}

/// Redis quotes the first words of a command that it does not know, cut after 128 bytes.
///
/// Guards against: the words of a failed connect kept as they are.
async fn t5_a_real_server_that_quotes_a_login_gives_nothing_away(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--rename-command", "HELLO", "", "--rename-command", "AUTH", ""]);
    let long = SECRET.repeat(8);
    for secret in [SECRET, &long, "q7"] {
        let login = in_url(secret);
        for url in [
            format!("redis://:{login}@127.0.0.1:{}", server.port()),
            format!("redis://clerk:{login}@127.0.0.1:{}", server.port()),
            format!("unix://{}?user=clerk&p%61ss={login}", server.unixsocket().display()),
        ] {
            let shown = refusal(&url, 10_000 * MS, &runtime).await;
            assert!(shown.0.contains("unknown command"), "{}", shown.0);
            shown.assert_clean(secret, &url);
            assert!(!shown.0.contains("'q7'"), "{}", shown.0);
        }
    }
}

/// Guards against: the password shown in the name of a node.
async fn t5_a_wrong_password_is_told_without_it(runtime: impl Network + Clone) {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    for protocol in ["resp2", "resp3"] {
        for user in ["", "clerk"] {
            let url = format!("redis://{user}:{}@127.0.0.1:{}?protocol={protocol}", in_url(SECRET), server.port());
            let shown = refusal(&url, 400 * MS, &runtime).await;
            shown.assert_clean(SECRET, &url);
        }
    }
    // One that was right, and is it no more.
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "clerk", "on", &format!(">{SECRET}"), "+@all", "~*"]);
    let url = format!("redis://clerk:{}@127.0.0.1:{}", in_url(SECRET), server.port());
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&url).await.expect("the server is up");
    server.command(&["ACL", "SETUSER", "clerk", "resetpass", ">other"]);
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until(&runtime, "the node is seen to refuse us", || status(&manager).health == Health::Down).await;
    let mut shown = Shown::default();
    shown.manager(&manager);
    shown.error(&manager.get_client_timeout(&url, 200 * MS).await.expect_err("refused"));
    shown.assert_clean(SECRET, &url);
    assert!(shown.0.contains("WRONGPASS"), "{}", shown.0);
}

/// What a server makes of the words that it quotes.
type Quote = fn(&[String]) -> String;
/// How a command is quoted; none: it is carried out.
type QuoteSetting = Arc<Mutex<Option<Quote>>>;

/// A server that does as it should, or quotes what it is told.
struct Parrot {
    port: u16,
    manner: QuoteSetting,
    /// To be closed.
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Parrot {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (manner, streams) = (QuoteSetting::default(), Arc::new(Mutex::new(Vec::new())));
        let (quoting, open) = (Arc::clone(&manner), Arc::clone(&streams));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                open.lock().expect("not poisoned").extend(stream.try_clone());
                let manner = Arc::clone(&quoting);
                thread::spawn(move || serve(&stream, &manner));
            }
        });
        Self { port, manner, streams }
    }

    fn quote(&self, manner: Option<fn(&[String]) -> String>) {
        *self.manner.lock().expect("not poisoned") = manner;
    }

    fn hang_up(&self) {
        for stream in self.streams.lock().expect("not poisoned").drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// The login is quoted, whatever comes later.
fn serve(stream: &TcpStream, manner: &QuoteSetting) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut login = Vec::new();
    while let Some(words) = read_command(&mut reader) {
        if login.is_empty() {
            login = words.clone();
        }
        let quoting = *manner.lock().expect("not poisoned");
        let reply = match (quoting, words[0].to_uppercase().as_str()) {
            (Some(quoting), _) => quoting(&login),
            (None, "HELLO") => String::from("%1\r\n+proto\r\n:3\r\n"),
            (None, "PING") => format!("${}\r\n{}\r\n", words[1].len(), words[1]),
            (None, "ROLE") => String::from("*1\r\n$6\r\nmaster\r\n"),
            (None, _) => String::from("+OK\r\n"),
        };
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let number = |reader: &mut dyn BufRead| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        line.trim_end().get(1..)?.parse::<usize>().ok()
    };
    let count = number(reader)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number(reader)? + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            String::from_utf8(word).ok()
        })
        .collect()
}

fn escaped(words: &[String]) -> String {
    let escape = |byte: u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    words.iter().map(|word| format!("\"{}\" ", word.bytes().map(escape).collect::<String>())).collect()
}

fn hexadecimal(words: &[String]) -> String {
    words.join(" ").bytes().map(|byte| format!("\\x{byte:02X}")).collect()
}

fn numbers(words: &[String]) -> String {
    format!("{:?}", words.join(" ").as_bytes())
}

const MANNERS: [(&str, Quote); 18] = [
    ("plain", |words| format!("-ERR unknown command '{}'\r\n", words.join("' '"))),
    ("cut", |words| format!("-ERR unknown '{}'\r\n", words.join("' '").chars().take(60).collect::<String>())),
    ("escaped", |words| format!("-ERR unknown {}\r\n", escaped(words))),
    ("escaped twice", |words| format!("-ERR unknown {:?}\r\n", escaped(words))),
    ("in hexadecimal", |words| format!("-ERR unknown {}\r\n", hexadecimal(words))),
    ("in numbers", |words| format!("-ERR unknown {}\r\n", numbers(words))),
    ("in percents", |words| format!("-ERR GET /{}\r\n", in_url(&words.join("/")))),
    ("in one word", |words| format!("-ERR {}\r\n", words.concat())),
    ("in capitals", |words| format!("-ERR unknown command {}\r\n", words.join(" ").to_uppercase())),
    ("in two", |words| {
        let (first, second) = words[3..].iter().max_by_key(|word| word.len()).expect("a login").split_at(12);
        format!("-ERR between '{first}' and '{second}'\r\n")
    }),
    ("as a code", |words| format!("-{}\r\n", words[4..].join("_"))),
    ("LOADING", |words| format!("-LOADING '{}'\r\n", words.join("' '"))),
    ("READONLY", |words| format!("-READONLY '{}'\r\n", words.join("' '"))),
    ("NOAUTH", |words| format!("-NOAUTH '{}'\r\n", words.join("' '"))),
    ("WRONGPASS", |words| format!("-WRONGPASS '{}'\r\n", words.join("' '"))),
    ("as text", |words| format!("+{}\r\n", words.join(" "))),
    ("as bytes", |words| format!("${}\r\n{}\r\n", words.join(" ").len(), words.join(" "))),
    ("as no protocol", |words| format!("{}\r\n{}\r\n", words.join("?"), words.join(" "))),
];

/// Guards against: what is told to the pool by the way, what ends a connection and what fails a check kept as it is; with
/// each way to read a text left out.
///
/// Seen to bite: with four letters of the secret in the text of an event, in that of the health report, and in a line of the log.
async fn t5_a_server_that_quotes_a_login_in_whatever_way_gives_nothing_away(runtime: impl Network + Clone) {
    let log = LogRecorder::global();
    for (name, manner) in MANNERS {
        let parrot = Parrot::start();
        let url = format!("redis://clerk:{}@127.0.0.1:{}", in_url(SECRET), parrot.port);
        parrot.quote(Some(manner));
        let mut shown = refusal(&url, 400 * MS, &runtime).await;
        parrot.quote(None);
        let mut args = PoolArgs::default();
        args.command_timeout = 200 * MS;
        let builder = one_pool(3).pool_args(args).health_check_interval(20 * MS).event_buffer(65_536).slow_acquire(10 * MS);
        let manager = builder.build(runtime.clone()).expect("valid settings");
        let mut events = manager.events().expect("it is on");
        manager.add_node_pool(&url).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut client = manager.get_client(&url).await.expect("a client");
        let mut shared = manager.get_shared_client(&url).await.expect("a shared client");
        let () = shared.set("key", 1).await.expect("SET");
        parrot.quote(Some(manner));
        // What a command of the user's is answered is the user's, unless the connection is lost with it.
        let answers: [redis::RedisResult<redis::Value>; 2] = [client.get("key").await, shared.get("key").await];
        answers
            .iter()
            .filter_map(|answer| answer.as_ref().err())
            .filter(|error| error.is_io_error())
            .for_each(|error| shown.error(error));
        shown.debug(&client);
        shown.debug(&shared);
        shown.manager(&manager);
        drop(client);
        // Checks fail, or what was told fails the node.
        runtime.sleep(60 * MS).await;
        shown.manager(&manager);
        parrot.hang_up();
        until(&runtime, "it is down", || status(&manager).health == Health::Down).await;
        shown.manager(&manager);
        // A dial that began before the server quoted may still succeed, and its connection is good for nothing.
        let refused = loop {
            match manager.get_client_timeout(&url, 100 * MS).await {
                Ok(client) => client.discard(),
                Err(refused) => break refused,
            }
        };
        shown.error(&refused);
        shown.error(&shared.get::<_, Option<i64>>("key").await.expect_err(name));
        shown.debug(&manager.node(&url).expect("a handle"));
        shown.debug(&manager.node(&url).expect("a handle").status());
        manager.close_all_pools().await;
        drop((manager, shared));
        let (mut seen, mut failed) = (0, 0);
        while let Some(read) = within(&runtime, 10_000 * MS, events.next_event()).await.expect("it ends") {
            let event = read.expect("none is missed");
            seen += 1;
            failed += usize::from(matches!(event.event, Event::ConnectFailed { .. }));
            shown.error(&event);
            shown.json(&event);
        }
        assert!(seen > 10 && failed > 0, "{name}: {seen} events, {failed} of connects that failed");
        let lines = log.lines_with(&format!(":{}", parrot.port));
        for line in [": node is down ", ": connect failed ", ": slow acquire "] {
            assert!(lines.iter().any(|logged| logged.contains(line)), "{name}: no {line} in {lines:#?}");
        }
        shown.0 += &lines.join("\n");
        shown.assert_clean(SECRET, name);
    }
}

/// Guards against: the URLs of the builder shown, with the text of a PEM that is given as a path shown.
async fn t5_no_debug_output_holds_a_secret(runtime: impl Network + Clone) {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    let mut shown = Shown::default();
    for pem in [redis_manager::tls::Pem::bytes(key.clone()), redis_manager::tls::Pem::file(key.clone())] {
        let mut args = PoolArgs::default();
        args.client_name = Some(String::from("name"));
        args.tls.client_certificate = Some(redis_manager::tls::ClientCertificate::new(pem.clone(), pem.clone()));
        args.tls.ca_certificates = Some(pem.clone());
        shown.debug(&pem);
        shown.debug(&args);
        let builder = |args: PoolArgs| -> RedisManagerBuilder { one_pool(1).pool_args(args) };
        shown.debug(&builder(args.clone()));
        shown.error(&builder(args.clone()).build(runtime.clone()).expect_err("no certificate"));
        args.tls.ca_certificates = None;
        shown.error(&builder(args).build(runtime.clone()).expect_err("no certificate"));
        let login = in_url(SECRET);
        let clusters = RedisManager::builder().use_cluster(true).startup_nodes([
            format!("redis://u:{login}@127.0.0.1:1/3"),
            format!("unix:/x?p%61ss={login}"),
            format!("redis://u:{login}"),
        ]);
        shown.debug(&clusters);
        shown.error(&clusters.build(runtime.clone()).expect_err("not of a cluster"));
    }
    for setting in RedisManager::settings() {
        shown.debug(&setting);
    }
    let manager = one_pool(1).build(runtime.clone()).expect("valid settings");
    let login = in_url(SECRET);
    for url in [
        format!("unix:/no/such?pass={login}"),
        format!("unix:///no/such?p%61ss={login}&user=u"),
        format!("unix:///no/such?p%6ss={login}"),
        format!("redis://h?pass={login}"),
        format!("redis://u:{login}@h/x"),
        format!("redis://u:{login}@h?timeout=5s"),
        format!("redis://u:{login}@h#{login}"),
        format!("redis://u:{SECRET}@h"),
        format!("redis://{SECRET}@h/x@"),
    ] {
        shown.error(&manager.add_node_pool_timeout(&url, 20 * MS).await.expect_err("nobody is there"));
        shown.error(&manager.get_client(&url).await.expect_err("it is unknown"));
        shown.error(&manager.node(&url).expect_err("it is unknown"));
    }
    shown.assert_clean(SECRET, "debug output");
}

//! Servers that send what nobody has asked for, or never send what was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::{AsyncCommands, RedisResult};
use redis_manager::runtime::Network;
use redis_manager::{PoolArgs, RedisManager, SharedClient};
use redis_manager_tests::on_every_runtime;
use redis_manager_tests::redis_server::RedisServer;
use redis_manager_tests::scripted_server::{Conversation, ScriptedServer};
use redis_manager_tests::tasks::{spawn, until, within};

use crate::{MS, echo, one_pool, status};

on_every_runtime! {
    n4_a_node_that_floods_leaves_the_others_as_they_were;
    an_idle_connection_that_gets_bytes_is_closed_at_once;
    a_shared_connection_that_gets_bytes_while_nothing_is_in_flight_is_closed_at_once;
    a_server_that_floods_each_new_connection_is_not_dialled_in_a_loop;
    late_replies_to_commands_that_were_given_up_are_no_flood;
    pushes_that_were_asked_for_leave_their_connection;
    pushes_are_no_answers;
    n4_a_reply_that_trickles_in_is_no_silence;
}

const PUSH: &[u8] = b">2\r\n+news\r\n$4\r\nnoon\r\n";

/// A manager of one pool of at most two connections of this server.
async fn manager_of(server: &ScriptedServer, command_timeout: Duration, runtime: impl Network) -> RedisManager {
    let mut args = PoolArgs::default();
    args.command_timeout = command_timeout;
    let manager = one_pool(2).min_idle(0).pool_args(args).build(runtime).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("it logs in");
    manager
}

async fn echo_shared(client: &mut SharedClient, token: &str) -> RedisResult<String> {
    redis::cmd("ECHO").arg(token).query_async(client).await
}

/// Guards against: a driver that reads for as long as there is something, on smol and on one thread of tokio.
async fn n4_a_node_that_floods_leaves_the_others_as_they_were(runtime: impl Network + Clone) {
    let healthy = RedisServer::start();
    // It floods whoever waits for a reply: with pushes, which end no wait.
    let flooding = ScriptedServer::start(|mut client: Conversation| {
        if client.log_in() && client.hear().is_some() {
            client.flood(PUSH);
        }
    });
    let manager = manager_of(&flooding, 3_000 * MS, runtime.clone()).await;
    manager.add_node_pool(&healthy.url()).await.expect("the server is up");
    let (mut client, mut victim) = (
        manager.get_client(&healthy.url()).await.expect("a client"),
        manager.get_client(&flooding.url()).await.expect("a client"),
    );
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let flooded = spawn(&runtime, async move {
        let answer = echo(&mut victim, "token").await;
        over.store(true, Ordering::SeqCst);
        answer
    });
    let (mut slowest, mut answers) = (Duration::ZERO, 0);
    while !done.load(Ordering::SeqCst) {
        let asked_at = Instant::now();
        let answer = within(&runtime, 2_000 * MS, echo(&mut client, "token")).await;
        assert_eq!(answer.expect("in time").expect("ECHO"), "token");
        slowest = slowest.max(asked_at.elapsed());
        answers += 1;
    }
    assert!(flooded.await.expect_err("pushes are no reply").is_timeout());
    println!("{answers} answers, the slowest after {slowest:?}");
    assert!(slowest < 2_000 * MS && answers > 2, "{answers} answers, the slowest after {slowest:?}");
}

/// A server that floods its first connection when it is told to; how much of it was taken, and how long that took.
struct Flood {
    server: ScriptedServer,
    begin: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    lasted: Arc<AtomicUsize>,
}

impl Flood {
    fn prepare() -> Self {
        let (begin, taken, lasted) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (flag, bytes, millis) = (Arc::clone(&begin), Arc::clone(&taken), Arc::clone(&lasted));
        let server = ScriptedServer::start(move |mut client| {
            if !client.log_in() || client.number > 0 {
                return client.serve();
            }
            while !flag.load(Ordering::SeqCst) {
                std::thread::sleep(MS);
            }
            let began_at = Instant::now();
            bytes.store(client.flood(b"+OK\r\n"), Ordering::SeqCst);
            millis.store(usize::try_from(began_at.elapsed().as_millis()).expect("not for ever") + 1, Ordering::SeqCst);
        });
        Self { server, begin, taken, lasted }
    }

    /// What a loopback holds between two programs counts as taken.
    async fn assert_is_cut_off(&self, runtime: &impl Network) {
        self.begin.store(true, Ordering::SeqCst);
        until(runtime, "the flood is over", || self.lasted.load(Ordering::SeqCst) > 0).await;
        let (taken, lasted) = (self.taken.load(Ordering::SeqCst), self.lasted.load(Ordering::SeqCst));
        assert!(lasted <= 100 && taken < 16_000_000, "{taken} bytes in {lasted} ms");
    }
}

/// Guards against: no look at what is outstanding; it then lasts until the next health check.
async fn an_idle_connection_that_gets_bytes_is_closed_at_once(runtime: impl Network + Clone) {
    let flood = Flood::prepare();
    let manager = manager_of(&flood.server, 5_000 * MS, runtime.clone()).await;
    flood.assert_is_cut_off(&runtime).await;
    until(&runtime, "it is replaced", || flood.server.accepted() == 2 && status(&manager).idle == 1).await;
    let mut client = manager.get_client(&flood.server.url()).await.expect("a client");
    assert_eq!(echo(&mut client, "token").await.expect("ECHO"), "token");
    assert_eq!(flood.server.accepted(), 2);
}

/// Guards against: shared connections that are never looked at.
async fn a_shared_connection_that_gets_bytes_while_nothing_is_in_flight_is_closed_at_once(runtime: impl Network + Clone) {
    let flood = Flood::prepare();
    let manager = manager_of(&flood.server, 5_000 * MS, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&flood.server.url()).await.expect("a shared client");
    flood.assert_is_cut_off(&runtime).await;
    assert_eq!(echo_shared(&mut shared, "token").await.expect("on a new connection"), "token");
    assert_eq!(flood.server.accepted(), 2);
}

/// Guards against: a death that is not told to the pool as one of a new connection; there are then hundreds of dials a second.
async fn a_server_that_floods_each_new_connection_is_not_dialled_in_a_loop(runtime: impl Network + Clone) {
    let server = ScriptedServer::start(|mut client| {
        if client.log_in() {
            // At once it would be a part of the login, which then fails.
            std::thread::sleep(5 * MS);
            client.flood(b"+OK\r\n");
        }
    });
    let manager = one_pool(2).build(runtime.clone()).expect("valid settings");
    manager.add_node_pool(&server.url()).await.expect("it logs in");
    let until = Instant::now() + 3_000 * MS;
    while Instant::now() < until {
        // Not even one who takes what there is makes it worse. A get that is served at once does not yield, and where there is one
        // thread nobody else would see the flood: the pause lets them.
        let _ = manager.get_client_timeout(&server.url(), 200 * MS).await;
        runtime.sleep(MS).await;
    }
    // Each get that is served, and each spare beside it, is a dial, with pauses that grow: 16 to 46 seen. Without the pauses there
    // are hundreds a second.
    let dials = server.accepted();
    assert!((2..=120).contains(&dials), "{dials} dials in 3 s");
}

/// Guards against: requests that count as answered when nobody waits for their replies any more.
async fn late_replies_to_commands_that_were_given_up_are_no_flood(runtime: impl Network + Clone) {
    // LATE is answered 100 ms later, in pieces; STRAY is answered, and once more 50 ms later.
    let server = ScriptedServer::start(|mut client| {
        while let Some(words) = client.hear() {
            if words.get(1).is_some_and(|word| word == "late") {
                std::thread::sleep(100 * MS);
                let _ = client.say("$4\r\nla");
                std::thread::sleep(30 * MS);
                let _ = client.say("te\r\n");
            } else {
                let _ = client.answer(&words);
            }
            if words.get(1).is_some_and(|word| word == "stray") {
                std::thread::sleep(50 * MS);
                let _ = client.answer(&words);
            }
        }
    });
    let manager = manager_of(&server, 5_000 * MS, runtime.clone()).await;
    let mut client = manager.get_client(&server.url()).await.expect("a client");
    assert!(within(&runtime, 20 * MS, echo(&mut client, "late")).await.is_none(), "it is late");
    runtime.sleep(200 * MS).await;
    assert_eq!(echo(&mut client, "token").await.expect("ECHO"), "token");
    drop(client);
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    assert!(within(&runtime, 20 * MS, echo_shared(&mut shared, "late")).await.is_none(), "it is late");
    runtime.sleep(200 * MS).await;
    assert_eq!(echo_shared(&mut shared, "token").await.expect("ECHO"), "token");
    assert_eq!(server.accepted(), 1, "all on one connection");
    // Everything that was left is answered by now: what comes beyond is a reply too many.
    assert_eq!(echo_shared(&mut shared, "stray").await.expect("ECHO"), "stray");
    runtime.sleep(100 * MS).await;
    assert_eq!(echo_shared(&mut shared, "token").await.expect("ECHO"), "token");
    assert_eq!(server.accepted(), 2, "a new connection");
}

/// Guards against: only a [`PubSub`](redis_manager::PubSub) may get pushes.
async fn pushes_that_were_asked_for_leave_their_connection(runtime: impl Network + Clone) {
    let server = RedisServer::start();
    let manager = crate::manager_of(&server, 2, runtime.clone()).await;
    for (words, push) in [("CLIENT TRACKING ON BCAST", ["SET", "key", "1"]), ("SUBSCRIBE channel", ["PUBLISH", "channel", "1"])] {
        let mut client = manager.get_client(&server.url()).await.expect("a client");
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect("CLIENT ID");
        let mut cmd = redis::Cmd::new();
        cmd.arg(words.split(' ').collect::<Vec<_>>());
        let _: redis::Value = cmd.query_async(&mut client).await.expect(words);
        for _ in 0..3 {
            server.command(&push);
            runtime.sleep(10 * MS).await;
        }
        let again: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut client).await.expect(words);
        assert_eq!(again, id, "{words}");
        let _: () = client.set("own", 1).await.expect(words);
    }
}

/// The first connection answers by pushes only, others as they should.
///
/// Guards against: pushes that count as an answer; callers that give up sooner are then sent there for ever.
async fn pushes_are_no_answers(runtime: impl Network + Clone) {
    let server = ScriptedServer::start(|mut client| {
        if !client.log_in() || client.number > 0 {
            return client.serve();
        }
        if client.hear().is_some() {
            while client.say(PUSH) {
                std::thread::sleep(MS);
            }
        }
    });
    let manager = manager_of(&server, 500 * MS, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let began_at = Instant::now();
    while within(&runtime, 50 * MS, echo_shared(&mut shared, "token")).await.is_none() {
        assert!(began_at.elapsed() < 2_000 * MS, "callers are still sent to the connection that answers nothing");
    }
    assert!(began_at.elapsed() >= 450 * MS, "{:?}", began_at.elapsed());
    assert_eq!(echo_shared(&mut shared, "token").await.expect("ECHO"), "token");
}

/// The first reply takes three times as long as any command may.
///
/// Guards against: only whole replies are a sign of life.
async fn n4_a_reply_that_trickles_in_is_no_silence(runtime: impl Network + Clone) {
    let server = ScriptedServer::start(|mut client| {
        if client.log_in() && client.hear().is_some() {
            let _ = client.say("$100\r\n");
            for _ in 0..50 {
                let _ = client.say("xx");
                std::thread::sleep(20 * MS);
            }
            let _ = client.say("\r\n");
        }
        client.serve();
    });
    let manager = manager_of(&server, 300 * MS, runtime.clone()).await;
    let mut shared = manager.get_shared_client(&server.url()).await.expect("a shared client");
    let began_at = Instant::now();
    while within(&runtime, 50 * MS, echo_shared(&mut shared, "token")).await.is_none() {
        assert!(began_at.elapsed() < 3_000 * MS, "it has come by now");
    }
    assert!(began_at.elapsed() >= 900 * MS, "{:?}", began_at.elapsed());
    assert_eq!(server.accepted(), 1, "it was answered where it was asked");
    assert_eq!(status(&manager).last_error, None);
}

//! The tasks of a fake Redis: those that read from its clients, and the one that lets time pass in it.

use std::future::poll_fn;
use std::io;
use std::sync::Weak;
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, ReadBuf};
use redis_manager_core::{Instant, Spawn, Task, Timer};

use crate::testing::fake_network::{FakeListener, FakeStream};
use crate::testing::fake_redis::ConnectionId;

use super::shared::{SharedServer, of_start};

pub(super) async fn accept(shared: Weak<SharedServer>, listener: FakeListener, start: u64) {
    loop {
        let accepted = poll_fn(|cx| match of_start(&shared, start) {
            Some(_) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        });
        let Some(stream) = accepted.await else { return };
        let Some(server) = of_start(&shared, start) else { return };
        let sender = stream.sender();
        let peer = format!("10.255.255.254:{}", 32_768 + stream.number() % 32_768);
        // The refusal of one connection too many is sent before its end.
        let now = server.network.now();
        let mut state = server.lock();
        let Some(id) = state.server.connected(now, &peer) else { continue };
        state.senders.insert(id, sender);
        drop(state);
        server.act(|_, _| ());
        let connection = serve(Weak::clone(&shared), stream, id, start);
        server.network.spawn(Box::pin(connection));
    }
}

async fn serve(shared: Weak<SharedServer>, mut stream: FakeStream, id: ConnectionId, start: u64) {
    let mut space = vec![0; 16 << 10];
    loop {
        let read = poll_fn(|cx| read_some(&mut stream, cx, &mut space)).await;
        let Some(server) = of_start(&shared, start) else { return };
        let Ok(count @ 1..) = read else {
            server.lock().senders.remove(&id);
            server.act(|machine, now| machine.closed(now, id));
            return;
        };
        drop(server);
        if !work(&shared, start).await {
            return;
        }
        let Some(server) = of_start(&shared, start) else { return };
        server.act(|machine, now| machine.received(now, id, &space[..count]));
    }
}

/// Waits until a slow server is free and has done its work; false after the end of this start.
async fn work(shared: &Weak<SharedServer>, start: u64) -> bool {
    loop {
        let Some(server) = of_start(shared, start) else { return false };
        let (at, is_done) = match server.work() {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        };
        if at <= server.network.now() {
            return true;
        }
        let wait = server.network.sleep_until(at);
        drop(server);
        wait.await;
        if is_done {
            return true;
        }
    }
}

fn read_some(stream: &mut FakeStream, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(space);
    std::pin::Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}

/// Lets keys expire and commands that block time out.
pub(super) async fn tick(shared: Weak<SharedServer>, start: u64) {
    let mut sleep: Option<(Instant, Task)> = None;
    poll_fn(|cx| {
        loop {
            let Some(server) = of_start(&shared, start) else { return Poll::Ready(()) };
            let mut state = server.lock();
            state.ticker = Some(cx.waker().clone());
            let due = if state.is_frozen { None } else { state.server.next_deadline() };
            drop(state);
            let Some(due) = due else {
                sleep = None;
                return Poll::Pending;
            };
            let kept = sleep.take().filter(|(at, _)| *at == due);
            let (_, waiting) = sleep.insert(kept.unwrap_or_else(|| (due, server.network.sleep_until(due))));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            sleep = None;
            // `act` wakes this task, which is polled again then: nothing is left for it to do.
            server.act(|machine, now| machine.tick(now));
        }
    })
    .await;
}

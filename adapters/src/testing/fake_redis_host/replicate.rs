//! The task of a fake Redis that follows its primary: copies what it has, and then its writes, each after a delay.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use redis_manager_core::{Instant, Task, Timer};

use crate::testing::fake_redis::Changes;

use super::shared::{SharedServer, of_start, server_at};

/// How often a replica without a link tries again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Lets this start of a server follow whatever primary it has.
pub(super) async fn follow(shared: Weak<SharedServer>, start: u64) {
    let mut sleep: Option<(Instant, Task)> = None;
    let mut followed = None;
    poll_fn(|cx| {
        loop {
            let Some(server) = of_start(&shared, start) else {
                leave(followed.take());
                return Poll::Ready(());
            };
            server.lock().follower = Some(cx.waker().clone());
            let due = step(&server, cx.waker(), &mut followed);
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
        }
    })
    .await;
}

/// A primary, and the address that it knows the replica by.
type Followed = Option<(Weak<SharedServer>, (String, u16))>;

fn leave(followed: Followed) {
    if let Some((primary, name)) = followed
        && let Some(primary) = primary.upgrade()
    {
        primary.act(|server, _| server.follower_left(&name));
    }
}

/// Takes over what is due, and says when more will be; None: when the primary or the replica has news.
fn step(replica: &SharedServer, waker: &Waker, followed: &mut Followed) -> Option<Instant> {
    let state = replica.lock();
    let (primary, is_frozen, delay, own) = (state.server.primary(), state.is_frozen, state.replication_delay, state.address);
    let history = state.server.history();
    drop(state);
    let Some((host, port)) = primary else {
        leave(followed.take());
        return None;
    };
    if is_frozen {
        return None;
    }
    let now = replica.network.now();
    let address = replica.network.known_address(&host).map(|ip| SocketAddr::new(ip, port));
    let primary = address.and_then(|address| server_at(&replica.network, address));
    let is_up = primary.as_ref().is_some_and(|primary| primary.lock().is_up);
    let Some(primary) = primary.filter(|primary| is_up && hear_each_other(replica, primary)) else {
        leave(followed.take());
        replica.act(|server, now| server.lost_link(now));
        return Some(now + TRIED_AGAIN_AFTER);
    };
    primary.watch(waker);
    if !primary.is_running() {
        return None;
    }
    let name = (own.ip().to_string(), own.port());
    let is_same = followed.as_ref().is_some_and(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(&primary)));
    if !is_same {
        leave(followed.replace((Arc::downgrade(&primary), name.clone())));
    }
    let (changes, next_at) = primary.act(|server, now| server.changes_since(now, &history, delay));
    if !matches!(changes, Changes::Refused) {
        let offset = replica.act(|server, now| server.take_changes(now, changes));
        primary.act(|server, now| server.acknowledged(now, name, offset));
    }
    next_at.map(|at| at + delay)
}

/// The replica takes over at once all that its primary has; false if it does not hear it.
pub(in crate::testing) fn catch_up(replica: &SharedServer) -> bool {
    let state = replica.lock();
    let (primary, history) = (state.server.primary(), state.server.history());
    drop(state);
    let primary = primary.and_then(|(host, port)| {
        let ip = replica.network.known_address(&host)?;
        server_at(&replica.network, SocketAddr::new(ip, port))
    });
    let Some(primary) = primary.filter(|primary| primary.is_running() && hear_each_other(replica, primary)) else { return false };
    let (changes, _) = primary.act(|server, now| server.changes_since(now, &history, Duration::ZERO));
    let is_given = !matches!(changes, Changes::Refused);
    replica.act(|server, now| server.take_changes(now, changes));
    is_given
}

/// Whether bytes pass between two servers.
pub(in crate::testing) fn hear_each_other(one: &SharedServer, other: &SharedServer) -> bool {
    let is_apart = one.network.group_of(one.address()) != one.network.group_of(other.address());
    !is_apart && one.is_reachable() && other.is_reachable()
}

//! Queries to the nodes of a cluster over our own connections: the topology, and signs of life.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{Health, Instant, WaitPhase};

use crate::cluster::cluster_metrics::TopologyChange;
use crate::cluster::error::ClusterError;
use crate::cluster::nodes::{Cluster, ClusterMember};
use crate::cluster::topology::{NodeLine, Topology, is_owned, read_view};
use crate::error::{FailureKind, GetClientError};
use crate::future_util::within;
use crate::redis_node::{Secrets, SharedHandle};

/// The topology is requested at most once in this time.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(1);

/// How often a wait for a node checks whether the node is down.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Nodes that are asked for one topology at the same time. After each pause one more is asked: the first ones may be silent.
const ASKED_AT_ONCE: usize = 3;
const BETWEEN_CANDIDATES: Duration = Duration::from_millis(100);

type Query<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClusterError>> + Send + 'a>>;

impl Cluster {
    /// Asks nodes for the topology, one caller at a time and at most once a second, and adopts the answer.
    ///
    /// # Errors
    ///
    /// Why no node gave a usable answer.
    pub(crate) async fn refresh(&self) -> Result<(), ClusterError> {
        self.refresh_from(None).await
    }

    /// The same, but one node is asked first: it is known to have a newer topology than others.
    pub(crate) async fn refresh_from(&self, first: Option<&str>) -> Result<(), ClusterError> {
        let _turn = self.refreshing.lock().await;
        let last = Instant::from_nanos(self.refreshed_at.load(Ordering::SeqCst));
        let now = self.runtime().now();
        let next = last + BETWEEN_REFRESHES;
        let is_known = self.topology().nodes().next().is_some();
        if is_known && now < next {
            self.runtime().sleep_until(next).await;
        }
        self.refreshed_at.store(self.runtime().now().as_nanos().max(1), Ordering::SeqCst);
        let view = self.ask_for_view(first).await?;
        self.adopt(TopologyChange::Reported, |known| {
            let merged = Topology::merge(known, vec![view]);
            (merged != *known).then_some(merged)
        });
        self.let_go();
        Ok(())
    }

    /// The members that are up first, then all others, then the startup nodes.
    fn candidates(&self) -> Vec<String> {
        let topology = self.topology();
        let rank = |address: &str| {
            let known = self.members().get(address).map(|member| member.pool().status().health);
            usize::from(known != Some(Health::Up))
        };
        let mut known: Vec<_> = topology.nodes().map(|seen| (rank(&seen.address), seen.failed, seen.address.clone())).collect();
        known.sort_unstable();
        let startup = self.setup.startup.iter().map(|place| place.name_of_place());
        let mut all: Vec<_> = known.into_iter().map(|(_, _, address)| address).collect();
        startup.for_each(|address| {
            if !all.contains(&address) {
                all.push(address)
            }
        });
        // In random order, so that not always the same ones are asked.
        let well = all.iter().filter(|address| rank(address) == 0).count();
        if well > 0 {
            let turn = (self.changed.version() as usize + self.runtime().now().as_nanos() as usize) % well;
            all[..well].rotate_left(turn);
        }
        all
    }

    /// The first usable answer: a node that was removed from its cluster reports no slots. A node with a newer topology is
    /// asked before the others.
    async fn ask_for_view(&self, first: Option<&str>) -> Result<Vec<NodeLine>, ClusterError> {
        let mut waiting: VecDeque<String> = first.map(String::from).into_iter().collect();
        waiting.extend(self.candidates().into_iter().filter(|address| Some(address.as_str()) != first));
        let most_at_first = if first.is_some() { 1 } else { ASKED_AT_ONCE };
        let mut asked: Vec<Query<'_, Vec<NodeLine>>> = Vec::new();
        let (mut failure, mut poor): (Option<ClusterError>, Option<Vec<NodeLine>>) = (None, None);
        let mut next = self.runtime().sleep(BETWEEN_CANDIDATES);
        let mut wanted = most_at_first;
        poll_fn(|cx| {
            loop {
                while next.as_mut().poll(cx).is_ready() {
                    next = self.runtime().sleep(BETWEEN_CANDIDATES);
                    wanted = asked.len() + 1;
                }
                while asked.len() < wanted
                    && let Some(address) = waiting.pop_front()
                {
                    asked.push(Box::pin(async move { self.ask_view(&address).await }));
                }
                let before = asked.len();
                let mut believed = None;
                asked.retain_mut(|view| match view.as_mut().poll(cx) {
                    Poll::Pending => true,
                    Poll::Ready(Ok(view)) if is_owned(&view) => {
                        believed = Some(view);
                        false
                    }
                    Poll::Ready(Ok(view)) => {
                        poor.get_or_insert(view);
                        false
                    }
                    Poll::Ready(Err(error)) => {
                        // A temporary error is returned rather than a permanent one.
                        if failure.as_ref().is_none_or(ClusterError::is_permanent) {
                            failure = Some(error);
                        }
                        false
                    }
                });
                if let Some(view) = believed {
                    return Poll::Ready(Ok(view));
                }
                match poor.take_if(|_| asked.is_empty() && waiting.is_empty()) {
                    Some(view) if self.topology().primaries().is_empty() => return Poll::Ready(Ok(view)),
                    Some(_) => return Poll::Ready(Err(ClusterError::NoSlots)),
                    None if asked.is_empty() && waiting.is_empty() => {
                        return Poll::Ready(Err(failure.take().unwrap_or(ClusterError::NoNode)));
                    }
                    None if asked.len() == before || waiting.is_empty() => return Poll::Pending,
                    // Another node is asked in place of those that failed.
                    None => {}
                }
            }
        })
        .await
    }

    async fn ask_view(&self, address: &str) -> Result<Vec<NodeLine>, ClusterError> {
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("NODES");
        let text: String = self.ask(address, &cmd).await?;
        let view = read_view(&text, address);
        if view.is_empty() {
            return Err(ClusterError::Unreadable { address: String::from(address) });
        }
        Ok(view)
    }

    /// Sends one command to a node on our own connection, for `health_check_timeout` at most after connecting.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, address: &str, cmd: &redis::Cmd) -> Result<T, ClusterError> {
        let failed = |error: String, kind| ClusterError::NoAnswer { address: String::from(address), error, kind };
        let member = self.member(address).map_err(|error| failed(error.to_string(), error.kind()))?;
        let limit = self.setup.nodes.config().health_check_timeout();
        let mut client = self.ready(&member).await?;
        let mut answered = within(self.runtime(), limit, client.ask_ours(cmd)).await;
        if let Some(Err(lost)) = &answered
            && lost.is_connection_dropped()
        {
            // A connection may be killed although its node is up. All commands here may be sent twice.
            client = self.ready(&member).await?;
            answered = within(self.runtime(), limit, client.ask_ours(cmd)).await;
        }
        let answered = answered.ok_or_else(|| failed(format!("no answer within {limit:?}"), FailureKind::Silent))?;
        // All nodes have the same login.
        let secrets = Secrets::of(&self.setup.startup[0].login);
        let value = answered.and_then(redis::Value::extract_error);
        let value = value.map_err(|error| ClusterError::of_reply(address, &error, &secrets))?;
        redis::from_redis_value(value).map_err(|error| failed(secrets.clean(&error.to_string()), FailureKind::Protocol))
    }

    /// Waits for a connection, unless the node is down.
    async fn ready(&self, member: &ClusterMember) -> Result<SharedHandle, ClusterError> {
        let failed = |error: String, kind| ClusterError::of_connecting(&member.address, error, kind);
        let mut ready = pin!(SharedHandle::ready(Arc::clone(&member.connections), self.reply_timeout(member)));
        let mut look = self.runtime().sleep(BETWEEN_LOOKS);
        poll_fn(|cx| {
            if let Poll::Ready(ready) = ready.as_mut().poll(cx) {
                return Poll::Ready(ready.map_err(|error| match is_busy(&error) {
                    true => ClusterError::Busy { address: member.address.clone() },
                    false => failed(error.to_string(), error.kind()),
                }));
            }
            while look.as_mut().poll(cx).is_ready() {
                let (health, last_error) = (member.pool().status().health, member.pool().last_error());
                if let (Health::Down, Some(error)) = (health, last_error) {
                    let kind = FailureKind::of_last_error(Some(&error));
                    return Poll::Ready(Err(failed(error.to_string(), kind)));
                }
                look = self.runtime().sleep(BETWEEN_LOOKS);
            }
            Poll::Pending
        })
        .await
    }

    /// A node that is up is asked at once. A new one may take as long as connecting does.
    fn reply_timeout(&self, member: &ClusterMember) -> Duration {
        let known = self.topology().contains(&member.address);
        let config = self.setup.nodes.config();
        if known { config.health_check_timeout() } else { self.setup.args.connect_timeout.min(config.default_timeout()) }
    }

    /// Sends the same command to several nodes at once; returns the answers that arrive within `limit`.
    pub(crate) async fn ask_each(
        &self,
        addresses: &[String],
        cmd: &redis::Cmd,
        limit: Duration,
    ) -> Vec<(String, Result<redis::Value, ClusterError>)> {
        let mut asked: Vec<_> =
            addresses.iter().map(|address| (address, Box::pin(self.ask::<redis::Value>(address, cmd)))).collect();
        let mut answers = Vec::new();
        let all = poll_fn(|cx| {
            asked.retain_mut(|(address, answer)| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => {
                    answers.push((address.clone(), answer));
                    false
                }
                Poll::Pending => true,
            });
            if asked.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _whether_all_did = within(self.runtime(), limit, all).await;
        answers
    }

    /// Asks every node in use for a sign of life, and notes those that give none. A node with all its connections on loan
    /// cannot be asked and does not count as dead. One caller at a time; others return at once.
    pub(crate) async fn look_for_silence(&self) {
        if self.is_looking.swap(true, Ordering::SeqCst) {
            return;
        }
        let _looked = LookGuard(self);
        let topology = self.topology();
        let mut sent_to = topology.primaries();
        if self.setup.cluster_args.read_from_replicas {
            sent_to.extend(topology.nodes().map(|seen| seen.address.clone()).filter(|address| !topology.is_owner(address)));
        }
        // Each one takes this long at most to connect, and as long again to answer.
        let limit = self.setup.nodes.config().health_check_timeout() * 2;
        let answers = self.ask_each(&sent_to, &redis::cmd("PING"), limit).await;
        let lives = |answer: &Result<_, ClusterError>| matches!(answer, Ok(_) | Err(ClusterError::Busy { .. }));
        let alive: BTreeSet<_> = answers.iter().filter(|(_, answer)| lives(answer)).map(|(address, _)| address).collect();
        let silent: BTreeSet<_> = sent_to.iter().filter(|address| !alive.contains(address)).cloned().collect();
        let before = std::mem::replace(&mut *self.silent.lock().unwrap_or_else(PoisonError::into_inner), silent.clone());
        self.judge();
        if silent != before {
            self.doubted.raise();
        }
    }

    pub(crate) fn is_silent(&self, address: &str) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// Notes the state of the primaries. True if all of them are up.
    pub(crate) fn judge(&self) -> bool {
        let (primaries, ailing) = (self.topology().primaries(), self.ailing());
        self.down.store(!ailing.is_empty() && ailing.len() == primaries.len(), Ordering::Relaxed);
        self.counters.note_primaries(ailing.is_empty(), self.runtime().now());
        ailing.is_empty()
    }

    /// Primaries that are not up.
    pub(crate) fn ailing(&self) -> Vec<String> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let members = self.members().clone();
        let fails = |address: &String| members.get(address).is_some_and(|member| member.is_down());
        self.topology().primaries().into_iter().filter(|address| silent.contains(address) || fails(address)).collect()
    }

    /// Whether the topology may be requested again.
    pub(crate) fn is_refresh_due(&self) -> bool {
        let last = Instant::from_nanos(self.refreshed_at.load(Ordering::SeqCst));
        self.runtime().now() >= last + BETWEEN_REFRESHES
    }
}

/// Whether there was no connection because all are on loan.
fn is_busy(error: &GetClientError) -> bool {
    matches!(error, GetClientError::Timeout { phase: WaitPhase::LeasesHeld, .. } | GetClientError::Saturated { .. })
}

/// Ends the check of the nodes, also when it is dropped.
struct LookGuard<'a>(&'a Cluster);

impl Drop for LookGuard<'_> {
    fn drop(&mut self) {
        self.0.is_looking.store(false, Ordering::SeqCst);
    }
}

//! The task of a subscriber: it drives the machine with connections, a clock and the calls of the handles.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis_manager_core::{Instant, Lease, Task};

use crate::error::GetClientError;
use crate::redis_node::{NodeCounters, RedisConnector};
use crate::subscriber::event::{SubscriberEnd, SubscriptionEvent};
use crate::subscriber::lease_source::{LeaseSource, PlaceWatch};
use crate::subscriber::shared::{SubscriberShared, TaskInputs};
use crate::subscriber::state::frame::Frame;
use crate::subscriber::state::subscriber_io::{LinkClose, LinkPlace, SubscriberInput, SubscriberOutput};
use crate::subscriber::state::subscriber_state::SubscriberState;
use crate::subscriber::task_link::{LeasedLink, LinkNews, TaskLink};
use crate::subscriber::topic::TopicKind;

/// The pause after a call for a connection that has failed.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
/// Frames that are taken before other tasks run.
const FRAMES_A_TURN: usize = 256;

/// Ends with the last handle, with the pools, or with its runtime.
pub(super) struct SubscriberTask {
    shared: Arc<SubscriberShared>,
    source: LeaseSource,
    /// Where subscriptions belong, unless they all belong to one node.
    watch: Option<PlaceWatch>,
    state: SubscriberState,
    links: BTreeMap<LinkPlace, TaskLink>,
    timer: Option<(Instant, Task)>,
    is_stalled: bool,
    /// Of the nodes of the last connections.
    counters: BTreeMap<LinkPlace, Arc<NodeCounters>>,
    /// The connection that the events of this turn are from.
    current: LinkPlace,
    has_ended: bool,
}

impl SubscriberTask {
    pub(super) fn new(shared: Arc<SubscriberShared>, source: LeaseSource, state: SubscriberState) -> Self {
        let watch = source.places().map(PlaceWatch::new);
        let (links, counters, timer, current) = (BTreeMap::new(), BTreeMap::new(), None, LinkPlace::Home);
        Self { shared, source, watch, state, links, timer, is_stalled: false, counters, current, has_ended: false }
    }

    fn handle(&mut self, cx: &mut Context<'_>, input: SubscriberInput) {
        let now = self.shared.runtime.now();
        self.state.handle(now, input);
        self.carry_out(cx, now);
    }

    fn handle_of(&mut self, cx: &mut Context<'_>, place: LinkPlace, input: SubscriberInput) {
        self.current = place;
        self.handle(cx, input);
    }

    /// A call of a handle. For sharded channels the machine must know the owners of their slots.
    fn handle_call(&mut self, cx: &mut Context<'_>, input: SubscriberInput) {
        if let (SubscriberInput::Call { kind: TopicKind::Sharded, names, .. }, Some(watch)) = (&input, &self.watch) {
            let owners = watch.owners_of(names);
            self.handle(cx, SubscriberInput::Owners(owners));
        }
        self.handle(cx, input);
    }

    /// Does what the machine wants.
    fn carry_out(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some(output) = self.state.poll_output() {
            match output {
                SubscriberOutput::Dial(place) => {
                    let lending = self.lend(place);
                    self.links.insert(place, lending);
                }
                SubscriberOutput::Close { place, why } => self.give_up(place, Some(why)),
                SubscriberOutput::Send { place, kind, verb, names } => {
                    let mut cmd = redis::cmd(kind.command(verb));
                    for name in &names {
                        cmd.arg(&**name);
                    }
                    self.feed(cx, place, &cmd);
                }
                SubscriberOutput::Ping(place) => self.feed(cx, place, &redis::cmd("PING")),
                SubscriberOutput::Emit(event) => self.emit(now, event),
                SubscriberOutput::Answer { number, outcome } => self.shared.answer(number, outcome),
            }
        }
    }

    fn lend(&mut self, place: LinkPlace) -> TaskLink {
        if let Some(watch) = self.watch.as_mut().filter(|_| place == LinkPlace::Home) {
            watch.note_dial();
        }
        TaskLink::Waiting(self.source.lend(place, self.shared.timeout))
    }

    fn feed(&self, cx: &mut Context<'_>, place: LinkPlace, cmd: &redis::Cmd) {
        if let Some(TaskLink::Up(link)) = self.links.get(&place) {
            link.feed(cx, cmd);
        }
    }

    fn emit(&mut self, now: Instant, event: SubscriptionEvent) {
        let counters = self.counters.get(&self.current).or_else(|| self.counters.get(&LinkPlace::Home));
        if let Some(counters) = counters {
            match &event {
                SubscriptionEvent::Message { .. } => counters.note_message(),
                SubscriptionEvent::Gap { lasted, .. } => counters.note_gap(*lasted),
                SubscriptionEvent::Subscribed { .. } | SubscriptionEvent::Unsubscribed { .. } => {}
            }
        }
        let (dropped, is_stalled) = self.shared.emit(now, event);
        if let Some(counters) = counters.filter(|_| dropped > 0) {
            counters.note_dropped_messages(dropped);
        }
        if is_stalled && !self.is_stalled {
            self.is_stalled = true;
            self.state.handle(now, SubscriberInput::Stalled(true));
        }
    }

    fn give_up(&mut self, place: LinkPlace, why: Option<LinkClose>) {
        if why == Some(LinkClose::Unneeded) {
            self.counters.remove(&place);
        }
        if let Some(TaskLink::Up(link)) = self.links.remove(&place) {
            link.end(why);
        }
    }

    fn connect(&mut self, cx: &mut Context<'_>, place: LinkPlace, lease: Lease<RedisConnector>) {
        let link = LeasedLink::new(lease);
        let counters = Arc::clone(&link.lease().socket().counters);
        if self.counters.insert(place, Arc::clone(&counters)).is_some() {
            counters.note_resubscription();
        }
        self.links.insert(place, TaskLink::Up(link));
        self.shared.note_error(None);
        self.handle_of(cx, place, SubscriberInput::Connected(place));
    }

    /// Goes on with all connections until there is nothing to be done. `true` once the subscriber has ended.
    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut next = self.links.keys().next().copied();
        while let Some(place) = next {
            if self.poll_link(cx, place) {
                return true;
            }
            next = self.links.range((Bound::Excluded(place), Bound::Unbounded)).next().map(|(place, _)| *place);
        }
        false
    }

    fn poll_link(&mut self, cx: &mut Context<'_>, place: LinkPlace) -> bool {
        while let Some(link) = self.links.get_mut(&place) {
            match link {
                TaskLink::Paused(pause) => match pause.as_mut().poll(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(()) => {
                        let lending = self.lend(place);
                        self.links.insert(place, lending);
                    }
                },
                TaskLink::Waiting(lending) => match lending.as_mut().poll(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(lease)) => self.connect(cx, place, lease),
                    Poll::Ready(Err(error)) => {
                        // An owner of slots may have left the cluster: its channels belong to another one then.
                        let end = end_by(&error).filter(|end| place == LinkPlace::Home || *end == SubscriberEnd::RuntimeEnded);
                        if let Some(end) = end {
                            self.shared.end(end);
                            return true;
                        }
                        *link = TaskLink::Paused(self.shared.runtime.sleep(BETWEEN_CALLS));
                        self.shared.note_error(Some(error));
                    }
                },
                TaskLink::Up(_) => {
                    if !self.read(cx, place) {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// Reads for a while. `true` if the connection was lost.
    fn read(&mut self, cx: &mut Context<'_>, place: LinkPlace) -> bool {
        for _ in 0..FRAMES_A_TURN {
            let Some(TaskLink::Up(link)) = self.links.get_mut(&place) else { return true };
            match link.poll_news(cx, self.is_stalled) {
                Poll::Ready(LinkNews::Frame(frame)) => {
                    if let (Frame::Error { code, text }, Some(watch)) = (&frame, &self.watch)
                        && code == "MOVED"
                    {
                        watch.redirected(place, text);
                    }
                    self.handle_of(cx, place, SubscriberInput::Received(place, frame));
                }
                Poll::Ready(LinkNews::Bytes) => {
                    self.handle_of(cx, place, SubscriberInput::Heard(place));
                    return false;
                }
                Poll::Ready(LinkNews::Lost) => {
                    self.give_up(place, None);
                    self.watch.iter().for_each(|watch| watch.doubt(place));
                    self.handle_of(cx, place, SubscriberInput::Lost(place));
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// Looks at the places again, if they may have changed.
    fn poll_places(&mut self, cx: &mut Context<'_>) {
        let Some(watch) = &mut self.watch else { return };
        if watch.poll_changed(cx) {
            let owners = watch.owners(self.state.slots());
            self.handle(cx, SubscriberInput::Owners(owners));
        }
        let has_moved = self.watch.as_ref().is_some_and(PlaceWatch::has_home_moved);
        if has_moved && matches!(self.links.get(&LinkPlace::Home), Some(TaskLink::Up(_))) {
            self.handle(cx, SubscriberInput::HomeMoved);
        }
    }

    /// Lets time pass for the machine. `true` if it has done something.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(deadline) = self.state.next_deadline() else {
                self.timer = None;
                return false;
            };
            if deadline <= self.shared.runtime.now() {
                self.handle(cx, SubscriberInput::Tick);
                return true;
            }
            // One that ends too early is followed by another one: most deadlines are put off before they come.
            let (end, sleep) = match &mut self.timer {
                Some(kept) if kept.0 <= deadline => kept,
                _ => self.timer.insert((deadline, self.shared.runtime.sleep_until(deadline))),
            };
            let end = *end;
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer = None;
            if end == deadline {
                self.handle(cx, SubscriberInput::Tick);
                return true;
            }
        }
    }
}

/// Errors that are the end of a subscriber; after any other one it asks again.
fn end_by(error: &GetClientError) -> Option<SubscriberEnd> {
    match error {
        GetClientError::Closed { .. } | GetClientError::UnknownNode { .. } => Some(SubscriberEnd::Closed),
        GetClientError::RuntimeEnded { .. } => Some(SubscriberEnd::RuntimeEnded),
        GetClientError::NoHealthyPools { .. }
        | GetClientError::Timeout { .. }
        | GetClientError::Saturated { .. }
        | GetClientError::NoFloorLeft { .. }
        | GetClientError::NoOwner { .. }
        | GetClientError::NoReplica { .. } => None,
    }
}

impl Future for SubscriberTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(TaskInputs { inputs, is_stalled }) = this.shared.take_inputs(cx.waker()) else {
            this.has_ended = true;
            let places: Vec<LinkPlace> = this.links.keys().copied().collect();
            places.into_iter().for_each(|place| this.give_up(place, Some(LinkClose::Unneeded)));
            return Poll::Ready(());
        };
        if std::mem::replace(&mut this.is_stalled, is_stalled) != is_stalled {
            this.handle(cx, SubscriberInput::Stalled(is_stalled));
        }
        // What it wants from the beginning.
        this.carry_out(cx, this.shared.runtime.now());
        for input in inputs {
            this.handle_call(cx, input);
        }
        loop {
            this.poll_places(cx);
            if this.poll_links(cx) {
                this.has_ended = true;
                return Poll::Ready(());
            }
            let has_news = this.watch.as_ref().is_some_and(PlaceWatch::is_behind);
            if !this.poll_timer(cx) && !has_news {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for SubscriberTask {
    fn drop(&mut self) {
        if !self.has_ended {
            self.shared.end(SubscriberEnd::RuntimeEnded);
        }
    }
}

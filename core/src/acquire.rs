//! The future of `get()`: takes what idles, else waits in line; leaving early at any point loses nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::connector::Connector;
use crate::door::Door;
use crate::error::GetClientError;
use crate::lease::Lease;
use crate::state::{Acquired, Input, Loan, Outcome, Verdict, WaiterId, Want};

/// Waits for a connection; made by [`NodePool::get`](crate::NodePool::get).
///
/// Its time runs from the first poll that finds no idle connection.
///
/// # Cancel safety
///
/// May be dropped at any time: its place in line is given up, and a connection that it was granted already goes to the
/// next in line.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a, K: Connector> {
    door: &'a Arc<Door<K>>,
    timeout: Duration,
    state: State,
}

enum State {
    New,
    InLine(WaiterId),
    Done,
}

impl<'a, K: Connector> Acquire<'a, K> {
    pub(crate) fn new(door: &'a Arc<Door<K>>, timeout: Duration) -> Self {
        Self { door, timeout, state: State::New }
    }

    fn lend(&mut self, loan: Loan<K::Connection>) -> Poll<Result<Lease<K>, GetClientError>> {
        self.state = State::Done;
        Poll::Ready(Ok(Lease::new(Arc::clone(self.door), loan)))
    }

    fn fail(&mut self, outcome: Outcome<K::Connection>) -> Poll<Result<Lease<K>, GetClientError>> {
        self.state = State::Done;
        Poll::Ready(Err(self.door.error(outcome)))
    }
}

impl<K: Connector> Future for Acquire<'_, K> {
    type Output = Result<Lease<K>, GetClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut asked = match this.state {
            State::New => match this.door.take_idle() {
                Some(loan) => return this.lend(loan),
                None => {
                    let timeout = this.timeout;
                    let acquired = this.door.acquire(|now| now + timeout, cx.waker());
                    if let Acquired::Waiting(id) = acquired {
                        // Its outcome will come with a wake.
                        this.state = State::InLine(id);
                        return Poll::Pending;
                    }
                    acquired
                }
            },
            State::InLine(id) => Acquired::Waiting(id),
            State::Done => panic!("a get() was polled after it had ended"),
        };
        loop {
            asked = match asked {
                Acquired::Loan(mut loan) => {
                    if this.door.is_sound(&mut loan) {
                        return this.lend(loan);
                    }
                    this.door.put(Input::Release(loan, Verdict::Stale));
                    let timeout = this.timeout;
                    this.door.acquire(|now| now + timeout, cx.waker())
                }
                Acquired::Waiting(id) => {
                    this.state = State::InLine(id);
                    match this.door.collect(id, cx.waker()) {
                        None => return Poll::Pending,
                        Some(Outcome::Granted(mut loan, place)) => {
                            this.state = State::Done;
                            if this.door.is_sound(&mut loan) {
                                return this.lend(loan);
                            }
                            this.door.refuse(loan, place, cx.waker())
                        }
                        Some(outcome) => return this.fail(outcome),
                    }
                }
                Acquired::Saturated { waiting } => {
                    this.state = State::Done;
                    let node = String::from(this.door.name());
                    return Poll::Ready(Err(GetClientError::Saturated { node, waiting }));
                }
                Acquired::Down(refusal) => return this.fail(Outcome::Down(refusal)),
                Acquired::Closed => return this.fail(Outcome::Closed),
            };
        }
    }
}

impl<K: Connector> Drop for Acquire<'_, K> {
    fn drop(&mut self) {
        if let State::InLine(id) = self.state {
            self.door.cancel(id);
        }
    }
}

impl<K: Connector> fmt::Debug for Acquire<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("node", &self.door.name()).finish_non_exhaustive()
    }
}

/// Waits for something else than a connection: the node warm, or the pool drained.
pub(crate) struct WaitFor<'a, K: Connector> {
    door: &'a Arc<Door<K>>,
    want: Want,
    timeout: Duration,
    state: State,
}

impl<'a, K: Connector> WaitFor<'a, K> {
    pub(crate) fn new(door: &'a Arc<Door<K>>, want: Want, timeout: Duration) -> Self {
        Self { door, want, timeout, state: State::New }
    }
}

impl<K: Connector> Future for WaitFor<'_, K> {
    type Output = Result<(), GetClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let id = match this.state {
            State::New => match this.door.wait_for(this.want, |now| now + this.timeout, cx.waker()) {
                Acquired::Waiting(id) => id,
                Acquired::Down(refusal) => {
                    this.state = State::Done;
                    return Poll::Ready(Err(this.door.error(Outcome::Down(refusal))));
                }
                Acquired::Loan(_) | Acquired::Saturated { .. } | Acquired::Closed => {
                    this.state = State::Done;
                    return Poll::Ready(Err(this.door.error(Outcome::Closed)));
                }
            },
            State::InLine(id) => id,
            State::Done => panic!("a wait was polled after it had ended"),
        };
        this.state = State::InLine(id);
        let Some(outcome) = this.door.collect(id, cx.waker()) else { return Poll::Pending };
        this.state = State::Done;
        Poll::Ready(match outcome {
            Outcome::Ready => Ok(()),
            told @ (Outcome::Granted(..) | Outcome::TimedOut(_) | Outcome::Down(_) | Outcome::Closed) => {
                Err(this.door.error(told))
            }
        })
    }
}

impl<K: Connector> Drop for WaitFor<'_, K> {
    fn drop(&mut self) {
        if let State::InLine(id) = self.state {
            self.door.cancel(id);
        }
    }
}

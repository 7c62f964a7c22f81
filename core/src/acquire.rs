//! The future of `get()`: takes what idles, else waits in the queue; leaving early at any point loses nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::connector::Connector;
use crate::error::AcquireError;
use crate::lease::Lease;
use crate::node::Node;
use crate::state::{Acquired, Input, Loan, Outcome, ReleaseKind, WaitError, WaitKind, WaiterId};

/// Waits for a connection; made by [`NodePool::get`](crate::NodePool::get).
///
/// Its time runs from the first poll that finds no idle connection.
///
/// # Cancel safety
///
/// May be dropped at any time: its position in the queue is given up, and a connection that it was granted already goes to the
/// next in the queue.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a, K: Connector> {
    node: &'a Arc<Node<K>>,
    timeout: Duration,
    state: WaitState,
}

enum WaitState {
    New,
    Queued(WaiterId),
    Done,
}

impl<'a, K: Connector> Acquire<'a, K> {
    pub(crate) fn new(node: &'a Arc<Node<K>>, timeout: Duration) -> Self {
        Self { node, timeout, state: WaitState::New }
    }

    fn lend(&mut self, loan: Loan<K::Connection>) -> Poll<Result<Lease<K>, AcquireError>> {
        self.state = WaitState::Done;
        Poll::Ready(Ok(Lease::new(Arc::clone(self.node), loan)))
    }

    fn fail(&mut self, error: WaitError) -> Poll<Result<Lease<K>, AcquireError>> {
        self.state = WaitState::Done;
        Poll::Ready(Err(self.node.error_of(error)))
    }
}

impl<K: Connector> Future for Acquire<'_, K> {
    type Output = Result<Lease<K>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut asked = match this.state {
            WaitState::New => match this.node.take_idle() {
                Some(loan) => return this.lend(loan),
                None => {
                    let timeout = this.timeout;
                    let acquired = this.node.acquire(|now| now + timeout, cx.waker());
                    if let Acquired::Waiting(id) = acquired {
                        // Its outcome will come with a wake.
                        this.state = WaitState::Queued(id);
                        return Poll::Pending;
                    }
                    acquired
                }
            },
            WaitState::Queued(id) => Acquired::Waiting(id),
            WaitState::Done => panic!("a get() was polled after it had ended"),
        };
        loop {
            asked = match asked {
                Acquired::Loan(mut loan) => {
                    if this.node.is_sound(&mut loan) {
                        return this.lend(loan);
                    }
                    this.node.put(Input::Release(loan, ReleaseKind::Stale));
                    let timeout = this.timeout;
                    this.node.acquire(|now| now + timeout, cx.waker())
                }
                Acquired::Waiting(id) => {
                    this.state = WaitState::Queued(id);
                    match this.node.collect(id, cx.waker()) {
                        None => return Poll::Pending,
                        Some(Outcome::Granted(mut loan, place)) => {
                            this.state = WaitState::Done;
                            if this.node.is_sound(&mut loan) {
                                return this.lend(loan);
                            }
                            this.node.refuse(loan, place, cx.waker())
                        }
                        Some(Outcome::Failed(error)) => return this.fail(error),
                        Some(Outcome::Ready) => unreachable!("{NO_SUCH_END}"),
                    }
                }
                Acquired::Saturated { waiting } => {
                    this.state = WaitState::Done;
                    let node = String::from(this.node.name());
                    return Poll::Ready(Err(AcquireError::Saturated { node, waiting }));
                }
                Acquired::Down(failure) => return this.fail(WaitError::Down(failure)),
                Acquired::Closed => return this.fail(WaitError::Closed),
            };
        }
    }
}

impl<K: Connector> Drop for Acquire<'_, K> {
    fn drop(&mut self) {
        if let WaitState::Queued(id) = self.state {
            self.node.cancel(id);
        }
    }
}

impl<K: Connector> fmt::Debug for Acquire<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("node", &self.node.name()).finish_non_exhaustive()
    }
}

/// Waits for something else than a connection: the node warm, or the pool drained.
pub(crate) struct WaitFor<'a, K: Connector> {
    node: &'a Arc<Node<K>>,
    want: WaitKind,
    timeout: Duration,
    state: WaitState,
}

impl<'a, K: Connector> WaitFor<'a, K> {
    pub(crate) fn new(node: &'a Arc<Node<K>>, want: WaitKind, timeout: Duration) -> Self {
        Self { node, want, timeout, state: WaitState::New }
    }
}

impl<K: Connector> Future for WaitFor<'_, K> {
    type Output = Result<(), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let id = match this.state {
            WaitState::New => match this.node.wait_for(this.want, |now| now + this.timeout, cx.waker()) {
                Acquired::Waiting(id) => id,
                Acquired::Down(failure) => {
                    this.state = WaitState::Done;
                    return Poll::Ready(Err(this.node.error_of(WaitError::Down(failure))));
                }
                Acquired::Closed => {
                    this.state = WaitState::Done;
                    return Poll::Ready(Err(this.node.error_of(WaitError::Closed)));
                }
                Acquired::Loan(_) | Acquired::Saturated { .. } => unreachable!("{NO_SUCH_END}"),
            },
            WaitState::Queued(id) => id,
            WaitState::Done => panic!("a wait was polled after it had ended"),
        };
        this.state = WaitState::Queued(id);
        let Some(outcome) = this.node.collect(id, cx.waker()) else { return Poll::Pending };
        this.state = WaitState::Done;
        Poll::Ready(match outcome {
            Outcome::Ready => Ok(()),
            Outcome::Failed(error) => Err(this.node.error_of(error)),
            Outcome::Granted(..) => unreachable!("{NO_SUCH_END}"),
        })
    }
}

impl<K: Connector> Drop for WaitFor<'_, K> {
    fn drop(&mut self) {
        if let WaitState::Queued(id) = self.state {
            self.node.cancel(id);
        }
    }
}

/// Only a wait for a connection ends with one; the kind of a wait never changes.
const NO_SUCH_END: &str = "a wait ends with what was waited for, or fails";

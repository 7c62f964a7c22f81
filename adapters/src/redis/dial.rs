//! Dials a node: the addresses of its name, staggered, until one accepts. `addresses` decides the order and the pace.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis_manager_core::{Instant, Task};

use crate::error::FailureKind;
use crate::network::{Network, Reply};
use crate::redis_node::addresses::{AddressBook, AddressRace, RaceStep};
use crate::redis_node::connect_phase::{ConnectPhase, ConnectTrace};
use crate::redis_node::error::{ConnectError, kind_of_dial};
use crate::stream::BoxStream;
use crate::tcp_options::TcpOptions;

/// Dials one node repeatedly, and remembers which addresses worked.
pub(crate) struct Dialler {
    network: Arc<dyn Network>,
    tcp: TcpOptions,
    /// The longest that one address may take.
    dial_timeout: Duration,
    book: Mutex<AddressBook>,
}

impl Dialler {
    pub(crate) fn new(network: Arc<dyn Network>, tcp: TcpOptions, dial_timeout: Duration) -> Self {
        Self { network, tcp, dial_timeout, book: Mutex::default() }
    }

    /// Opens a stream to the first address of a name that accepts; all other attempts are dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops every attempt. Addresses that have not answered are dialled last next time.
    pub(crate) async fn dial(
        &self,
        host: &str,
        port: u16,
        progress: &mut ConnectTrace<'_>,
    ) -> Result<(BoxStream, AddressTrial<'_>), ConnectError> {
        let resolved = self.network.resolve(host, port).await;
        let resolved = resolved.map_err(|source| ConnectError::Resolve { host: String::from(host), source })?;
        let order = self.book().order(resolved);
        // A single address needs no name in the error.
        let name = match *order {
            [] => return Err(ConnectError::NoAddress { host: String::from(host) }),
            [_] => None,
            [..] => Some(String::from(host)),
        };
        progress.reach(ConnectPhase::Dial);
        self.race(order).await.map_err(|(failures, kind)| ConnectError::Unreachable { name, failures, kind })
    }

    /// A stream to a unix socket.
    pub(crate) async fn dial_unix(&self, path: &Path) -> Result<BoxStream, ConnectError> {
        let mut dialled = self.network.connect_unix(path);
        let mut sleep = self.network.sleep(self.dial_timeout);
        let dialled = poll_fn(|cx| match dialled.as_mut().poll(cx) {
            Poll::Ready(dialled) => Poll::Ready(dialled),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| {
                let text = format!("no answer within {:?}", self.dial_timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }),
        });
        dialled.await.map_err(|source| ConnectError::Dial { address: path.display().to_string(), source })
    }

    /// The error lists each address with its failure; the kind is the most specific one of them.
    async fn race(&self, order: Vec<SocketAddr>) -> Result<(BoxStream, AddressTrial<'_>), (String, FailureKind)> {
        let mut course =
            RaceGuard { dialler: self, race: AddressRace::new(order, self.dial_timeout, self.network.now()), won: false };
        let mut attempts: Vec<Option<Reply<'_, BoxStream>>> = Vec::new();
        let mut timer: Option<(Instant, Task)> = None;
        let mut kind = FailureKind::Silent;
        poll_fn(|cx| {
            loop {
                for (number, slot) in attempts.iter_mut().enumerate() {
                    let Some(Poll::Ready(dialled)) = slot.as_mut().map(|attempt| attempt.as_mut().poll(cx)) else { continue };
                    *slot = None;
                    match dialled {
                        Ok(stream) => return Poll::Ready(Ok((stream, course.won(number)))),
                        Err(error) => {
                            kind = more_telling(kind, kind_of_dial(error.kind()));
                            course.race.failed(number, error.to_string(), self.network.now());
                        }
                    }
                }
                match course.race.next_step(self.network.now()) {
                    RaceStep::Start(number) => {
                        attempts.push(Some(self.network.connect_tcp(course.race.address(number), &self.tcp)));
                    }
                    RaceStep::GiveUp(number) => attempts[number] = None,
                    RaceStep::AllFailed => return Poll::Ready(Err((course.race.failures(), kind))),
                    RaceStep::Wait(at) => {
                        if timer.as_ref().is_some_and(|(until, _)| *until != at) {
                            timer = None;
                        }
                        let (_, sleep) = timer.get_or_insert_with(|| (at, self.network.sleep_until(at)));
                        if sleep.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        timer = None;
                    }
                }
            }
        })
        .await
    }

    fn book(&self) -> MutexGuard<'_, AddressBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refused dial is more specific than an unreachable address, and that more than a timeout.
fn more_telling(one: FailureKind, other: FailureKind) -> FailureKind {
    match (one, other) {
        (FailureKind::Refused, _) | (_, FailureKind::Silent) => one,
        (_, _) => other,
    }
}

/// A race in progress. When it ends or is dropped, the addresses that did not answer are noted.
struct RaceGuard<'a> {
    dialler: &'a Dialler,
    race: AddressRace,
    won: bool,
}

impl<'a> RaceGuard<'a> {
    fn won(&mut self, winner: usize) -> AddressTrial<'a> {
        self.won = true;
        self.race.won(winner, &mut self.dialler.book());
        AddressTrial { dialler: self.dialler, address: Some(self.race.address(winner)) }
    }
}

impl Drop for RaceGuard<'_> {
    fn drop(&mut self) {
        if !self.won {
            self.race.ended(&mut self.dialler.book());
        }
    }
}

/// An address that accepted, before the login. Unless the login [passes](AddressTrial::passed), it is dialled last next time.
#[must_use]
pub(crate) struct AddressTrial<'a> {
    dialler: &'a Dialler,
    address: Option<SocketAddr>,
}

impl AddressTrial<'_> {
    pub(crate) fn passed(mut self) {
        self.address = None;
    }
}

impl Drop for AddressTrial<'_> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.dialler.book().note_failed(address);
        }
    }
}

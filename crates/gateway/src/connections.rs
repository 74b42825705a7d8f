//! Connections: counted, and how many there may be, of all clients and of one.
//!
//! The counts are the process's and not a router's: nothing but the listener sees one come and go. A client is its address, of
//! IPv6 the network of 64 bits it is in; which keys it has only its requests tell.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::router::share;

/// So many are told at a time that there is no place for them; more are closed without a word.
const REFUSALS_MAX: usize = 64;
/// How long a client that is refused may take to ask, and to read that it is.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// In HTTP/2: no settings, and GOAWAY with the last stream 0 and the error `ENHANCE_YOUR_CALM` (RFC 9113, 6.5, 6.8 and 7).
const HTTP_2_REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";

static OPENED: AtomicU64 = AtomicU64::new(0);
static CLOSED: AtomicU64 = AtomicU64::new(0);
static CUT_OFF: [AtomicU64; CutOff::ALL.len()] = [const { AtomicU64::new(0) }; CutOff::ALL.len()];

/// A connection, open until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(());

impl Open {
    pub(crate) fn new() -> Self {
        OPENED.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        CLOSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many were opened, and how many of them are open now.
pub(crate) fn counted() -> (u64, u64) {
    let closed = CLOSED.load(Ordering::Relaxed);
    let opened = OPENED.load(Ordering::Relaxed);
    (opened, opened.saturating_sub(closed))
}

/// Why a connection was ended by the server before its client would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// All places are taken, or those that its client may have.
    NoPlace,
    /// No head of a request came in time.
    NoRequest,
    /// What it was sent was not read in time.
    Unread,
    /// The same of one reply among others: HTTP/2.
    UnreadReply,
}

impl CutOff {
    const ALL: [Self; 4] = [Self::NoPlace, Self::NoRequest, Self::Unread, Self::UnreadReply];

    /// What it is counted under.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoPlace => "no_place",
            Self::NoRequest => "no_request",
            Self::Unread => "unread",
            Self::UnreadReply => "unread_reply",
        }
    }

    /// One more.
    pub(crate) fn count(self) {
        CUT_OFF[self as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were of this reason.
    pub(crate) fn times(self) -> u64 {
        CUT_OFF[self as usize].load(Ordering::Relaxed)
    }

    /// How many there were, by reason.
    pub(crate) fn counted() -> [(&'static str, u64); Self::ALL.len()] {
        Self::ALL.map(|why| (why.name(), why.times()))
    }
}

/// Who has connections, and how many there may be.
#[derive(Debug)]
pub(crate) struct Peers {
    places: Arc<Semaphore>,
    most: usize,
    known: HashMap<IpAddr, Arc<Peer>>,
    refusals: Arc<Semaphore>,
}

/// A client with connections: each of them holds it.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    in_progress: AtomicUsize,
}

/// The place of a connection among all, and among those of its client.
#[derive(Debug)]
pub(crate) struct Place {
    peer: Arc<Peer>,
    _place: OwnedSemaphorePermit,
}

impl Place {
    /// A request of the client has begun: how many it has in progress.
    pub(crate) fn request_begins(&self) -> usize {
        self.peer.in_progress.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// It has ended.
    pub(crate) fn request_ends(&self) {
        self.peer.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Peers {
    /// With so many places for connections.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let (places, refusals) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(REFUSALS_MAX)));
        Self { places, most, known: HashMap::new(), refusals }
    }

    /// A place for a connection of this address; none if all are taken, or it has its share of them.
    pub(crate) fn place(&mut self, address: IpAddr) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // No more than half of those known are at work, so this happens once for as many that come.
        if self.known.len() > 2 * self.most {
            self.known.retain(|_, peer| Arc::strong_count(peer) > 1);
        }
        let peer = self.known.entry(client(address)).or_default();
        // One is the list's.
        if Arc::strong_count(peer) > share(self.most) {
            return None;
        }
        Some(Place { peer: Arc::clone(peer), _place: place })
    }

    /// Tells a connection in the background that there is no place for it, if it asks in the clear.
    pub(crate) fn refuse(&self, stream: std::net::TcpStream, encrypted: bool) {
        CutOff::NoPlace.count();
        let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        if encrypted {
            return;
        }
        tokio::spawn(async move {
            // Nothing is owed to who does not take it.
            let _ = tokio::time::timeout(REFUSAL_TIME, refused(stream)).await;
            drop(turn);
        });
    }

    /// Waits until all connections are closed.
    pub(crate) async fn closed(&self) {
        // Each holds one.
        let _ = self.places.acquire_many(u32::try_from(self.most).unwrap_or(u32::MAX)).await;
    }
}

/// What counts as one client.
fn client(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !(u64::MAX as u128);
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

async fn refused(mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = [0; 4096];
    let read = stream.read(&mut asked).await?;
    if read == 0 {
        return Ok(());
    }
    if asked[..read].starts_with(HTTP_2_PREFACE) {
        stream.write_all(HTTP_2_REFUSAL).await?;
    } else {
        let body = r#"{"error": {"code": 503, "message": "too many connections are open already, of all clients or of this one; close some or try again", "status": "UNAVAILABLE"}}"#;
        let reply = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(reply.as_bytes()).await?;
    }
    stream.shutdown().await?;
    // What comes is read to its end: a line that is closed before that would take the reply with it.
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_half_of_the_places_and_gets_them_back() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut peers = Peers::new(5);
        let mut held: Vec<Place> = (0..3).map(|_| peers.place(address("192.0.2.1")).unwrap()).collect();
        assert!(peers.place(address("192.0.2.1")).is_none(), "it has its share");
        assert!(peers.place(address("::ffff:192.0.2.1")).is_none(), "the same in other words");
        let other = peers.place(address("2001:db8:0:1::7")).unwrap();
        held.pop();
        let again = peers.place(address("192.0.2.1")).unwrap();
        held.push(peers.place(address("2001:db8:0:1:ffff::8")).unwrap());
        assert!(peers.place(address("2001:db8:0:2::7")).is_none(), "all are taken");
        assert!(Arc::ptr_eq(&other.peer, &held.last().unwrap().peer), "one network, one client");
        assert_eq!((again.request_begins(), held[0].request_begins()), (1, 2));
        again.request_ends();
        assert_eq!(held[0].request_begins(), 2);
        // Whoever is gone is forgotten after a while.
        drop((held, other, again));
        for n in 0..100_u32 {
            drop(peers.place(IpAddr::V4(n.into())).unwrap());
        }
        assert!(peers.known.len() <= 2 * 5 + 1, "{}", peers.known.len());
    }
}

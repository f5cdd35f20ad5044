//! Those who do not follow the protocol.
//!
//! An adversary is a node with a real torrent, as everybody else is, whose shell lies: it changes or drops what the torrent
//! sends ([`Adversary::send`]), serves what it likes ([`Adversary::serve`]), keeps from the torrent what it hears
//! ([`Adversary::hears`]), and does things of its own accord every so often ([`Adversary::act`]). So each kind is a few lines,
//! and all the rest of what it does is what any client would do.
//!
//! | kind | file | does |
//! | --- | --- | --- |
//! | corrupter | `corrupter` | sends one block in so many wrong, or every one |
//! | partial liar, HAVE liar | `liars` | says that it has what it has not |
//! | silent unchoker, slow drip | `silent` | unchokes and serves nothing, or a byte a second |
//! | free-rider, large view | `free_rider` | takes and never gives; the second from everybody at once |
//! | PEX and DHT poisoner | `poisoners` | names peers that do not exist |
//! | metadata liar | `metadata` | offers and sends metadata that is none |
//! | request flooder | `flooder` | asks without end, the same again and nonsense |
//! | disconnect storm | `storm` | connects and disconnects |
//! | Sybil subnet | `silent` | many silent ones in one small network |
//! | byte fuzzer | `fuzzer` | sends messages with bytes changed, and bytes that are no message |

mod corrupter;
mod flooder;
mod free_rider;
mod fuzzer;
mod liars;
mod metadata;
mod poisoners;
mod silent;
mod storm;

use crate::swarm::Item;
use samara_swarm::rng::Rng;
use samara_swarm::torrent::PeerKey;
use samara_wire::id::{BlockRef, PieceIndex};
use samara_wire::layout::PieceLayout;
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a node does that an honest one would not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Behaviour {
    /// Follows the protocol.
    Honest,
    /// Sends one block in so many wrong.
    Corrupter {
        /// One in how many.
        one_in: u32,
    },
    /// Says that it has everything and has every other piece; is silent about the rest.
    PartialLiar,
    /// Tells of pieces that it has not, and rejects what it is asked for.
    HaveLiar,
    /// Says that it has everything, unchokes, and never serves a block.
    SilentUnchoker,
    /// Serves a byte a second.
    SlowDrip,
    /// Downloads and never uploads.
    FreeRider,
    /// The same, from as many peers as there are.
    LargeView,
    /// Names peers that do not exist, by peer exchange.
    PexPoisoner,
    /// The same, in the DHT.
    DhtPoisoner,
    /// Offers metadata that is none.
    MetadataLiar,
    /// Asks without end.
    RequestFlooder,
    /// Connects and disconnects.
    DisconnectStorm,
    /// Silent, with many like it in one small network.
    Sybil,
    /// Sends messages with bytes changed, and bytes that are no message.
    ByteFuzzer,
}

impl Behaviour {
    /// One of each kind that does harm, the corrupters of both sorts.
    pub const ADVERSARIES: [Self; 15] = [
        Self::Corrupter { one_in: 1 },
        Self::Corrupter { one_in: 1_000 },
        Self::PartialLiar,
        Self::HaveLiar,
        Self::SilentUnchoker,
        Self::SlowDrip,
        Self::FreeRider,
        Self::LargeView,
        Self::PexPoisoner,
        Self::DhtPoisoner,
        Self::MetadataLiar,
        Self::RequestFlooder,
        Self::DisconnectStorm,
        Self::Sybil,
        Self::ByteFuzzer,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Corrupter { one_in: 1 } => "corrupter of all",
            Self::Corrupter { .. } => "corrupter",
            Self::PartialLiar => "partial liar",
            Self::HaveLiar => "HAVE liar",
            Self::SilentUnchoker => "silent unchoker",
            Self::SlowDrip => "slow drip",
            Self::FreeRider => "free-rider",
            Self::LargeView => "large view",
            Self::PexPoisoner => "PEX poisoner",
            Self::DhtPoisoner => "DHT poisoner",
            Self::MetadataLiar => "metadata liar",
            Self::RequestFlooder => "request flooder",
            Self::DisconnectStorm => "disconnect storm",
            Self::Sybil => "Sybil subnet",
            Self::ByteFuzzer => "byte fuzzer",
        }
    }

    /// Whether it says from the start that it has all pieces.
    #[must_use]
    pub const fn claims_everything(self) -> bool {
        matches!(
            self,
            Self::Corrupter { .. }
                | Self::PartialLiar
                | Self::SilentUnchoker
                | Self::SlowDrip
                | Self::Sybil
        )
    }

    /// Whether it may send blocks that are wrong, for which alone a peer is banned.
    #[must_use]
    pub const fn corrupts(self) -> bool {
        matches!(self, Self::Corrupter { .. })
    }

    pub(crate) fn make(self) -> Option<Box<dyn Adversary>> {
        Some(match self {
            Self::Honest => return None,
            Self::Corrupter { one_in } => Box::new(corrupter::Corrupter::new(one_in)),
            Self::PartialLiar => Box::new(liars::PartialLiar),
            Self::HaveLiar => Box::new(liars::HaveLiar),
            Self::SilentUnchoker | Self::Sybil => Box::new(silent::Silent),
            Self::SlowDrip => Box::new(silent::Drip),
            Self::FreeRider => Box::new(free_rider::FreeRider),
            Self::LargeView => Box::new(free_rider::LargeView),
            Self::PexPoisoner => Box::new(poisoners::Pex),
            Self::DhtPoisoner => Box::new(poisoners::Dht),
            Self::MetadataLiar => Box::new(metadata::Liar),
            Self::RequestFlooder => Box::new(flooder::Flooder),
            Self::DisconnectStorm => Box::new(storm::Storm),
            Self::ByteFuzzer => Box::new(fuzzer::Fuzzer),
        })
    }
}

/// What becomes of a block that is to be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Serve {
    /// It is sent as it is.
    Right,
    /// It is sent wrong, in this way.
    Wrong(u64),
    /// It is not sent and nothing is said.
    Withheld,
    /// A byte of it is sent each second.
    Dripped,
}

/// What an adversary does of its own accord.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Send(PeerKey, Message),
    Garbage(PeerKey),
    Close(PeerKey),
    /// Asks the tracker for peers and dials them all.
    DialAll,
}

/// What an adversary sees when it acts.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) layout: &'a PieceLayout,
    /// Those it is connected to.
    pub(crate) peers: &'a [PeerKey],
    /// To be filled.
    pub(crate) deeds: Vec<Deed>,
}

impl Scene<'_> {
    fn any_piece(&mut self) -> PieceIndex {
        let piece = self.rng.below(self.layout.count() as usize);
        PieceIndex(u32::try_from(piece).unwrap_or(0))
    }

    fn send(&mut self, to: PeerKey, message: Message) {
        self.deeds.push(Deed::Send(to, message));
    }
}

/// One kind of adversary. Without anything of its own it is honest.
pub(crate) trait Adversary: Debug + Send {
    /// What becomes of a message that its torrent sends.
    fn send(&mut self, message: Message) -> Option<Message> {
        Some(message)
    }

    /// What becomes of a block that its torrent would serve.
    fn serve(&mut self, _block: BlockRef) -> Serve {
        Serve::Right
    }

    /// Whether its torrent is told of what came.
    fn hears(&mut self, _item: &Item) -> bool {
        true
    }

    /// How often it acts; `None`: never.
    fn every(&self) -> Option<Duration> {
        None
    }

    /// Does what it does.
    fn act(&mut self, _scene: &mut Scene<'_>) {}

    /// Addresses that it has written into the DHT.
    fn poison(&mut self, _rng: &mut Rng) -> Vec<SocketAddr> {
        Vec::new()
    }
}

/// An address at which nobody lives.
pub(crate) fn nowhere(rng: &mut Rng) -> SocketAddr {
    let [_, b, c, d, _, _, e, f] = rng.next_u64().to_be_bytes();
    let port = u16::from_be_bytes([e, f]).max(1);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(55, b, c, d)), port)
}

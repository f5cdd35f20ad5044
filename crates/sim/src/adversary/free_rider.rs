//! Those who take and never give. To everybody else they look like slow newcomers.

use super::{Adversary, Deed, Scene, Serve};
use samara_wire::id::BlockRef;
use samara_wire::peer::message::Message;
use samara_wire::time::Duration;

/// What lets others ask is not sent; what they ask for all the same is not served.
fn keep_choked(message: Message) -> Option<Message> {
    match message {
        Message::Unchoke | Message::AllowedFast(_) => None,
        other => Some(other),
    }
}

/// Never unchokes anybody.
#[derive(Debug)]
pub(super) struct FreeRider;

impl Adversary for FreeRider {
    fn send(&mut self, message: Message) -> Option<Message> {
        keep_choked(message)
    }

    fn serve(&mut self, _block: BlockRef) -> Serve {
        Serve::Withheld
    }
}

/// The same, and connects to everybody there is, so that more of the slots that go by lot fall to it.
#[derive(Debug)]
pub(super) struct LargeView;

impl Adversary for LargeView {
    fn send(&mut self, message: Message) -> Option<Message> {
        keep_choked(message)
    }

    fn serve(&mut self, _block: BlockRef) -> Serve {
        Serve::Withheld
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    fn act(&mut self, scene: &mut Scene<'_>) {
        scene.deeds.push(Deed::DialAll);
    }
}

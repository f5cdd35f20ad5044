//! KRPC: a packet that is understood can be said again and is understood the same; bounds hold.

use samara_wire::krpc::{Body, ErrorReply, MAX_PACKET, MAX_TOKEN, Packet};

/// Reads `input` as a datagram of the DHT.
pub fn run(input: &[u8]) {
    let packet = match Packet::parse(input) {
        Ok(packet) => packet,
        Err(error) => {
            // A refusal is short, whatever was sent.
            let refusal = ErrorReply::of(input, error);
            assert!(refusal.is_none_or(|(_, reply)| reply.code == 203 && reply.message.len() < 50));
            return;
        }
    };
    assert!(input.len() <= MAX_PACKET);
    if let Body::Response(response) = &packet.body {
        assert!(response.token.as_ref().is_none_or(|token| token.as_bytes().len() <= MAX_TOKEN));
        assert!(response.values.iter().flatten().all(|peer| peer.port() != 0));
    }
    let again = packet.encode();
    // A missing interval or total is written as 0, and a negative number in a flag's place not at all.
    assert!(again.len() <= input.len() + 64, "{} from {}", again.len(), input.len());
    if again.len() <= MAX_PACKET {
        assert_eq!(Packet::parse(&again), Ok(packet));
    }
}

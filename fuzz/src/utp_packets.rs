//! Packets of uTP (BEP 29): what is read is written so that it is read the same, with acknowledgements and padding of any kind.

use crate::Script;
use samara_wire::utp::{
    ConnectionId, HEADER_LEN, Header, MAX_SACK_LEN, Packet, PacketType, SeqNr, encode_padded,
    encode_with_sack, is_first_byte,
};

/// Reads `input` as a packet, and as what to make packets of.
pub fn run(input: &[u8]) {
    if let Ok(packet) = Packet::parse(input) {
        assert!(is_first_byte(input[0]) && input.ends_with(packet.payload));
        let bytes = packet.header.encode();
        // The byte that names the first extension is none of the header's.
        assert_eq!((bytes[0], &bytes[2..]), (input[0], &input[2..HEADER_LEN]));
        if let Some(sack) = packet.sack {
            let received: Vec<u16> = sack.received().collect();
            assert!(received.is_sorted_by(|a, b| a < b));
            assert!(
                received.iter().all(|at| (2..8 * MAX_SACK_LEN + 2).contains(&usize::from(*at)))
            );
        }
    }
    let mut script = Script::new(input);
    let header = header(&mut script);
    sack(&header, script.bytes(300));
    padded(&header, script.bytes(1400), usize::from(script.short()) % 1500);
    let (a, b) = (SeqNr(script.short()), script.short() >> 1);
    if b > 0 && b < 0x7fff {
        assert!(a.plus(b) > a && a < a.plus(b) && a.plus(b).minus(b) == a);
        assert_eq!(i32::from(a.plus(b).since(a)), i32::from(b));
    }
}

fn header(script: &mut Script<'_>) -> Header {
    Header {
        kind: script.pick(&[
            PacketType::Data,
            PacketType::Fin,
            PacketType::State,
            PacketType::Reset,
            PacketType::Syn,
        ]),
        connection: ConnectionId(script.short()),
        timestamp: script.word(),
        timestamp_difference: script.word(),
        window: script.word(),
        seq: SeqNr(script.short()),
        ack: SeqNr(script.short()),
    }
}

fn sack(header: &Header, bits: &[u8]) {
    let arrived = |at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let span = (bits.len() * 8).min(8 * MAX_SACK_LEN);
    let mut out = [0xff; HEADER_LEN + 2 + MAX_SACK_LEN];
    let len = encode_with_sack(header, (0..span).map(arrived), &mut out);
    let packet = Packet::parse(&out[..len]).expect("our own packet");
    assert!(packet.header == *header && packet.payload.is_empty());
    let received: Vec<usize> = packet.sack.expect("a sack").received().map(usize::from).collect();
    let said: Vec<usize> = (0..span).filter(|at| arrived(*at)).map(|at| at + 2).collect();
    assert_eq!(received, said);
}

fn padded(header: &Header, payload: &[u8], len: usize) {
    let len = len.max(HEADER_LEN + payload.len());
    let mut out = vec![0xff; len];
    let written = encode_padded(header, payload, len, &mut out);
    // One byte is no extension.
    assert!(written == len || written + 1 == len, "{written} for {len}");
    let packet = Packet::parse(&out[..written]).expect("our own packet");
    assert_eq!((packet.header, packet.payload), (*header, payload));
    assert!(packet.sack.is_none());
}

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const HEADER: Header = Header {
    kind: PacketType::Data,
    connection: ConnectionId(0x1234),
    timestamp: 0x0102_0304,
    timestamp_difference: 0x0506_0708,
    window: 0x0010_0000,
    seq: SeqNr(0xfffe),
    ack: SeqNr(7),
};

#[test]
fn a_packet_of_another_client_is_read() {
    // ST_FIN as libtorrent sends it, with its extension for the reason of closing.
    let mut bytes = std::vec![0x11, 3, 0x78, 0x4c, 0x88, 0xaf, 0xf5, 0x4c, 0x75, 0x4e, 0x9c, 0x41];
    bytes.extend([0, 0x10, 0, 0, 0xd5, 0x85, 0xd4, 0x7d, 0, 4, 0, 0, 0, 15]);
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.header.kind, PacketType::Fin);
    assert_eq!((packet.header.connection, packet.header.window), (ConnectionId(30796), 1 << 20));
    assert_eq!((packet.header.seq, packet.header.ack), (SeqNr(54661), SeqNr(54397)));
    assert_eq!((packet.sack, packet.payload.len()), (None, 0));
    for len in 0..bytes.len() {
        assert_eq!(Packet::parse(&bytes[..len]), Err(PacketError::Short), "{len}");
    }
}

#[test]
fn what_is_not_utp_is_refused() {
    let mut bytes = HEADER.encode();
    for (first, error) in
        [(0x51, PacketError::Type(5)), (0x02, PacketError::Version), (b'd', PacketError::Version)]
    {
        bytes[0] = first;
        assert_eq!(Packet::parse(&bytes), Err(error));
        assert!(!is_first_byte(first));
    }
    assert!([0x01, 0x11, 0x21, 0x31, 0x41].into_iter().all(is_first_byte));
    let mut chain = HEADER.encode().to_vec();
    chain[1] = 9;
    chain.extend([9, 0].repeat(1000));
    assert_eq!(Packet::parse(&chain), Err(PacketError::Extensions));
}

#[test]
fn numbers_wrap() {
    assert!(SeqNr(0xffff) < SeqNr(0) && SeqNr(5) > SeqNr(0xfff0));
    assert_eq!(SeqNr(2).since(SeqNr(0xfffe)), 4);
    assert_eq!(SeqNr(0xfffe).since(SeqNr(2)), -4);
    assert_eq!((SeqNr(0xffff).plus(1), SeqNr(0).minus(1)), (SeqNr(0), SeqNr(0xffff)));
}

#[test]
fn bits_of_a_selective_acknowledgement_are_where_the_bep_has_them() {
    let mut out = [0; HEADER_LEN + 2 + MAX_SACK_LEN];
    // 2, 9, 10 and 33 behind the acknowledged number.
    let received = (2..40).map(|behind| [2, 9, 10, 33].contains(&behind));
    let len = encode_with_sack(&Header { kind: PacketType::State, ..HEADER }, received, &mut out);
    assert_eq!(&out[HEADER_LEN..len], [0, 4, 0b1000_0001, 1, 0, 0b1000_0000]);
    let packet = Packet::parse(&out[..len]).unwrap();
    assert_eq!(packet.sack.unwrap().received().collect::<Vec<_>>(), [2, 9, 10, 33]);
}

proptest! {
    #[test]
    fn packets_are_read_as_written(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        padding in 0_usize..1500,
        seq: u16,
        timestamp: u32,
    ) {
        let header = Header { seq: SeqNr(seq), timestamp, ..HEADER };
        let len = HEADER_LEN + payload.len() + padding;
        let mut out = std::vec![0xaa; len];
        let written = encode_padded(&header, &payload, len, &mut out);
        prop_assert!(written == len || (padding == 1 && written == len - 1));
        let packet = Packet::parse(&out[..written]).unwrap();
        prop_assert_eq!(packet, Packet { header, sack: None, payload: &payload });
        if padding >= MIN_PADDING {
            // libutp throws a packet away whose first extension is neither 1 nor 2, or is 2 and not of 8 bytes.
            prop_assert_eq!((out[1], &out[HEADER_LEN + 1..HEADER_LEN + 10]), (2, &[8, 0, 0, 0, 0, 0, 0, 0, 0][..]));
        }
    }

    #[test]
    fn selective_acknowledgements_are_read_as_written(bits in prop::collection::vec(any::<bool>(), 0..2100)) {
        let mut out = [0xaa; HEADER_LEN + 2 + MAX_SACK_LEN];
        let len = encode_with_sack(&HEADER, bits.iter().copied(), &mut out);
        let packet = Packet::parse(&out[..len]).unwrap();
        let told = bits.iter().take(MAX_SACK_LEN * 8).zip(2_u16..).filter(|(bit, _)| **bit);
        let told: Vec<_> = told.map(|(_, behind)| behind).collect();
        prop_assert_eq!(packet.sack.unwrap().received().collect::<Vec<_>>(), told);
    }
}

//! The rounds of SHA-1 and SHA-256 (FIPS 180-4) with vectors for words: one message in each 32-bit lane.
//!
//! The module that invokes [`kernels`] has the vectors: `LANES`, `Vector`, `zero`, `splat`, `add`, `xor3`, `rotate`,
//! `shift`, `choose`, `majority`, and `load`, `gather`, `scatter` between lanes and messages.

/// The constants of SHA-256, one for each round.
pub(super) const K256: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

macro_rules! kernels {
    ($features:literal) => {
        /// SHA-1 of as many messages as there are lanes.
        #[target_feature(enable = $features)]
        pub(crate) fn sha1(states: &mut [[u32; 5]; LANES], data: [&[Block]; LANES]) {
            let mut state: [Vector; 5] = [zero(); 5];
            for (word, vector) in state.iter_mut().enumerate() {
                *vector = gather(states, word);
            }
            let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
            for at in 0..blocks {
                let mut w = load(data.map(|blocks| &blocks[at]));
                let [mut a, mut b, mut c, mut d, mut e] = state;
                macro_rules! rounds {
                    ($from:literal, $k:literal, $f:ident) => {
                        let k = splat($k);
                        for t in $from..$from + 20 {
                            if t >= 16 {
                                let mixed =
                                    xor3(w[(t + 13) % 16], w[(t + 8) % 16], w[(t + 2) % 16]);
                                w[t % 16] = rotate::<1, 31>(xor3(mixed, w[t % 16], zero()));
                            }
                            let next = add(
                                add(e, $f(b, c, d)),
                                add(add(k, w[t % 16]), rotate::<5, 27>(a)),
                            );
                            (e, d, c, b, a) = (d, c, rotate::<30, 2>(b), a, next);
                        }
                    };
                }
                rounds!(0, 0x5a82_7999, choose);
                rounds!(20, 0x6ed9_eba1, xor3);
                rounds!(40, 0x8f1b_bcdc, majority);
                rounds!(60, 0xca62_c1d6, xor3);
                for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
                    *old = add(*old, new);
                }
            }
            for (word, vector) in state.into_iter().enumerate() {
                scatter(states, word, vector);
            }
        }

        /// SHA-256 of as many messages as there are lanes.
        #[target_feature(enable = $features)]
        pub(crate) fn sha256(states: &mut [[u32; 8]; LANES], data: [&[Block]; LANES]) {
            let mut state: [Vector; 8] = [zero(); 8];
            for (word, vector) in state.iter_mut().enumerate() {
                *vector = gather(states, word);
            }
            let blocks = data.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
            for at in 0..blocks {
                let mut w = load(data.map(|blocks| &blocks[at]));
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                for t in 0..64 {
                    if t >= 16 {
                        let (x, y) = (w[(t + 1) % 16], w[(t + 14) % 16]);
                        let s0 = xor3(rotate::<25, 7>(x), rotate::<14, 18>(x), shift::<3>(x));
                        let s1 = xor3(rotate::<15, 17>(y), rotate::<13, 19>(y), shift::<10>(y));
                        w[t % 16] = add(add(w[t % 16], s0), add(w[(t + 9) % 16], s1));
                    }
                    let s1 = xor3(rotate::<26, 6>(e), rotate::<21, 11>(e), rotate::<7, 25>(e));
                    let input = add(h, add(splat(K256[t]), w[t % 16]));
                    let first = add(input, add(s1, choose(e, f, g)));
                    let s0 = xor3(rotate::<30, 2>(a), rotate::<19, 13>(a), rotate::<10, 22>(a));
                    let second = add(s0, majority(a, b, c));
                    (h, g, f, e) = (g, f, e, add(d, first));
                    (d, c, b, a) = (c, b, a, add(first, second));
                }
                for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                    *old = add(*old, new);
                }
            }
            for (word, vector) in state.into_iter().enumerate() {
                scatter(states, word, vector);
            }
        }
    };
}

pub(super) use kernels;

//! The rounds of SHA-1 and SHA-256 (FIPS 180-4) with vectors for words: one message in each 32-bit lane.
//!
//! The module that invokes [`kernels`] has the vectors: `LANES`, `Vector`, `zero`, `splat`, `add`, `xor3`, `rotate`,
//! `shift`, `choose`, `majority`, and `load`, `gather`, `scatter` between lanes and messages.

macro_rules! kernels {
    ($features:literal) => {
        /// SHA-1 of as many messages as there are lanes.
        #[target_feature(enable = $features)]
        pub(super) fn sha1(states: &mut [[u32; 5]; LANES], data: [&[Block]; LANES]) {
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
        pub(super) fn sha256(states: &mut [[u32; 8]; LANES], data: [&[Block]; LANES]) {
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

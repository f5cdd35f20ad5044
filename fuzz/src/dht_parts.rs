//! The parts of a DHT node, each alone under anything that reaches it: the table, a lookup, what others store here, what was asked, and
//! what is kept from run to run.

use crate::Script;
use samara_dht::item_store::{ITEM_LIFE, ItemStore, MAX_ITEMS, target_of};
use samara_dht::lookup::{Lookup, MAX_ASKED};
use samara_dht::peer_store::{MAX_PEERS_EACH, MAX_PEERS_OF_IP, PEER_LIFE, PeerStore};
use samara_dht::requests::{Request, Requests, TIMEOUT};
use samara_dht::rng::Rng;
use samara_dht::saved::{MAX_SAVED, SavedTable};
use samara_dht::signature::SecretKey;
use samara_dht::table::{BUCKET, BUCKETS, Table, Worth, network_of};
use samara_dht::token::{ROTATION, Tokens};
use samara_wire::id::WireHash;
use samara_wire::krpc::{ErrorCode, Item, NodeId, NodeInfo, Put, Token, TransactionId, is_local};
use samara_wire::time::{Duration, Instant};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

const START: Instant = Instant::from_secs(1000);

fn node(script: &mut Script<'_>) -> NodeInfo {
    let [first, rest, net, host] = script.array();
    let mut id = [rest; 20];
    id[0] = first;
    // Some in one network, some at one address, some at home.
    let ip = if net == 255 { [10, 0, 0, host & 7] } else { [80, net & 0x1f, 1, host & 3] };
    NodeInfo { id: NodeId(id), addr: SocketAddr::from((ip, 6881 + u16::from(host >> 7))) }
}

/// Reads `input` as nodes that are heard and fail: the table keeps its bounds, and what it tells is the nearest of what it holds.
pub fn table(input: &[u8]) {
    let mut script = Script::new(input);
    let mut table = Table::new(NodeId([script.byte(); 20]), true);
    let mut now = START;
    while !script.is_done() {
        match script.below(16) {
            0..8 => table.heard(now, node(&mut script)),
            8..11 => {
                let at = script.below(table.len().max(1));
                let some = table.live().nth(at).map(|entry| entry.info);
                table.failed(&some.unwrap_or_else(|| node(&mut script)));
            }
            11 => now += Duration::from_secs(script.byte().into()),
            12 => table.rebase(now, node(&mut script).id),
            13 => {
                if let Some(stale) = table.stalest(now) {
                    let entry = table.live().find(|entry| entry.info == stale);
                    assert!(entry.is_some_and(|entry| entry.worth(now) != Worth::Good));
                }
            }
            14 => {
                let index = table.poll_refresh(now);
                let target = table.id_in(index.unwrap_or(0), [script.byte(); 20]);
                assert_ne!(target, table.own());
                table.touch(now, &target);
            }
            _ => closest(&table, node(&mut script).id),
        }
        bounds(&table);
    }
}

fn closest(table: &Table, target: NodeId) {
    let told = table.closest(&target, BUCKET);
    let distance = |info: &NodeInfo| info.id.distance(&target);
    assert!(told.len() <= BUCKET && told.is_sorted_by_key(distance));
    let held: Vec<NodeInfo> = table.live().map(|entry| entry.info).collect();
    assert!(told.iter().all(|info| held.contains(info)));
    // Of those that are left out none is nearer, unless it does not answer.
    let (farthest, room) = (told.last().map(distance), told.len() < BUCKET);
    let left_out = held.iter().filter(|info| !told.contains(info));
    let nearer = left_out.filter(|info| room || Some(distance(info)) < farthest);
    for info in nearer {
        let entry = table.live().find(|entry| entry.info == *info).expect("held");
        assert_eq!(entry.worth(Instant::ZERO), Worth::Bad, "{info:?} is left out");
    }
}

fn bounds(table: &Table) {
    let mut buckets: BTreeMap<usize, Vec<NodeInfo>> = BTreeMap::new();
    let mut addrs = BTreeSet::new();
    for entry in table.live() {
        assert!(entry.info.id != table.own() && addrs.insert(entry.info.addr), "{:?}", entry.info);
        let bits = (table.own().shared_bits(&entry.info.id) as usize).min(BUCKETS - 1);
        buckets.entry(bits).or_default().push(entry.info);
    }
    for nodes in buckets.values() {
        assert!(nodes.len() <= BUCKET);
        let far = nodes.iter().filter(|info| !is_local(info.addr.ip()));
        let nets: Vec<u64> = far.map(|info| network_of(info.addr)).collect();
        let unique: BTreeSet<u64> = nets.iter().copied().collect();
        assert_eq!(nets.len(), unique.len(), "two of one network in a bucket");
    }
}

/// Reads `input` as what comes of a lookup's questions: nobody is asked twice, not too many are, and it ends.
pub fn lookup(input: &[u8]) {
    let mut script = Script::new(input);
    let from: Vec<NodeInfo> = (0..script.below(12)).map(|_| node(&mut script)).collect();
    let mut lookup = Lookup::new(NodeId([script.byte(); 20]), script.flag(), &from, &[]);
    let (mut asked, mut open) = (BTreeSet::new(), Vec::new());
    loop {
        while let Some((addr, _)) = lookup.next_to_ask() {
            assert!(asked.insert(addr), "{addr} is asked twice");
            open.push(addr);
        }
        assert!(asked.len() <= MAX_ASKED as usize && open.len() <= 6 * 3, "{} open", open.len());
        if open.is_empty() {
            break;
        }
        let at = script.below(open.len());
        let how = script.byte();
        // With the script at its end nobody answers.
        match how & 7 {
            0 => lookup.failed(open.swap_remove(at)),
            1 => lookup.slow(open.swap_remove(at)),
            2 => lookup.found_at(open[at]),
            _ => {
                let addr = open.swap_remove(at);
                let nodes: Vec<NodeInfo> = (0..how >> 3).map(|_| node(&mut script)).collect();
                let token = Token::new(&[how]);
                lookup.answered(addr, node(&mut script).id, token, None, &nodes);
            }
        }
    }
    assert!(lookup.is_done(), "nobody is left to be asked");
    let storers = lookup.storers();
    assert!(storers.len() <= BUCKET);
    let distance = |info: &NodeInfo| info.id.distance(&lookup.target());
    assert!(storers.is_sorted_by_key(|storer| distance(&storer.info)));
    assert!(storers.iter().all(|storer| asked.contains(&storer.info.addr)));
    let (count, answered) = lookup.counts();
    assert!(count as usize == asked.len() && answered <= count);
}

/// Reads `input` as items that are put, and time, beside a plain map: only what is well signed and newer gets in.
pub fn items(input: &[u8]) {
    let mut script = Script::new(input);
    let keys = [SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32])];
    let (mut store, own) = (ItemStore::default(), NodeId([0; 20]));
    let mut model: BTreeMap<NodeId, (Instant, Item)> = BTreeMap::new();
    let mut now = START;
    for _ in 0..60 {
        if script.is_done() {
            break;
        }
        now += Duration::from_secs(u64::from(script.byte()) * 20);
        let value = [b"2:".as_slice(), &[script.byte() & 3; 2]].concat();
        let salt = vec![b's'; script.below(3) * 33];
        let how = script.byte();
        let mut item = match how & 3 {
            0 => Item { value, signed: None },
            key => keys[usize::from(key & 1)].sign(&salt, (how >> 5).into(), &value),
        };
        let forged = how & 0x1c == 0x1c && item.signed.is_some();
        if forged {
            item.value[3] ^= 1;
        }
        let cas = (how & 0x1c == 4).then(|| script.byte().into());
        let put = Put { token: Token::new(b"t").expect("a token"), item, cas, salt };
        let target = target_of(&put);
        let result = store.put(now, &own, &put);
        let stored = model.get(&target).and_then(|(_, item)| Some((item, item.signed?.seq)));
        let want = match (put.item.signed, stored) {
            _ if put.salt.len() > 64 => Err(ErrorCode::SaltTooBig),
            _ if forged => Err(ErrorCode::BadSignature),
            (Some(new), Some((old, seq))) if !(new.seq == seq && old.value == put.item.value) => {
                match put.cas {
                    Some(cas) if cas != seq => Err(ErrorCode::CasMismatch),
                    _ if new.seq <= seq => Err(ErrorCode::SeqTooLow),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        };
        assert_eq!(result, want);
        if want.is_ok() {
            model.insert(target, (now, put.item));
        }
        if script.flag() {
            store.expire(now);
            model.retain(|_, (at, _)| now.since(*at) < ITEM_LIFE);
        }
        assert!(model.len() <= MAX_ITEMS);
        assert_eq!(store.get(&target), model.get(&target).map(|(_, item)| item));
    }
}

/// Reads `input` as peers that announce themselves, and time: who is told of was here lately, and nobody takes all the room.
pub fn peers(input: &[u8]) {
    let mut script = Script::new(input);
    let (mut store, own, mut rng) = (PeerStore::default(), NodeId([0; 20]), Rng::new([1; 32]));
    let mut model: BTreeMap<(WireHash, SocketAddr), Instant> = BTreeMap::new();
    let mut now = START;
    while !script.is_done() {
        let [what, torrent, host, port] = script.array();
        let torrent = WireHash([torrent & 3; 20]);
        let peer = SocketAddr::from(([80, 1, host & 1, host & 0x3e], 1 + u16::from(port & 0x1f)));
        match what & 7 {
            0 => now += Duration::from_secs(u64::from(port) * 8),
            1 => {
                store.expire(now);
                model.retain(|_, at| now.since(*at) < PEER_LIFE);
            }
            2 => {
                let told = store.some(&torrent, what & 8 == 0, usize::from(port), &mut rng);
                assert!(told.len() <= usize::from(port));
                let unique: BTreeSet<_> = told.iter().collect();
                assert_eq!(unique.len(), told.len(), "one twice");
                assert!(told.iter().all(|peer| model.contains_key(&(torrent, *peer))));
            }
            3 => {
                let samples = store.samples(&mut rng);
                assert!(samples.hashes.iter().all(|hash| model.keys().any(|(of, _)| of == hash)));
                assert!(samples.hashes.len() as u64 <= samples.total);
            }
            _ => {
                if store.insert(now, &own, torrent, peer, what & 8 == 0) {
                    assert!(store.contains(&torrent, peer));
                    model.insert((torrent, peer), now);
                }
            }
        }
        let here = model.keys().filter(|(of, peer)| *of == torrent && store.contains(of, *peer));
        let here: Vec<SocketAddr> = here.map(|(_, peer)| *peer).collect();
        let of_ip = here.iter().filter(|other| other.ip() == peer.ip()).count();
        assert!(here.len() <= MAX_PEERS_EACH && of_ip <= MAX_PEERS_OF_IP, "{of_ip} of one");
    }
}

/// Reads `input` as a table kept from run to run: what is read is written so that it is read the same.
pub fn saved(input: &[u8]) {
    let Some(table) = SavedTable::parse(input) else { return };
    assert!(table.nodes.len() <= MAX_SAVED);
    assert_eq!(SavedTable::parse(&table.encode()), Some(table));
}

/// Reads `input` as questions, answers and time, beside a plain list: each question has one end, and only who was asked answers it.
pub fn requests(input: &[u8]) {
    let mut script = Script::new(input);
    let mut requests: Requests<u32> = Requests::new();
    let mut model: BTreeMap<u32, (SocketAddr, Instant)> = BTreeMap::new();
    let mut slow = BTreeSet::new();
    let (mut now, mut next) = (START, 0);
    while !script.is_done() {
        match script.below(6) {
            0 | 1 => {
                let addr = node(&mut script).addr;
                let request = Request { addr, id: None, purpose: next, sent: now };
                assert!(requests.has_room() && !requests.contains(next));
                requests.insert(next, request);
                model.insert(next, (addr, now));
                next += 1;
            }
            2 => now += Duration::from_millis(u64::from(script.byte()) * 16),
            3 => {
                while let Some(request) = requests.poll_slow(now) {
                    assert!(model.contains_key(&request.purpose) && slow.insert(request.purpose));
                    assert!(now.since(request.sent) >= Duration::from_millis(300));
                }
            }
            4 => {
                while let Some(request) = requests.poll_ended(now) {
                    let (addr, sent) = model.remove(&request.purpose).expect("an open question");
                    assert!(addr == request.addr && now.since(sent) >= TIMEOUT);
                }
                assert!(model.values().all(|(_, sent)| now.since(*sent) < TIMEOUT));
            }
            _ => {
                let number = if next == 0 { 0 } else { u32::from(script.byte()) % next };
                let from = match (script.byte() & 3, model.get(&number)) {
                    (0, _) | (_, None) => node(&mut script).addr,
                    (_, Some((addr, _))) => *addr,
                };
                let id = TransactionId::new(&number.to_be_bytes()).expect("four bytes");
                let answered = requests.answered(now, from, &id).map(|request| request.purpose);
                let counts = model.get(&number).is_some_and(|(addr, _)| *addr == from);
                assert_eq!(answered, counts.then_some(number));
                if counts {
                    model.remove(&number);
                }
            }
        }
    }
}

/// Reads `input` as tokens that are given and shown: one is good for its address and target, for five to ten minutes.
pub fn tokens(input: &[u8]) {
    let mut script = Script::new(input);
    // A secret that no change of the input keeps, or the fuzzer would learn it from what is compared.
    let (mut rng, mut now) = (Rng::new(Sha256::digest(input).into()), START);
    let mut tokens = Tokens::new(now, &mut rng);
    let mut given: Vec<(Token, IpAddr, NodeId, u32)> = Vec::new();
    let (mut rotations, mut last) = (0u32, now);
    while !script.is_done() && given.len() < 200 {
        let [what, host, target] = script.array();
        let (ip, target) = (IpAddr::from([80, 1, 1, host & 3]), NodeId([target & 3; 20]));
        match what & 3 {
            0 => {
                now += Duration::from_secs(u64::from(what) * 2);
                tokens.rotate(now, &mut rng);
                // After a long silence both secrets are changed.
                match now.since(last) {
                    age if age >= ROTATION * 2 => (rotations, last) = (rotations + 2, now),
                    age if age >= ROTATION => (rotations, last) = (rotations + 1, now),
                    _ => {}
                }
            }
            1 => given.push((tokens.give(ip, &target), ip, target, rotations)),
            2 => {
                let Some((token, at, of, when)) = given.get(usize::from(what >> 2)) else {
                    continue;
                };
                let good = tokens.check(token, ip, &target);
                if good {
                    assert!((*at, *of) == (ip, target), "another's token");
                } else if (*at, *of) == (ip, target) {
                    assert!(rotations > *when + 1, "a fresh token is refused");
                }
            }
            _ => {
                if let Some(token) = Token::new(script.bytes(20)) {
                    let known = given.iter().any(|(other, ..)| *other == token);
                    assert!(known || !tokens.check(&token, ip, &target), "a guess is taken");
                }
            }
        }
    }
}

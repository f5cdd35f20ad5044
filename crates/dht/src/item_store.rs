//! Items that others put here (BEP 44), for two hours, a bounded number.

use crate::signature::verifies;
use alloc::collections::BTreeMap;
use samara_wire::krpc::{
    ErrorCode, Item, MAX_ITEM_VALUE, MAX_SALT, NodeId, Put, immutable_target, mutable_target,
};
use samara_wire::time::{Duration, Instant};

/// For so long an item is kept unless it is put again.
pub const ITEM_LIFE: Duration = Duration::from_secs(2 * 3600);

/// Items that are kept: some 600 KiB.
pub const MAX_ITEMS: usize = 500;

/// The store.
#[derive(Debug, Default)]
pub struct ItemStore {
    items: BTreeMap<NodeId, (Instant, Item)>,
}

/// Where an item that is to be put belongs.
#[must_use]
pub fn target_of(put: &Put) -> NodeId {
    match &put.item.signed {
        None => immutable_target(&put.item.value),
        Some(signed) => mutable_target(&signed.key, &put.salt),
    }
}

impl ItemStore {
    /// What is stored at `target`.
    #[must_use]
    pub fn get(&self, target: &NodeId) -> Option<&Item> {
        self.items.get(target).map(|(_, item)| item)
    }

    /// Stores an item. The token was checked before.
    ///
    /// # Errors
    /// The code of the refusal: too big, badly signed, older than what is here, or no room.
    pub fn put(&mut self, now: Instant, own: &NodeId, put: &Put) -> Result<(), ErrorCode> {
        if put.item.value.len() > MAX_ITEM_VALUE {
            return Err(ErrorCode::ValueTooBig);
        }
        if put.salt.len() > MAX_SALT {
            return Err(ErrorCode::SaltTooBig);
        }
        let target = target_of(put);
        if let Some(signed) = &put.item.signed {
            if !verifies(signed, &put.salt, &put.item.value) {
                return Err(ErrorCode::BadSignature);
            }
            let stored = self.get(&target).and_then(|item| Some((item, item.signed?.seq)));
            if let Some((stored, seq)) = stored {
                // The same again may be a repeated datagram, whose `cas` was right the first time.
                let same = seq == signed.seq && stored.value == put.item.value;
                if !same && put.cas.is_some_and(|cas| cas != seq) {
                    return Err(ErrorCode::CasMismatch);
                }
                if signed.seq <= seq && !same {
                    return Err(ErrorCode::SeqTooLow);
                }
            }
        }
        self.make_room(own, &target)?;
        self.items.insert(target, (now, put.item.clone()));
        Ok(())
    }

    /// The item farthest from our own id goes when there are too many.
    fn make_room(&mut self, own: &NodeId, target: &NodeId) -> Result<(), ErrorCode> {
        if self.items.len() < MAX_ITEMS || self.items.contains_key(target) {
            return Ok(());
        }
        let farthest = self.items.keys().copied().max_by_key(|id| id.distance(own));
        match farthest.filter(|id| id.distance(own) > target.distance(own)) {
            Some(farthest) => {
                self.items.remove(&farthest);
                Ok(())
            }
            None => Err(ErrorCode::Server),
        }
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Instant) {
        self.items.retain(|_, (put, _)| now - *put < ITEM_LIFE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SecretKey;
    use alloc::vec;
    use samara_wire::krpc::Token;

    const OWN: NodeId = NodeId([0; 20]);

    fn put(item: Item) -> Put {
        Put { token: Token::new(b"t").unwrap(), item, cas: None, salt: vec![] }
    }

    #[test]
    fn mutable_items_only_move_forward() {
        let (mut store, key) = (ItemStore::default(), SecretKey::from_seed(&[1; 32]));
        let now = Instant::from_secs(1);
        let at = |seq, value: &[u8]| put(key.sign(b"", seq, value));
        assert_eq!(store.put(now, &OWN, &at(5, b"i1e")), Ok(()));
        assert_eq!(store.put(now, &OWN, &at(4, b"i2e")), Err(ErrorCode::SeqTooLow));
        assert_eq!(store.put(now, &OWN, &at(5, b"i2e")), Err(ErrorCode::SeqTooLow));
        assert_eq!(store.put(now, &OWN, &at(5, b"i1e")), Ok(()), "the same again keeps it alive");
        let cas = |cas| Put { cas: Some(cas), ..at(6, b"i3e") };
        assert_eq!(store.put(now, &OWN, &cas(4)), Err(ErrorCode::CasMismatch));
        assert_eq!(store.put(now, &OWN, &cas(5)), Ok(()));
        assert_eq!(store.put(now, &OWN, &cas(5)), Ok(()), "repeated");
        let mut forged = at(9, b"i9e");
        forged.item.value = b"i8e".into();
        assert_eq!(store.put(now, &OWN, &forged), Err(ErrorCode::BadSignature));
        let target = mutable_target(&key.public(), b"");
        assert_eq!(store.get(&target).unwrap().value, b"i3e");
        store.expire(now + ITEM_LIFE);
        assert!(store.get(&target).is_none());
    }

    #[test]
    fn items_are_bounded_in_size_and_number() {
        let (mut store, now) = (ItemStore::default(), Instant::from_secs(1));
        let plain = |value: &[u8]| put(Item { value: value.into(), signed: None });
        let big = [b"1000:", &[0; 1000][..]].concat();
        assert_eq!(store.put(now, &OWN, &plain(&big)), Err(ErrorCode::ValueTooBig));
        let salted = Put { salt: vec![0; 65], ..plain(b"i1e") };
        assert_eq!(store.put(now, &OWN, &salted), Err(ErrorCode::SaltTooBig));
        let stored = (0..2000u32)
            .filter(|n| store.put(now, &OWN, &plain(std::format!("i{n}e").as_bytes())).is_ok())
            .count();
        assert!((MAX_ITEMS..2000).contains(&stored), "{stored}");
        assert_eq!(store.items.len(), MAX_ITEMS);
    }
}

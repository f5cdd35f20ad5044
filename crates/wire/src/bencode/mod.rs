//! Bencode (BEP 3). SKELETON.

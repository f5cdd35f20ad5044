//! Fuzz target: files of blocked addresses.

use super::read_list;
use flate2::bufread::MultiGzDecoder;
use samara_wire::ip_filter::IpFilter;

/// Bytes of a list, unpacked.
const MOST: u64 = 1 << 16;

/// Reads `input` as a list and as a packed one: a list read in parts is the list read as a whole, and a bomb is left alone.
pub fn list_file(input: &[u8]) {
    let plain = read_list(input, MOST).expect("memory can be read");
    let whole = || Some(IpFilter::parse(input));
    assert_eq!(plain, if input.len() as u64 <= MOST { whole() } else { None });
    if let Ok(Some((filter, report))) = read_list(MultiGzDecoder::new(input), MOST) {
        assert_eq!(filter.is_empty(), report.blocked == 0);
        assert!(report.blocked + report.let_through + report.bad <= MOST + 1);
    }
}

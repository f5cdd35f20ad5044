//! Lists of blocked addresses: the cut does not matter, every line is accounted for, and reports are short.

use samara_wire::ip_filter::{FilterReader, IpFilter, MAX_NAMED};

/// Reads `input` as a list.
pub fn run(input: &[u8]) {
    let (filter, report) = IpFilter::parse(input);
    let mut reader = FilterReader::default();
    input.chunks(7).for_each(|part| reader.feed(part));
    assert_eq!(reader.finish(), (filter.clone(), report.clone()));
    assert!(filter.len() as u64 <= report.blocked);
    assert_eq!(filter.is_empty(), report.blocked == 0);
    let lines = input.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    assert!(report.blocked + report.let_through + report.bad <= lines);
    assert!(report.first_bad.len() <= MAX_NAMED && report.to_string().len() < 2000);
    assert_eq!(IpFilter::union(&[filter.clone(), filter.clone()]), filter);
}

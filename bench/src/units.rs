//! Sizes as a user types them and as a table shows them.

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// Reads `1GiB`, `512M`, `16384`: a whole number of a power of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        _ => return Err(format!("`{unit}` is not a unit; write for example 64MiB or 1GiB")),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale));
    bytes
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| format!("`{text}` is not a size; write for example 64MiB or 1GiB"))
}

/// `1 GiB`, `16 KiB`: in the largest unit that leaves a whole number.
pub(crate) fn size(bytes: u64) -> String {
    for (scale, unit) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{} {unit}", bytes / scale);
        }
    }
    format!("{bytes} bytes")
}

/// Bytes as a fraction of a larger unit, for a figure.
#[expect(clippy::cast_precision_loss, reason = "no figure has 53 bits that matter")]
pub(crate) fn in_units_of(unit: u64, bytes: u64) -> f64 {
    bytes as f64 / unit as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_size("1GiB"), Ok(GIB));
        assert_eq!(parse_size("16 MiB"), Ok(16 * MIB));
        assert_eq!(parse_size("512k"), Ok(512 * KIB));
        assert!(parse_size("1.5G").is_err() && parse_size("0").is_err() && parse_size("").is_err());
        assert_eq!(size(GIB), "1 GiB");
        assert_eq!(size(1536 * KIB), "1536 KiB");
        assert_eq!(size(1000), "1000 bytes");
    }
}

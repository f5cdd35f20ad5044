//! Sizes, rates, durations and ratios: what a user types, and what we print.
//!
//! `K`, `M`, `G`, `T` and `KiB`, `MiB`, ... are powers of 1024; `kB`, `MB`, ... are powers of 1000. We print
//! powers of 1024 only.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Reads a size such as `16384`, `16K`, `1.5 GiB` or `700MB`, in bytes.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = scale(unit.trim())
        .ok_or_else(|| format!("`{text}` is not a size; write for example 16384, 16K or 1.5GiB"))?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(|| format!("`{text}` is too large"));
    }
    let value = number
        .parse::<f64>()
        .map_err(|_| format!("`{text}` is not a size; write for example 16384, 16K or 1.5GiB"))?;
    #[expect(clippy::cast_precision_loss, reason = "a fraction was typed: nearest is meant")]
    let bytes = (value * scale as f64).round();
    #[expect(clippy::cast_precision_loss, reason = "only a bound")]
    if bytes >= u64::MAX as f64 {
        return Err(format!("`{text}` is too large"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    Ok(bytes as u64)
}

fn scale(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let power = match unit.chars().next() {
        None => return Some(1),
        Some('b') if unit == "b" => return Some(1),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        _ => return None,
    };
    match &unit[1..] {
        "" | "i" | "ib" => Some(1024u64.pow(power)),
        "b" => Some(1000u64.pow(power)),
        _ => None,
    }
}

/// Reads a rate such as `500K`, `10M` or `1.5 MiB/s` in bytes per second; `None` for `unlimited`, `none` and `0`.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_rate(text: &str) -> Result<Option<u64>, String> {
    let bare = text.trim();
    if matches!(bare.to_ascii_lowercase().as_str(), "unlimited" | "none") {
        return Ok(None);
    }
    let bare = bare.strip_suffix("/s").unwrap_or(bare);
    let rate = parse_size(bare).map_err(|_| {
        format!(
            "`{text}` is not a rate; write for example 500K, 10M or unlimited (bytes per second)"
        )
    })?;
    Ok((rate > 0).then_some(rate))
}

/// Reads a duration such as `90`, `90s`, `10m`, `2h30m` or `1d`.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 90s, 10m, 2h30m or 1d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..];
        let letters = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let part = match unit[..letters].trim() {
            "ms" => Duration::from_millis(number),
            "" | "s" => Duration::from_secs(number),
            "m" | "min" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
            "h" => Duration::from_secs(number.checked_mul(3600).ok_or_else(wrong)?),
            "d" => Duration::from_secs(number.checked_mul(86_400).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &unit[letters..];
    }
    Ok(total)
}

/// Reads a share ratio: 0 or more.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio >= 0.0 => Ok(ratio),
        _ => Err(format!("`{text}` is not a ratio; write for example 1.5")),
    }
}

/// `1.5 GiB`, `16 KiB`, `999 B`: at most three digits that mean something.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = match value {
        _ if unit == 0 => format!("{bytes}"),
        v if v < 9.95 => format!("{v:.2}"),
        v if v < 99.5 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {}", UNITS[unit])
}

/// `12.3 MiB/s`.
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

/// `1d 2h`, `2h 30m`, `1m 05s`, `12 s`, `1.4 s`, `40 ms`: the two units that matter.
pub(crate) fn duration(d: Duration) -> String {
    let secs = d.as_secs();
    match secs {
        0 => format!("{} ms", d.as_millis()),
        1..10 => format!("{:.1} s", d.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{}m {:02}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Time to go, in whole seconds: `4 s`, `1m 05s`.
pub(crate) fn countdown(d: Duration) -> String {
    match d.as_secs() {
        secs @ 0..10 => format!("{secs} s"),
        _ => duration(d),
    }
}

/// A duration in a form that [`parse_duration`] reads: `2h30m`.
pub(crate) fn duration_typed(d: Duration) -> String {
    let secs = d.as_secs();
    let mut text = String::new();
    for (unit, len) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        let n = match unit {
            "d" => secs / len,
            "h" => secs % 86_400 / len,
            "m" => secs % 3600 / len,
            _ => secs % 60,
        };
        if n > 0 {
            text.push_str(&format!("{n}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `12 pieces`, `1 piece`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// Whole percent, never above 100 and never 100 before the end.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if done >= total {
        return 100;
    }
    u64::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(99)
}

/// A date in UTC from seconds since 1970: `2026-11-20 19:05 UTC`; the number itself when out of all reason.
pub(crate) fn date(seconds: i64) -> String {
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) {
        return format!("{seconds} s since 1970");
    }
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that the leap day is the last of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that exactly so many hexadecimal digits mean.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair.get(1)?).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("16384", 16384),
            ("16K", 16384),
            ("16 KiB", 16384),
            ("1.5GiB", 1_610_612_736),
            ("10MB", 10_000_000),
            ("3b", 3),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "K", "-1", "1.5.5", "1Q", "99999999T", "1e5"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_durations_are_read_and_refused() {
        assert_eq!(parse_rate("10M"), Ok(Some(10 << 20)));
        assert_eq!(parse_rate("1.5 MiB/s"), Ok(Some(3 << 19)));
        assert_eq!((parse_rate("0"), parse_rate("unlimited")), (Ok(None), Ok(None)));
        assert_eq!(parse_duration("2h30m"), Ok(Duration::from_secs(9000)));
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1d 1s"), Ok(Duration::from_secs(86_401)));
        for text in ["", "h", "2x", "-1s", "99999999999999999999"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_ratio("-1").is_err() && parse_ratio("nan").is_err());
        for secs in [0, 1, 59, 60, 3661, 90_061] {
            let d = Duration::from_secs(secs);
            assert_eq!(parse_duration(&duration_typed(d)), Ok(d));
        }
    }

    #[test]
    fn numbers_are_printed_short_and_never_with_four_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (1024, "1 KiB"),
            (16384, "16 KiB"),
            (1_610_612_736, "1.5 GiB"),
            (1023 << 20, "1 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!((percent(999, 1000), percent(5, 5), percent(0, 0)), (99, 100, 100));
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(duration(Duration::from_secs(65)), "1m 05s");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59 UTC");
        assert!(date(i64::MIN).contains("since 1970"));
    }
}

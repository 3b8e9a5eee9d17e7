//! Sizes, times and durations as people write and read them.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::Timestamp;

/// `bytes` in decimal units, as Docker shows sizes: `0 B`, `1.2 kB`, `77.8 MB`.
pub fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().si().to_string()
}

/// A duration, at least to the tenth of a second: `0.4s`, `12.3s`, `1m 05s`, `2h 03m`.
pub fn duration(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = tenths / 10;
    match seconds {
        0..60 => format!("{seconds}.{}s", tenths % 10),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long before `now` the RFC 3339 time `then` was, in the largest fitting unit: `3 hours ago`.
///
/// `N/A`, as Docker says, where there is no time or it is not one.
pub fn age(then: Option<&str>, now: Timestamp) -> String {
    let Some(then) = then.and_then(|text| text.parse::<Timestamp>().ok()) else { return "N/A".to_owned() };
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0).unsigned_abs();
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (count, unit) = match seconds {
        0..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ if seconds < 14 * DAY => (seconds / DAY, "day"),
        _ if seconds < 60 * DAY => (seconds / (7 * DAY), "week"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// Reads a size with Docker's suffixes, each a power of 1024: `64m`, `1.5g`, `512KB`, `1GiB`, `1024`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is not a size: expected bytes, or a number with k, m, g or t");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"));
    }
    let bytes = number.parse::<f64>().map_err(|_| invalid())? * f64::from(1_u32 << 10).powi(shift / 10);
    // A float that is too large saturates, so the check is on the float.
    if bytes < 9e18 { Ok(bytes as u64) } else { Err(format!("{text:?} is too large")) }
}

/// Reads a duration of whole numbers with units, added up: `90s`, `1h30m`, `7d`, `2w`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("{text:?} is not a duration: expected, for example, 90s, 30m, 24h, 1h30m or 7d");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(invalid()),
        };
        rest = &rest[letters..];
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
    }
    if text.is_empty() { Err(invalid()) } else { Ok(Duration::from_secs(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_units() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_234, "1.2 kB"),
            (77_800_000, "77.8 MB"),
            (2_000_000_000, "2.0 GB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn durations_are_short() {
        for (milliseconds, expected) in [
            (0, "0.0s"),
            (440, "0.4s"),
            (450, "0.5s"),
            (12_340, "12.3s"),
            (59_990, "1m 00s"),
            (65_000, "1m 05s"),
            (7_380_000, "2h 03m"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected, "{milliseconds}");
        }
    }

    #[test]
    fn ages_are_in_the_largest_fitting_unit() {
        let now: Timestamp = "2024-05-01T12:00:00Z".parse().unwrap();
        for (then, expected) in [
            (None, "N/A"),
            (Some("yesterday"), "N/A"),
            (Some("2024-05-01T11:59:30Z"), "30 seconds ago"),
            (Some("2024-05-01T11:58:59.5Z"), "1 minute ago"),
            (Some("2024-05-01T14:00:00+05:00"), "3 hours ago"),
            (Some("2024-05-02T00:00:00Z"), "0 seconds ago"),
            (Some("2024-04-28T12:00:00Z"), "3 days ago"),
            (Some("2024-04-01T12:00:00Z"), "4 weeks ago"),
            (Some("2023-05-01T12:00:00Z"), "12 months ago"),
            (Some("1970-01-01T00:00:00Z"), "54 years ago"),
        ] {
            assert_eq!(age(then, now), expected, "{then:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1024),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("512KB", 512 << 10),
            ("2 MiB", 2 << 20),
            ("1b", 1),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1e9", "1.2.3", "99999999999t", "99999999999.5t"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_sums_of_units() {
        for (text, seconds) in
            [("90s", 90), ("24h", 86_400), ("1h30m", 5_400), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "h", "1y", "1.5h", "-1h", "99999999999999999999s", "9999999999999999w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}

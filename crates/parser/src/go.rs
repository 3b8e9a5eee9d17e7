//! Values as Go's standard library and Docker's `go-units` read them.

/// `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `strconv.ParseUint(text, radix, 32)`.
pub(crate) fn parse_u32(text: &str, radix: u32) -> Option<u32> {
    if text.starts_with('+') { None } else { u32::from_str_radix(text, radix).ok() }
}

/// `units.RAMInBytes`: a number, then `b`, or one of `k m g t p` with `b` or `ib` if one likes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')?;
    let number = if text.as_bytes()[last] == b' ' { &text[..last] } else { &text[..=last] };
    let number: f64 = number.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    let factor = match text[last + 1..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = number * f64::from(1024).powi(factor);
    (bytes < i64::MAX as f64).then_some(bytes as u64)
}

/// `time.ParseDuration`, in nanoseconds; an error says what is wrong.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    let invalid = || format!("invalid duration \"{text}\"");
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, behind) = duration_part(rest, text)?;
        total = total.checked_add(nanoseconds).filter(|sum| *sum <= 1 << 63).ok_or_else(invalid)?;
        rest = behind;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(total)) => Ok(-total),
        (true, Err(_)) => Ok(i64::MIN),
        (false, total) => total.map_err(|_| invalid()),
    }
}

/// A number and its unit at the start of `part`, and what follows.
fn duration_part<'a>(part: &'a str, whole: &str) -> Result<(u64, &'a str), String> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let invalid = || format!("invalid duration \"{whole}\"");
    let (integer, rest) = part.split_at(digits(part));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let (unit, behind) =
        rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
    let scale: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(format!("missing unit in duration \"{whole}\"")),
        _ => return Err(format!("unknown unit \"{unit}\" in duration \"{whole}\"")),
    };
    let integer: u64 = if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| invalid())?;
    let integer = integer.checked_mul(scale).filter(|product| *product <= 1 << 63).ok_or_else(invalid)?;
    Ok((integer + (fraction * scale as f64) as u64, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("5s", Ok(5_000_000_000)),
            ("1.5h", Ok(5_400_000_000_000)),
            ("-1m30s", Ok(-90_000_000_000)),
            ("+2ms", Ok(2_000_000)),
            ("1us2µs3μs4ns", Ok(6_004)),
            (".5s", Ok(500_000_000)),
            ("1.s", Ok(1_000_000_000)),
            ("-9223372036854775808ns", Ok(i64::MIN)),
            ("9223372036854775808ns", Err("invalid duration \"9223372036854775808ns\"")),
            ("", Err("invalid duration \"\"")),
            (".s", Err("invalid duration \".s\"")),
            ("5", Err("missing unit in duration \"5\"")),
            ("5 s", Err("unknown unit \" s\" in duration \"5 s\"")),
            ("1d", Err("unknown unit \"d\" in duration \"1d\"")),
            ("9999999999h", Err("invalid duration \"9999999999h\"")),
        ] {
            assert_eq!(parse_duration(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn sizes_are_those_of_go_units() {
        for (text, expected) in [
            ("32", Some(32)),
            ("32b", Some(32)),
            ("1.5k", Some(1536)),
            ("2 MiB", Some(2 << 20)),
            ("1GB", Some(1 << 30)),
            ("1tb", Some(1 << 40)),
            ("1p", Some(1 << 50)),
            ("1kx", None),
            ("1bb", None),
            ("-1", None),
            ("k", None),
            ("", None),
            ("9999999p", None),
            ("1kß", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_have_no_sign() {
        assert_eq!(parse_u32("0755", 8), Some(0o755));
        assert_eq!(parse_u32("+1", 10), None);
        assert_eq!(parse_u32("-1", 10), None);
        assert_eq!(parse_u32("", 10), None);
        assert_eq!(parse_u32("4294967296", 10), None);
    }
}

//! Times as the image configuration writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A time in seconds since the Unix epoch, RFC 3339 in UTC. Times outside the years 1 to 9999
/// become the nearest one inside.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let clamped = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).unwrap_or_default().to_string()
}

/// This moment, in whole milliseconds.
pub(crate) fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_485_449_953), "2017-01-26T16:59:13Z");
        assert!(rfc3339(i64::MAX).starts_with("9999-12-30"));
        assert!(now().ends_with('Z'));
    }
}

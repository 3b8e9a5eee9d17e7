//! Numbers in header fields.

/// The number in a numeric field: octal digits, or GNU's base-256 with the highest bit set.
///
/// An empty field is 0. `None` if it is no number or does not fit.
pub(crate) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => parse_binary(field),
        _ => parse_octal(field),
    }
}

/// The octal number in a field, with spaces or NULs around it.
pub(crate) fn parse_octal(field: &[u8]) -> Option<i64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_padding(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// A two's complement number, big-endian, whose first bit only marks the form.
fn parse_binary(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    let is_negative = first & 0x40 != 0;
    // Sign-extend the 7 bits that the first byte has left.
    let start = if is_negative { i128::from(first) - 0x100 } else { i128::from(first & 0x7f) };
    let value = rest
        .iter()
        .try_fold(start, |value, &byte| value.checked_mul(0x100)?.checked_add(i128::from(byte)))?;
    i64::try_from(value).ok()
}

/// Writes `value` in octal with leading zeros and a NUL; false, and nothing written, if it does not
/// fit.
pub(crate) fn write_octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    if digits < 22 && value >> (3 * digits) != 0 {
        return false;
    }
    let mut rest = value;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
    true
}

/// A decimal number as PAX records and sparse maps have it.
pub(crate) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_fields_are_read_in_all_their_forms() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\0\0\x00644\0", Some(0o644)),
            (b"77777777", Some(0o77777777)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"", Some(0)),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"0x1f\0", None),
            (b"777777777777777777777777", None),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\x80\0\0\0\xff\xff\xff\xff", Some(0xffff_ffff)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(parse(field), expected, "{field:?}");
        }
    }

    #[test]
    fn octal_is_written_only_where_it_fits() {
        for (value, expected) in
            [(0, Some(b"0000000\0")), (0o7777777, Some(b"7777777\0")), (0o10000000, None), (u64::MAX, None)]
        {
            let mut field = [b'x'; 8];
            let is_written = write_octal(&mut field, value);
            assert_eq!(is_written.then_some(&field), expected, "{value}");
        }
        let mut size = [0; 12];
        assert!(write_octal(&mut size, (8 << 30) - 1));
        assert!(!write_octal(&mut size, 8 << 30));
    }
}

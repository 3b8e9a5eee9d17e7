//! PAX extended headers: records `LENGTH KEY=VALUE\n` whose values may hold any bytes.

use std::collections::BTreeMap;

use crate::number;

/// The prefix under which xattrs are kept.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of an extended header, those that this crate knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub path: Option<Vec<u8>>,
    pub link_target: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub sparse: SparseRecords,
}

/// GNU tar's records of a sparse file, in the forms 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseRecords {
    pub version: (Option<u64>, Option<u64>),
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    pub regions: Option<u64>,
    /// Offsets and lengths in turn.
    pub map: Vec<u64>,
}

impl Records {
    /// Reads the records of a header; a later one replaces an earlier one.
    pub fn read(&mut self, content: &[u8]) -> Result<(), &'static str> {
        let mut rest = content;
        while !rest.is_empty() {
            let ([key, value], after) = split_record(rest)?;
            self.apply(key, value)?;
            rest = after;
        }
        Ok(())
    }

    /// Whether readers disagree on what these mean when they stand for all entries.
    pub fn are_of_one_entry(&self) -> bool {
        self.path.is_some()
            || self.link_target.is_some()
            || self.size.is_some()
            || self.sparse != SparseRecords::default()
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() || name.contains(&0) {
                return Err("an extended attribute has no valid name");
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.apply(key, value);
        }
        // An empty value takes a record back.
        let is_set = !value.is_empty();
        match key {
            b"path" => self.path = is_set.then(|| value.to_vec()),
            b"linkpath" => self.link_target = is_set.then(|| value.to_vec()),
            b"size" => self.size = optional(value, "the size is not valid")?,
            b"uid" => self.uid = id(value, "the owner is not valid")?,
            b"gid" => self.gid = id(value, "the group is not valid")?,
            b"mtime" if is_set => {
                self.mtime = Some(parse_time(value).ok_or("the modification time is not valid")?);
            }
            b"mtime" => self.mtime = None,
            _ => {}
        }
        Ok(())
    }
}

impl SparseRecords {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const REASON: &str = "a record of a sparse file is not valid";
        match key {
            b"major" => self.version.0 = optional(value, REASON)?,
            b"minor" => self.version.1 = optional(value, REASON)?,
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = optional(value, REASON)?,
            b"numblocks" => self.regions = optional(value, REASON)?,
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').map(number::parse_decimal);
                self.map = numbers.collect::<Option<_>>().ok_or(REASON)?;
            }
            b"offset" if self.map.len().is_multiple_of(2) => {
                self.map.push(number::parse_decimal(value).ok_or(REASON)?);
            }
            b"numbytes" if !self.map.len().is_multiple_of(2) => {
                self.map.push(number::parse_decimal(value).ok_or(REASON)?);
            }
            b"offset" | b"numbytes" => return Err(REASON),
            _ => {}
        }
        Ok(())
    }
}

/// Appends a record; its length counts its own digits.
pub(crate) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The space, `=` and the newline.
    let without_length = key.len() + value.len() + 3;
    let mut length = without_length + 1;
    while length != without_length + digits(length) {
        length = without_length + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends a record of the extended attribute `name`.
pub(crate) fn write_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_record(out, &[XATTR, name].concat(), value);
}

/// Cuts the first record off: its key, its value and what follows it.
fn split_record(content: &[u8]) -> Result<([&[u8]; 2], &[u8]), &'static str> {
    const REASON: &str = "a PAX record is not valid";
    let space = content.iter().take(20).position(|&byte| byte == b' ').ok_or(REASON)?;
    let length = number::parse_decimal(&content[..space]).ok_or(REASON)?;
    let length = usize::try_from(length).ok().filter(|&length| length <= content.len()).ok_or(REASON)?;
    let record = content.get(space + 1..length).ok_or(REASON)?;
    let record = record.strip_suffix(b"\n").ok_or(REASON)?;
    let equals = record.iter().position(|&byte| byte == b'=').ok_or(REASON)?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name");
    if key.is_empty() || key.contains(&0) || is_text && value.contains(&0) {
        return Err(REASON);
    }
    Ok(([key, value], &content[length..]))
}

/// Seconds and nanoseconds of a decimal number, digits beyond the ninth dropped.
fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let (is_negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let (whole, fraction) = match digits.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &[][..]),
    };
    let seconds = i64::try_from(number::parse_decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0u32, |nanos, place| {
        nanos * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0'))
    });
    match (is_negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

fn optional(value: &[u8], reason: &'static str) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    number::parse_decimal(value).map(Some).ok_or(reason)
}

fn id(value: &[u8], reason: &'static str) -> Result<Option<i64>, &'static str> {
    let (is_negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let Some(id) = optional(digits, reason)? else { return Ok(None) };
    let id = i64::try_from(id).map_err(|_| reason)?;
    Ok(Some(if is_negative { -id } else { id }))
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Records, &'static str> {
        let mut records = Records::default();
        records.read(content).map(|()| records)
    }

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        write_record(&mut content, key.as_bytes(), value);
        content
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for (value_length, expected) in [(0, "5 a=\n"), (4, "9 a=xxxx\n"), (5, "11 a=xxxxx\n")] {
            assert_eq!(record("a", &vec![b'x'; value_length]), expected.as_bytes());
        }
        for value_length in [90, 91, 92, 93, 94, 990, 991, 992, 993, 994] {
            let content = record("path", &vec![b'x'; value_length]);
            assert!(content.starts_with(content.len().to_string().as_bytes()));
            assert_eq!(read(&content).unwrap().path.unwrap().len(), value_length);
        }
    }

    #[test]
    fn an_attribute_may_hold_any_bytes() {
        let value = b"\x01\n12 path=evil\n\0=\xff\n";
        let mut content = Vec::new();
        write_xattr(&mut content, b"security.capability", value);
        write_record(&mut content, b"path", b"good");
        let records = read(&content).unwrap();
        assert_eq!(records.xattrs[&b"security.capability"[..]], value);
        assert_eq!(records.path.unwrap(), b"good");
    }

    #[test]
    fn damaged_records_are_refused() {
        for content in [
            &b"x"[..],
            b"9 path=a",
            b"99 path=a\n",
            b"9 path=ab\n",
            b"0 \n",
            b"1 \n",
            b"4 =\n",
            b"6 ab\n",
            b"-9 path=a\n",
            b"+9 path=a\n",
            b" 9 path=a\n",
            b"99999999999999999999999 path=a\n",
            b"10 path=\0\n\n",
            b"9 size=x\n",
            b"10 size=-1\n",
            b"28 size=9999999999999999999\n28 size=99999999999999999999\n",
            b"9 uid=1x\n",
            b"11 mtime=x\n",
            b"14 mtime=1.x2\n",
            b"18 SCHILY.xattr.=\n",
        ] {
            assert!(read(content).is_err(), "{:?}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        let content =
            [record("path", b"a"), record("path", b""), record("mtime", b"1"), record("mtime", b"")];
        assert_eq!(read(&content.concat()).unwrap(), Records::default());
    }

    #[test]
    fn times_are_read_to_the_nanosecond() {
        for (value, expected) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("1.", Some((1, 0))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("9223372036854775808", None),
            (".5", None),
            ("", None),
            ("--1", None),
            ("1e3", None),
        ] {
            assert_eq!(parse_time(value.as_bytes()), expected, "{value}");
        }
    }
}

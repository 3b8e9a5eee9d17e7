//! What a program's first bytes say about what it needs.
//!
//! Source: execve(2), elf(5)

/// The format of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A script with a `#!` line.
    Script { interpreter: String },
    /// An executable for the machine of this ELF number; with a dynamic loader, if it needs one.
    Elf { machine: u16, interpreter: Option<String> },
}

/// The ELF number of the machine that this is built for; 0 for one that has no name here.
pub(crate) const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else {
    0
};

/// What users call the machine of an ELF number.
pub(crate) fn machine_name(machine: u16) -> String {
    match machine {
        3 => "386".into(),
        21 => "ppc64le".into(),
        22 => "s390x".into(),
        40 => "arm".into(),
        62 => "amd64".into(),
        183 => "arm64".into(),
        243 => "riscv64".into(),
        258 => "loong64".into(),
        other => format!("a machine with the ELF number {other}"),
    }
}

impl Format {
    /// As much of a file as [`Format::of`] looks at, in bytes: the kernel reads 256 of a script, and
    /// an executable's program headers and its loader's name come early.
    pub(crate) const HEAD: u64 = 4096;

    /// The format of a file that starts with `head`; `None` if it is neither.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        if let Some(rest) = head.strip_prefix(b"#!") {
            let line = rest.split(|&byte| byte == b'\n').next()?;
            let interpreter = line.split(|byte| b" \t".contains(byte)).find(|word| !word.is_empty())?;
            return Some(Self::Script { interpreter: shown(interpreter) });
        }
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let elf = Elf { head, is_64: *head.get(4)? == 2, is_big_endian: *head.get(5)? == 2 };
        let machine = u16::try_from(elf.number(18, 2)?).ok()?;
        Some(Self::Elf { machine, interpreter: elf.interpreter() })
    }
}

struct Elf<'a> {
    head: &'a [u8],
    is_64: bool,
    is_big_endian: bool,
}

impl Elf<'_> {
    /// The content of the program header of type `PT_INTERP`.
    fn interpreter(&self) -> Option<String> {
        const PT_INTERP: u64 = 3;
        let (table, entry_size, entries) = if self.is_64 {
            (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?)
        } else {
            (self.number(28, 4)?, self.number(42, 2)?, self.number(44, 2)?)
        };
        for index in 0..entries {
            let entry = usize::try_from(table.checked_add(index * entry_size)?).ok()?;
            if self.number(entry, 4)? != PT_INTERP {
                continue;
            }
            let (offset, size) = if self.is_64 {
                (self.number(entry.checked_add(8)?, 8)?, self.number(entry.checked_add(32)?, 8)?)
            } else {
                (self.number(entry.checked_add(4)?, 4)?, self.number(entry.checked_add(16)?, 4)?)
            };
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            let name = self.head.get(start..end)?;
            return Some(shown(name.strip_suffix(b"\0").unwrap_or(name)));
        }
        None
    }

    fn number(&self, offset: usize, size: usize) -> Option<u64> {
        let bytes = self.head.get(offset..offset.checked_add(size)?)?;
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }
}

/// A path for a message: control characters are escaped.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable of one program header, of type PT_INTERP.
    fn elf(machine: u8, loader: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 120];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = machine;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[72] = 120;
        file[96] = loader.len() as u8;
        file.extend(loader);
        file
    }

    #[test]
    fn formats_are_recognised() {
        let script = |interpreter: &str| Some(Format::Script { interpreter: interpreter.into() });
        for (head, expected) in [
            (b"#!/bin/sh\nexit".to_vec(), script("/bin/sh")),
            (b"#! \t/usr/bin/env  python3 -u".to_vec(), script("/usr/bin/env")),
            (b"#!/bin/bash\r\n".to_vec(), script("/bin/bash\\r")),
            (b"#!\n/bin/sh".to_vec(), None),
            (b"echo".to_vec(), None),
            (Vec::new(), None),
            (b"\x7fELF".to_vec(), None),
            (elf(62, b"/ld.so\0"), Some(Format::Elf { machine: 62, interpreter: Some("/ld.so".into()) })),
            (elf(183, b""), Some(Format::Elf { machine: 183, interpreter: Some(String::new()) })),
        ] {
            assert_eq!(Format::of(&head), expected, "{head:?}");
        }
    }

    #[test]
    fn damaged_executables_have_no_loader() {
        let whole = elf(62, b"/ld.so\0");
        for length in 20..whole.len() {
            let expected = Some(Format::Elf { machine: 62, interpreter: None });
            assert_eq!(Format::of(&whole[..length]), expected, "{length}");
        }
        for at in 24..120 {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            assert!(Format::of(&damaged).is_some());
        }
    }
}

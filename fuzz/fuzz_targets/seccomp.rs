//! The compiler of system call filters: any rules become a program that the kernel would take, and that
//! says to every call what the rules say.
//!
//! An input is rules and calls, in bytes. The program is run as the kernel runs it; the rules are looked
//! up one by one.

#![no_main]
#![allow(dead_code, reason = "files of a crate, of which only the compiler is called")]

#[path = "../../crates/runner/src/seccomp"]
mod seccomp {
    mod bpf;
    mod profile;

    use std::collections::BTreeMap;

    use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter};

    use profile::{REFUSED, Table, Test, Verdict};

    /// What a filter is asked about.
    #[derive(Debug, Clone, Copy)]
    struct Call {
        arch: u32,
        number: u32,
        arguments: [u64; 6],
    }

    /// Bytes, and zeros once there are none left.
    struct Input<'a>(&'a [u8]);

    impl Input<'_> {
        fn byte(&mut self) -> u8 {
            let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
            self.0 = rest;
            first
        }

        /// A number that is mostly small, and else at one of the ends.
        fn number(&mut self) -> u32 {
            match self.byte() {
                small @ 0..=0xbf => small.into(),
                0xc0..=0xdf => u32::from_le_bytes([self.byte(), self.byte() & 1, 0, 0]),
                0xe0..=0xef => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
                high => u32::MAX - u32::from(high & 0x0f),
            }
        }

        fn tables(&mut self) -> Vec<Table> {
            let count = self.byte() % 3;
            let table = |input: &mut Self| Table { arch: input.number(), verdicts: input.verdicts() };
            (0..count).map(|_| table(self)).collect()
        }

        fn verdicts(&mut self) -> BTreeMap<u32, Verdict> {
            let mut verdicts = BTreeMap::new();
            for _ in 0..self.byte() {
                let first = self.number();
                let verdict = match self.byte() % 4 {
                    0 | 1 => Verdict::Allow,
                    2 => Verdict::Fail(self.byte().into()),
                    _ => Verdict::AllowIf(self.byte() % 6, (0..self.byte() % 5).map(|_| self.test()).collect()),
                };
                // Neighbours that share a verdict become one range.
                for offset in 0..=u32::from(self.byte() % 3) {
                    verdicts.insert(first.saturating_add(offset), verdict.clone());
                }
            }
            verdicts
        }

        fn test(&mut self) -> Test {
            let value = self.number();
            match value % 4 {
                0 => Test::Below(self.number()),
                1 => Test::Equal(self.number()),
                2 => Test::Above(self.number()),
                _ => Test::Without(self.number()),
            }
        }

        fn call(&mut self, tables: &[Table]) -> Call {
            let place = usize::from(self.byte());
            let arch = tables.get(place % (tables.len() + 1)).map_or_else(|| self.number(), |table| table.arch);
            let half = |input: &mut Self| u64::from(input.number());
            let arguments = std::array::from_fn(|_| half(self) | half(self) << 32);
            Call { arch, number: self.number(), arguments }
        }
    }

    /// What the rules say to a call.
    fn expected(tables: &[Table], call: &Call) -> u32 {
        let Some(table) = tables.iter().find(|table| table.arch == call.arch) else {
            return SECCOMP_RET_KILL_PROCESS;
        };
        let fail = |errno: u16| SECCOMP_RET_ERRNO | u32::from(errno);
        match table.verdicts.get(&call.number) {
            None => fail(REFUSED),
            Some(Verdict::Allow) => SECCOMP_RET_ALLOW,
            Some(Verdict::Fail(errno)) => fail(*errno),
            Some(Verdict::AllowIf(argument, tests)) => {
                let value = call.arguments[usize::from(*argument)] as u32;
                let passes = tests.iter().any(|test| match *test {
                    Test::Below(limit) => value < limit,
                    Test::Equal(other) => value == other,
                    Test::Above(limit) => value > limit,
                    Test::Without(bits) => value & bits == 0,
                });
                if passes { SECCOMP_RET_ALLOW } else { fail(REFUSED) }
            }
        }
    }

    /// `struct seccomp_data`, whose instruction pointer no filter of ours looks at.
    fn data(call: &Call) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&call.number.to_ne_bytes());
        bytes[4..8].copy_from_slice(&call.arch.to_ne_bytes());
        for (place, argument) in bytes[16..].chunks_exact_mut(8).zip(call.arguments) {
            place.copy_from_slice(&argument.to_ne_bytes());
        }
        bytes
    }

    /// Runs a program as the kernel does.
    ///
    /// Source: linux/filter.h, linux/bpf_common.h
    fn run(program: &[sock_filter], call: &Call) -> u32 {
        let data = data(call);
        let (mut at, mut accumulator) = (0_usize, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let holds = match code {
                0x06 => return k,
                0x20 => {
                    let offset = k as usize;
                    let word = data[offset..offset + 4].try_into().expect("four bytes");
                    accumulator = u32::from_ne_bytes(word);
                    continue;
                }
                0x05 => {
                    at += k as usize;
                    continue;
                }
                0x15 => accumulator == k,
                0x25 => accumulator > k,
                0x35 => accumulator >= k,
                0x45 => accumulator & k != 0,
                other => panic!("the kernel knows no instruction {other:#x} here"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    /// What the kernel checks when it installs a program, but for its length.
    fn check(program: &[sock_filter]) {
        for (at, instruction) in program.iter().enumerate() {
            let left = program.len() - at - 1;
            match instruction.code {
                0x20 => assert!(instruction.k % 4 == 0 && instruction.k < 64, "{at}: {}", instruction.k),
                0x05 => assert!((instruction.k as usize) < left, "{at}: jumps behind the end"),
                0x15 | 0x25 | 0x35 | 0x45 => {
                    let far = usize::from(instruction.jt.max(instruction.jf));
                    assert!(far < left, "{at}: jumps behind the end");
                }
                other => assert_eq!(other, 0x06, "{at}"),
            }
        }
        assert_eq!(program.last().map(|last| last.code), Some(0x06), "it ends without an answer");
    }

    pub fn compare(bytes: &[u8]) {
        let mut input = Input(bytes);
        let tables = match input.byte() % 4 {
            0 => profile::native().expect("a profile for this machine"),
            _ => input.tables(),
        };
        let program = bpf::compile(&tables);
        check(&program);
        let ask = |call: &Call| assert_eq!(run(&program, call), expected(&tables, call), "{call:?} {tables:?}");
        for _ in 0..8 {
            let call = input.call(&tables);
            ask(&call);
            // Where ranges meet.
            for table in tables.iter().filter(|_| !input.0.is_empty()) {
                for number in table.verdicts.keys().skip(usize::from(input.byte())).take(4) {
                    for number in [number.wrapping_sub(1), *number, number.wrapping_add(1)] {
                        ask(&Call { arch: table.arch, number, ..call });
                    }
                }
            }
        }
    }
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| seccomp::compare(bytes));

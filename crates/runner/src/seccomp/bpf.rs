//! Compiles verdicts on call numbers to a classic BPF program.
//!
//! Source: seccomp(2), linux/filter.h

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter,
};

use super::profile::{REFUSED, Table, Test, Verdict};

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;
/// Where an argument's lower half lies in it.
const LOWER_HALF: u32 = if cfg!(target_endian = "little") { 0 } else { 4 };

/// Calls from this number on, up to the next range, share a verdict.
struct Range<'a> {
    from: u32,
    verdict: &'a Verdict,
}

/// A program that gives the calls of each table's architecture their verdicts, and kills the
/// process for those of any other.
pub(super) fn compile(tables: &[Table]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCH)];
    for table in tables {
        let mut section = vec![load(NUMBER)];
        section.extend(search(&ranges(table)));
        program.push(jump(BPF_JEQ, table.arch, 1, 0));
        program.push(skip(section.len()));
        program.extend(section);
    }
    program.push(finish(SECCOMP_RET_KILL_PROCESS));
    program
}

/// The table without gaps: each number from 0 on is in one range.
fn ranges(table: &Table) -> Vec<Range<'_>> {
    const REFUSE: &Verdict = &Verdict::Fail(REFUSED);
    let mut ranges = vec![Range { from: 0, verdict: REFUSE }];
    let mut add = |from, verdict| match ranges.last_mut() {
        Some(last) if last.verdict == verdict => {}
        Some(last) if last.from == from => last.verdict = verdict,
        _ => ranges.push(Range { from, verdict }),
    };
    for (&number, verdict) in &table.verdicts {
        add(number, verdict);
        if let Some(next) = number.checked_add(1).filter(|next| !table.verdicts.contains_key(next)) {
            add(next, REFUSE);
        }
    }
    ranges
}

/// Bisects the ranges by the number that was loaded.
fn search(ranges: &[Range<'_>]) -> Vec<sock_filter> {
    if let [range] = ranges {
        return decide(range.verdict);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let (from, below, above) = (above[0].from, search(below), search(above));
    let mut program = match u8::try_from(below.len()) {
        Ok(length) => vec![jump(BPF_JGE, from, length, 0)],
        Err(_) => vec![jump(BPF_JGE, from, 0, 1), skip(below.len())],
    };
    program.extend(below);
    program.extend(above);
    program
}

fn decide(verdict: &Verdict) -> Vec<sock_filter> {
    match verdict {
        Verdict::Allow => vec![finish(SECCOMP_RET_ALLOW)],
        Verdict::Fail(errno) => vec![fail(*errno)],
        Verdict::AllowIf(argument, tests) => {
            let mut program = vec![load(ARGUMENTS + u32::from(*argument) * ARGUMENT_SIZE + LOWER_HALF)];
            for test in tests {
                program.push(match *test {
                    Test::Below(value) => jump(BPF_JGE, value, 1, 0),
                    Test::Equal(value) => jump(BPF_JEQ, value, 0, 1),
                    Test::Above(value) => jump(BPF_JGT, value, 0, 1),
                    Test::Without(bits) => jump(BPF_JSET, bits, 1, 0),
                });
                program.push(finish(SECCOMP_RET_ALLOW));
            }
            program.push(fail(REFUSED));
            program
        }
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

/// Compares what was loaded with `value` and skips as many instructions.
fn jump(comparison: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, value, if_true, if_false)
}

fn skip(instructions: usize) -> sock_filter {
    // The kernel takes no program of more than 4096 instructions.
    instruction(BPF_JMP | BPF_JA, u32::try_from(instructions).unwrap_or(u32::MAX), 0, 0)
}

fn fail(errno: u16) -> sock_filter {
    finish(SECCOMP_RET_ERRNO | u32::from(errno))
}

fn finish(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // Every code of classic BPF fits into its lower byte.
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::profile;
    use super::*;

    const ALLOWED: u32 = SECCOMP_RET_ALLOW;
    const EPERM: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;

    /// Runs `program` as the kernel does.
    fn verdict(program: &[sock_filter], arch: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let data = |offset| match offset {
            0 => number,
            4 => arch,
            16 => arguments[0],
            24 => arguments[1],
            other => panic!("nothing is at {other}"),
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let i = &program[at];
            let code = u32::from(i.code);
            at += 1;
            let holds = match code {
                _ if code == BPF_RET | BPF_K => return i.k,
                _ if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = data(i.k);
                    continue;
                }
                _ if code == BPF_JMP | BPF_JA => {
                    at += i.k as usize;
                    continue;
                }
                _ if code == BPF_JMP | BPF_JEQ | BPF_K => value == i.k,
                _ if code == BPF_JMP | BPF_JGE | BPF_K => value >= i.k,
                _ if code == BPF_JMP | BPF_JGT | BPF_K => value > i.k,
                _ if code == BPF_JMP | BPF_JSET | BPF_K => value & i.k != 0,
                other => panic!("unknown instruction {other:#x}"),
            };
            at += usize::from(if holds { i.jt } else { i.jf });
        }
    }

    #[test]
    fn every_number_gets_its_verdict() {
        for tables in [profile::native().unwrap(), many_ranges()] {
            let program = compile(&tables);
            assert!(program.len() < 4096);
            for table in &tables {
                for number in (0..2000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                    let found = verdict(&program, table.arch, number, [0, 0]);
                    match table.verdicts.get(&number) {
                        Some(Verdict::Allow) => assert_eq!(found, ALLOWED, "{number}"),
                        Some(Verdict::Fail(errno)) => {
                            assert_eq!(found, SECCOMP_RET_ERRNO | u32::from(*errno), "{number}");
                        }
                        None => assert_eq!(found, EPERM, "{number}"),
                        Some(Verdict::AllowIf(..)) => {}
                    }
                }
            }
            assert_eq!(verdict(&program, 0x1234, 0, [0, 0]), SECCOMP_RET_KILL_PROCESS);
        }
    }

    /// Enough ranges that jumps over more than 255 instructions are needed.
    fn many_ranges() -> Vec<Table> {
        let verdicts: BTreeMap<_, _> = (0..500).map(|i| (i * 3, Verdict::Allow)).collect();
        vec![Table { arch: 7, verdicts }]
    }

    #[test]
    fn arguments_are_tested() {
        let tests = vec![Test::Below(38), Test::Equal(39), Test::Above(40)];
        let verdicts = BTreeMap::from([
            (41, Verdict::AllowIf(0, tests)),
            (56, Verdict::AllowIf(1, vec![Test::Without(0x30)])),
        ]);
        let program = compile(&[Table { arch: 7, verdicts }]);
        for (number, arguments, expected) in [
            (41, [37, 0], ALLOWED),
            (41, [38, 0], EPERM),
            (41, [39, 0], ALLOWED),
            (41, [40, 0], EPERM),
            (41, [41, 0], ALLOWED),
            (56, [0x30, 0x0f], ALLOWED),
            (56, [0, 0x10], EPERM),
            (56, [0, 0xff], EPERM),
        ] {
            assert_eq!(verdict(&program, 7, number, arguments), expected, "{number} {arguments:?}");
        }
    }
}

//! Which system calls are allowed: the data file, read.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

const PROFILE: &str = include_str!("../../data/seccomp.json");

// Source: linux/audit.h, AUDIT_ARCH_*
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;

/// The verdicts on an architecture's calls.
#[derive(Debug)]
pub(super) struct Table {
    /// The architecture as the kernel names it to a filter.
    pub(super) arch: u32,
    /// By call number. A number that is not here fails with EPERM.
    pub(super) verdicts: BTreeMap<u32, Verdict>,
}

/// What a filter says to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// Fails with this error number.
    Fail(u16),
    /// Allowed if the argument of this index passes one of the tests; else fails with EPERM.
    AllowIf(u8, Vec<Test>),
}

/// A test of an argument's lower 32 bits, which are all that the kernel looks at in these calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Test {
    Below(u32),
    Equal(u32),
    Above(u32),
    /// None of these bits is set.
    Without(u32),
}

/// What a call that nothing allows fails with.
pub(super) const REFUSED: u16 = libc::EPERM as u16;
/// For calls that the C library then replaces by older ones.
const NOT_IMPLEMENTED: u16 = libc::ENOSYS as u16;

/// A call's name, and its numbers on x86_64, i386 and aarch64.
#[derive(Deserialize)]
struct Call(#[expect(dead_code, reason = "names the row")] String, Option<u32>, Option<u32>, Option<u32>);

#[derive(Deserialize)]
struct Profile {
    allowed: Vec<Call>,
    allowed_if: Vec<Conditional>,
    not_implemented: Vec<Call>,
}

#[derive(Deserialize)]
struct Conditional {
    call: Call,
    argument: u8,
    any: Vec<Test>,
}

/// The tables of the architectures whose programs this machine runs.
///
/// # Errors
/// `Unsupported` where the profile has no numbers for it.
pub(super) fn native() -> io::Result<Vec<Table>> {
    let profile: Profile = serde_json::from_str(PROFILE)?;
    match std::env::consts::ARCH {
        "x86_64" => Ok(vec![profile.table(X86_64, |call| call.1), profile.table(I386, |call| call.2)]),
        "aarch64" => Ok(vec![profile.table(AARCH64, |call| call.3)]),
        other => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("there is no system call filter for {other}"),
        )),
    }
}

impl Profile {
    fn table(&self, arch: u32, number: impl Fn(&Call) -> Option<u32>) -> Table {
        let allowed = self.allowed.iter().map(|call| (call, Verdict::Allow));
        let conditional = self
            .allowed_if
            .iter()
            .map(|Conditional { call, argument, any }| (call, Verdict::AllowIf(*argument, any.clone())));
        let missing = self.not_implemented.iter().map(|call| (call, Verdict::Fail(NOT_IMPLEMENTED)));
        let verdicts = allowed.chain(conditional).chain(missing);
        Table {
            arch,
            verdicts: verdicts
                .filter_map(|(call, verdict)| number(call).map(|number| (number, verdict)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_listed_twice() {
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        let rows = profile.allowed.len() + profile.allowed_if.len() + profile.not_implemented.len();
        let calls = profile.allowed.iter().chain(&profile.not_implemented);
        let calls: Vec<_> = calls.chain(profile.allowed_if.iter().map(|rule| &rule.call)).collect();
        let numbers: [fn(&Call) -> Option<u32>; 3] = [|call| call.1, |call| call.2, |call| call.3];
        for number in numbers {
            let listed = calls.iter().filter(|call| number(call).is_some()).count();
            assert_eq!(profile.table(0, number).verdicts.len(), listed);
            assert!(listed > 250 && listed < rows);
        }
    }

    #[test]
    fn calls_that_need_more_than_the_default_capabilities_are_not_listed() {
        let profile: Profile = serde_json::from_str(PROFILE).unwrap();
        // mount, keyctl, unshare, setns, bpf, io_uring_setup, kexec_load, chroot of x86_64
        for (number, allowed) in [
            (165, false),
            (250, false),
            (272, false),
            (308, false),
            (321, false),
            (425, false),
            (246, false),
            (161, true),
        ] {
            let table = profile.table(X86_64, |call| call.1);
            assert_eq!(table.verdicts.contains_key(&number), allowed, "{number}");
        }
    }
}

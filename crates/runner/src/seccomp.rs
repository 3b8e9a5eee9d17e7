//! The system call filter of a sandboxed run: Docker's default profile.
//!
//! The profile is data (`data/seccomp.json`), compiled to one program that knows every
//! architecture whose calls this processor takes: x86_64 and i386, or aarch64. The calls of another
//! architecture (32-bit ARM) kill the process; those of x32 have numbers that nothing allows.
//!
//! The program searches its ranges of call numbers by bisection. Docker's profile as a list of
//! comparisons, one a call, has six times the instructions and takes the kernel eight times as
//! long to install (2.3 ms against 0.3 ms), each run anew.

mod bpf;
mod profile;

use std::io;
use std::sync::OnceLock;

use libc::sock_filter;

/// Bytes of an instruction as the kernel and [`decode`] take it.
const INSTRUCTION: usize = 8;

/// The compiled filter, in a form that passes through a file.
///
/// # Errors
/// `Unsupported` on a processor that the profile does not cover.
pub(crate) fn encoded() -> io::Result<&'static [u8]> {
    static ENCODED: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(encoded) = ENCODED.get() {
        return Ok(encoded);
    }
    let program = bpf::compile(&profile::native()?);
    Ok(ENCODED.get_or_init(|| encode(&program)))
}

fn encode(program: &[sock_filter]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

/// The program that [`encoded`] gave.
pub(crate) fn decode(bytes: &[u8]) -> Vec<sock_filter> {
    let (instructions, _) = bytes.as_chunks::<INSTRUCTION>();
    instructions
        .iter()
        .map(|&[a, b, jt, jf, k @ ..]| sock_filter {
            code: u16::from_ne_bytes([a, b]),
            jt,
            jf,
            k: u32::from_ne_bytes(k),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_survives_the_way() {
        let program = bpf::compile(&profile::native().unwrap());
        let decoded = decode(encoded().unwrap());
        let parts = |i: &sock_filter| (i.code, i.jt, i.jf, i.k);
        assert_eq!(
            program.iter().map(parts).collect::<Vec<_>>(),
            decoded.iter().map(parts).collect::<Vec<_>>()
        );
    }
}

//! Finds the program and becomes it, or says precisely why not.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execve;

use crate::format::{Format, MACHINE, machine_name};
use crate::wire::{Bytes, Failure};

/// Where programs are looked for if the environment has no `PATH`.
///
/// Source: <https://github.com/moby/moby/blob/v28.3.0/oci/defaults.go>
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program `args[0]`. Returns only if that fails.
pub(crate) fn execute(args: &[Bytes], env: &[Bytes]) -> Failure {
    let strings = |list: &[Bytes]| list.iter().map(Bytes::to_c_string).collect::<Result<Vec<_>, _>>();
    let (args, env) = match (strings(args), strings(env)) {
        (Ok(args), Ok(env)) => (args, env),
        (Err(error), _) => return Failure::setup("pass an argument with a NUL byte", error),
        (_, Err(error)) => return Failure::setup("pass an environment variable with a NUL byte", error),
    };
    let Some(program) = args.first().filter(|program| !program.is_empty()) else {
        return Failure::NotFound;
    };
    let mut refused = None;
    for path in candidates(program, &env) {
        let Err(errno) = execve(&path, &args, &env);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR if !exists(&path) => {}
            // As a shell does, go on: another directory may hold one that can be executed.
            Errno::EACCES => refused = refused.or(Some(path)),
            Errno::E2BIG => return Failure::TooLong,
            errno => return Failure::NotExecutable { reason: explain(&path, errno) },
        }
    }
    match refused {
        Some(path) => Failure::NotExecutable { reason: explain(&path, Errno::EACCES) },
        None => Failure::NotFound,
    }
}

/// The paths to try for `program`, in order.
fn candidates(program: &CStr, env: &[CString]) -> Vec<CString> {
    if program.to_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    path.unwrap_or(DEFAULT_PATH)
        .split(|&byte| byte == b':')
        .filter_map(|directory| {
            let directory = if directory.is_empty() { b"." } else { directory };
            CString::new([directory, b"/", program.to_bytes()].concat()).ok()
        })
        .collect()
}

fn exists(path: &CStr) -> bool {
    metadata(path).is_some()
}

fn metadata(path: &CStr) -> Option<Metadata> {
    fs::metadata(OsStr::from_bytes(path.to_bytes())).ok()
}

/// Why the kernel does not execute `path`, which is there.
fn explain(path: &CStr, errno: Errno) -> String {
    let shown = path.to_string_lossy();
    match (errno, format(path)) {
        (Errno::ENOENT, Some(Format::Script { interpreter })) => {
            format!("its interpreter {interpreter} is missing")
        }
        (Errno::ENOENT, Some(Format::Elf { interpreter: Some(interpreter), .. })) => {
            format!("its dynamic loader {interpreter} is missing")
        }
        (Errno::ENOEXEC, Some(Format::Elf { machine, .. })) if machine != MACHINE => {
            format!("exec format error: {shown} is built for {}", machine_name(machine))
        }
        (Errno::ENOEXEC, Some(Format::Elf { .. })) => {
            format!("exec format error: {shown} is damaged")
        }
        (Errno::ENOEXEC, _) => {
            format!("exec format error: {shown} is no program, and no script that starts with `#!`")
        }
        (Errno::EACCES, _) if metadata(path).is_some_and(|found| found.is_dir()) => {
            format!("{shown} is a directory")
        }
        (Errno::EACCES, Some(Format::Script { interpreter })) => {
            format!("no permission for {shown} or its interpreter {interpreter}")
        }
        (errno, _) => format!("{shown}: {}", errno.desc()),
    }
}

fn format(path: &CStr) -> Option<Format> {
    let mut options = fs::OpenOptions::new();
    // Not to wait for the other end of a FIFO.
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(Path::new(OsStr::from_bytes(path.to_bytes()))).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    Format::of(&head(&file)?)
}

fn head(file: &File) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    file.take(Format::HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_path() {
        let cases: [(&CStr, &[&CStr], &[&CStr]); 5] = [
            (c"/bin/sh", &[c"PATH=/x"], &[c"/bin/sh"]),
            (c"./sh", &[c"PATH=/x"], &[c"./sh"]),
            (c"sh", &[c"A=1", c"PATH=/x:/y"], &[c"/x/sh", c"/y/sh"]),
            (c"sh", &[c"PATH=/x::/y"], &[c"/x/sh", c"./sh", c"/y/sh"]),
            (
                c"sh",
                &[c"XPATH=/x"],
                &[
                    c"/usr/local/sbin/sh",
                    c"/usr/local/bin/sh",
                    c"/usr/sbin/sh",
                    c"/usr/bin/sh",
                    c"/sbin/sh",
                    c"/bin/sh",
                ],
            ),
        ];
        for (program, env, expected) in cases {
            let env: Vec<_> = env.iter().map(|&variable| variable.to_owned()).collect();
            assert_eq!(candidates(program, &env), expected, "{program:?}");
        }
    }
}

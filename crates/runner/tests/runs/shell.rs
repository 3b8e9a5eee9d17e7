//! A shell at the caller's terminal.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lbuild_runner::{Cancel, Exit, Stdin, run};

use crate::bed::{Bed, open, processes_named, spec_in};

const ROLE: &str = "share-streams";

/// Runs a shell on our own standard streams in the root that the first argument names, if this
/// process was started for it.
pub fn share_streams_if_asked() {
    let mut args = std::env::args_os();
    if args.next().as_deref() != Some(OsStr::new(ROLE)) {
        return;
    }
    let mut spec = spec_in(open(args.next().unwrap()), &["/bin/sh"]);
    spec.stdin = Stdin::Inherit;
    let result = run(spec, &mut |_, _| unreachable!("it goes elsewhere"), &Cancel::new().unwrap());
    std::process::exit(match result {
        Ok(Exit::Code(status)) => status,
        other => panic!("{other:?}"),
    });
}

pub fn a_shell_has_the_callers_streams() {
    let bed = Bed::new();
    let script = "echo out $$; echo err >&2; ls /proc/self/fd | wc -l; exit 5\n";
    let output = shell(&bed, script).wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out 1\n4\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(5));
}

pub fn nothing_outlives_a_killed_builder() {
    let bed = Bed::new();
    let mut builder = shell(&bed, "setsid sleep 4247 & echo up; exec sleep 4248\n");
    let mut line = [0; 3];
    builder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"up\n");
    builder.kill().unwrap();
    builder.wait().unwrap();
    let start = Instant::now();
    while processes_named(&["sleep\x004247", "sleep\x004248"]) > 0 {
        assert!(start.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(10));
    }
}

/// A builder that runs a shell, which reads `script`.
fn shell(bed: &Bed, script: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg0(ROLE).arg(bed.path(""));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = command.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    shell
}

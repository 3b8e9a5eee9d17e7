//! How runs end, what they print, and why some do not start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, os::unix::ffi::OsStringExt};

use lbuild_runner::{Cancel, Exit, RunError, Stream, run};

use crate::bed::{Bed, finish, processes_named};

pub fn the_exit_status_is_the_programs() {
    let bed = Bed::new();
    for status in [0, 1, 7, 255] {
        let finished = bed.sh(&format!("exit {status}"));
        assert_eq!(finished.result.unwrap(), Exit::Code(status));
    }
}

pub fn a_signal_is_reported() {
    let bed = Bed::new();
    // Of its own signals, the first process of a namespace gets none but those that it handles.
    let by_fault = finish(bed.spec(&["/bin/sh", "-c", "ulimit -t 1; while :; do :; done"]));
    assert_eq!(by_fault.result.unwrap(), Exit::Signal(9));
    assert_eq!(bed.sh("sh -c 'kill -TERM $$'; exit $?").result.unwrap(), Exit::Code(143));
}

pub fn a_missing_program_is_not_found() {
    let bed = Bed::new();
    for (program, message) in [
        ("nonesuch", "nonesuch: not found in PATH"),
        ("/bin/nonesuch", "/bin/nonesuch: not found"),
        ("/etc/motd/x", "/etc/motd/x: not found"),
        ("", ": not found in PATH"),
    ] {
        let finished = finish(bed.spec(&[program]));
        assert!(matches!(finished.result, Err(RunError::NotFound { .. })), "{finished:?}");
        assert_eq!(finished.error(), message);
    }
}

pub fn what_cannot_be_executed_is_explained() {
    let bed = Bed::new();
    let foreign: Vec<u8> = {
        let mut elf = fs::read(bed.path("bin/busybox")).unwrap();
        elf[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
        elf
    };
    for (name, content, mode) in [
        ("plain", &b"text"[..], 0o644),
        ("noformat", b"echo hello\n", 0o755),
        ("script", b"#!/usr/bin/python3 -u\n", 0o755),
        ("foreign", &foreign, 0o755),
    ] {
        let path = format!("bin/{name}");
        bed.write_program(&path, content);
        fs::set_permissions(bed.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let foreign_name = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    for (program, reason) in [
        ("plain", "/bin/plain: Permission denied".to_owned()),
        ("/etc", "/etc is a directory".to_owned()),
        ("script", "its interpreter /usr/bin/python3 is missing".to_owned()),
        ("foreign", format!("exec format error: /bin/foreign is built for {foreign_name}")),
        (
            "noformat",
            "exec format error: /bin/noformat is no program, and no script that starts with `#!`".to_owned(),
        ),
    ] {
        let finished = finish(bed.spec(&[program]));
        assert!(matches!(finished.result, Err(RunError::NotExecutable { .. })), "{finished:?}");
        assert_eq!(finished.error(), format!("{program}: cannot be executed: {reason}"));
    }
}

pub fn a_missing_dynamic_loader_is_named() {
    let bed = Bed::new();
    bed.copy_program("/bin/ls", "bin/dynamic");
    let error = finish(bed.spec(&["dynamic"])).error();
    assert!(error.contains("its dynamic loader /lib") && error.ends_with("is missing"), "{error}");
}

pub fn path_is_searched_inside_the_root() {
    let bed = Bed::new();
    fs::create_dir(bed.path("own")).unwrap();
    bed.write_program("own/tool", b"#!/bin/sh\necho own $0 $1\n");
    let mut spec = bed.spec(&["tool", "x"]);
    spec.env = vec![("PATH".into(), "/nonesuch:/etc/motd:/own:/bin".into())];
    assert_eq!(finish(spec).success(), "own /own/tool x\n");
}

pub fn a_bad_working_directory_is_an_error() {
    let bed = Bed::new();
    for cwd in ["/nonesuch", "/etc/motd"] {
        let mut spec = bed.spec(&["true"]);
        spec.cwd = cwd.into();
        let finished = finish(spec);
        assert!(
            matches!(&finished.result, Err(RunError::WorkingDirectory { path, .. }) if path == Path::new(cwd))
        );
    }
}

pub fn arguments_and_environment_are_passed_on_as_bytes() {
    let bed = Bed::new();
    let odd = std::ffi::OsString::from_vec(b"a\xff\n\"\\".to_vec());
    let mut spec = bed.script("printf '%s|%s|' \"$1\" \"$ODD\" | od -An -tx1");
    spec.args.extend(["sh".into(), odd.clone()]);
    spec.env.push(("ODD".into(), odd));
    assert_eq!(finish(spec).success(), " 61 ff 0a 22 5c 7c 61 ff 0a 22 5c 7c\n");

    let mut spec = bed.spec(&["env"]);
    spec.env = vec![("B".into(), "1=2".into()), ("A".into(), "".into())];
    assert_eq!(finish(spec).success(), "B=1=2\nA=\n");

    let spec = bed.spec(&["true", "a\0b"]);
    assert!(finish(spec).error().contains("NUL"));
    let mut spec = bed.spec(&["true"]);
    spec.env.push(("A".into(), "a\0b".into()));
    assert!(finish(spec).error().contains("NUL"));
}

pub fn both_streams_come_in_order_and_as_they_are_written() {
    let bed = Bed::new();
    // Each line is printed only when the one before it came.
    let until = |file| format!("until test -e /{file}; do sleep 0.01; done");
    let spec = bed.script(&format!("echo 1; {}; echo 2 >&2; {}; echo 3", until("seen1"), until("seen2")));
    let mut seen = Vec::new();
    let mut output = |stream, bytes: &[u8]| {
        seen.push((stream, bytes.to_vec()));
        fs::write(bed.path(format!("seen{}", seen.len())), "").unwrap();
    };
    run(spec, &mut output, &Cancel::new().unwrap()).unwrap();
    let order: Vec<_> = seen.iter().map(|(stream, bytes)| (*stream, bytes.as_slice())).collect();
    assert_eq!(order, [(Stream::Stdout, &b"1\n"[..]), (Stream::Stderr, b"2\n"), (Stream::Stdout, b"3\n")]);
}

pub fn large_output_comes_whole() {
    let bed = Bed::new();
    let finished = bed.sh("yes 0123456789abcde | head -c 10485760; yes e | head -c 1000000 >&2");
    assert_eq!(finished.stderr.len(), 1_000_000);
    let stdout = finished.success();
    assert_eq!(stdout.len(), 10_485_760);
    assert!(stdout.lines().all(|line| line == "0123456789abcde"));
}

pub fn the_last_output_is_not_lost() {
    let bed = Bed::new();
    // As much as a pipe holds, in it when the program ends.
    for _ in 0..20 {
        assert_eq!(bed.sh("exec head -c 65536 /dev/zero").success().len(), 65536);
    }
}

pub fn what_runs_in_the_background_ends_with_the_program() {
    let bed = Bed::new();
    let start = Instant::now();
    assert_eq!(bed.sh("sleep 4242 & (setsid sleep 4243 &) ; echo done").success(), "done\n");
    assert!(start.elapsed() < Duration::from_secs(100));
    assert_eq!(processes_named(&["sleep\x004242", "sleep\x004243"]), 0);
}

pub fn cancelling_ends_everything() {
    let bed = Bed::new();
    let mounts = mounts_of(&bed);
    let cancel = Cancel::new().unwrap();
    let script = "trap '' TERM; sleep 4244 & echo started; while :; do sleep 4245; done";
    let started = Arc::new(Mutex::new(false));
    let canceller = {
        let (cancel, started) = (cancel.clone(), started.clone());
        thread::spawn(move || {
            while !*started.lock().unwrap() {
                thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel();
            Instant::now()
        })
    };
    let mut output = |_, _: &[u8]| *started.lock().unwrap() = true;
    let result = run(bed.script(script), &mut output, &cancel);
    let took = canceller.join().unwrap().elapsed();
    assert!(matches!(result, Err(RunError::Cancelled)), "{result:?}");
    assert!(took < Duration::from_secs(100), "{took:?}");
    assert_eq!(processes_named(&["sleep\x004244", "sleep\x004245"]), 0);
    assert_eq!(mounts_of(&bed), mounts);

    let result = run(bed.script("echo never"), &mut |_, _| panic!("it must not start"), &cancel);
    assert!(matches!(result, Err(RunError::Cancelled)), "{result:?}");
}

pub fn cancelling_lets_a_program_clean_up() {
    let bed = Bed::new();
    let cancel = Cancel::new().unwrap();
    let mut seen = Vec::new();
    let mut output = |_, bytes: &[u8]| {
        seen.extend_from_slice(bytes);
        cancel.cancel();
    };
    // Other than the end of a `sleep`, a signal ends this `wait` at once: there is little time.
    let script = "trap 'echo cleaned; exit 0' TERM; sleep 4249 & echo started; wait";
    let result = run(bed.script(script), &mut output, &cancel);
    assert!(matches!(result, Err(RunError::Cancelled)), "{result:?}");
    assert_eq!(String::from_utf8(seen).unwrap(), "started\ncleaned\n");
}

pub fn a_panic_in_the_callers_code_leaves_no_process() {
    let bed = Bed::new();
    let spec = bed.script("echo started; sleep 4246");
    let ended = thread::spawn(move || {
        run(spec, &mut |_, _| std::panic::resume_unwind(Box::new(())), &Cancel::new().unwrap())
    });
    assert!(ended.join().is_err());
    assert_eq!(processes_named(&["sleep\x004246"]), 0);
}

pub fn a_hundred_runs_at_a_time_do_not_mix() {
    let bed = Bed::new();
    let mounts = mounts_of(&bed);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..100)
            .map(|number| {
                let mut spec = bed.script("cat /etc/hosts; hostname; ls /proc/self/fd | wc -l; exit $N");
                spec.hosts = format!("hosts {number}\n").into_bytes();
                spec.hostname = format!("host-{number}");
                spec.env.push(("N".into(), number.to_string().into()));
                scope.spawn(move || finish(spec))
            })
            .collect();
        for (number, run) in runs.into_iter().enumerate() {
            let finished = run.join().unwrap();
            assert_eq!(finished.result.unwrap(), Exit::Code(number as i32));
            assert_eq!(finished.stdout, format!("hosts {number}\nhost-{number}\n4\n"));
        }
    });
    assert_eq!(mounts_of(&bed), mounts);
}

/// The mounts of this process that have to do with `bed`.
fn mounts_of(bed: &Bed) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = bed.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    mounts
        .lines()
        .filter(|line| line.contains(&place) || line.contains("lbuild"))
        .map(str::to_owned)
        .collect()
}

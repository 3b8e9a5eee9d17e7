//! Measures what a run costs beyond starting its program: `cost ROOT [TURNS]`, where ROOT holds a static
//! `/bin/true` and the directories that runs mount on. Each turn measures everything once, so that what else
//! the machine does meets all alike. Prints JSON: how this process may run, and microseconds.
//!
//! `cargo xtask bench isolation` makes the root and reads the figures.

use std::error::Error;
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use lbuild_runner::{Cancel, Exit, Isolation, Limits, Network, RunSpec, Security, Stdin, User, run};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

const TURNS: usize = 200;

/// What this program is told to do nothing.
const NOTHING: &str = "nothing";

/// A name, and what is timed.
type Case<'a> = (&'a str, Box<dyn FnMut() -> Result<Duration, Box<dyn Error>> + 'a>);

fn main() -> Result<(), Box<dyn Error>> {
    lbuild_runner::supervise_if_asked();
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: cost ROOT [TURNS]")?;
    if root == NOTHING {
        return Ok(());
    }
    let turns: usize = args.next().map_or(Ok(TURNS), |turns| turns.parse())?;
    let standing = lbuild_runner::take_standing(Isolation::Namespaces)?;
    let cancel = Cancel::new()?;
    let timed = |change: fn(&mut RunSpec)| -> Box<dyn FnMut() -> Result<Duration, Box<dyn Error>> + '_> {
        let (root, cancel) = (&root, &cancel);
        Box::new(move || {
            let mut spec = spec(root)?;
            change(&mut spec);
            let start = Instant::now();
            match run(spec, &mut |_, _| {}, cancel)? {
                Exit::Code(0) => Ok(start.elapsed()),
                exit => Err(format!("the program ended with {exit:?}").into()),
            }
        })
    };
    let mut cases: Vec<Case<'_>> = vec![
        ("floor", Box::new(|| started(&mut Command::new(format!("{root}/bin/true"))))),
        ("run", timed(|_| {})),
        ("without seccomp and with all capabilities", timed(|spec| spec.security = Security::Insecure)),
        ("with a network namespace", timed(|spec| spec.network = Network::None)),
        ("supervisor", Box::new(|| started(Command::new("/proc/self/exe").arg(NOTHING)))),
        ("namespaces", Box::new(unshared)),
    ];
    let limited = |spec: &mut RunSpec| spec.limits = Limits { pids: Some(1000), ..Limits::default() };
    // Not everybody may make control groups.
    if timed(limited)().is_ok() {
        cases.push(("with a control group", timed(limited)));
    }
    let mut measured: Vec<Vec<f64>> = vec![Vec::with_capacity(turns); cases.len()];
    for _ in 0..turns.max(1) {
        for ((_, case), figures) in cases.iter_mut().zip(&mut measured) {
            figures.push(case()?.as_secs_f64() * 1e6);
        }
    }
    let figures: serde_json::Map<_, _> =
        cases.iter().zip(measured).map(|((name, _), figures)| ((*name).to_owned(), json!(figures))).collect();
    report(&json!({"standing": format!("{standing:?}"), "microseconds": figures}));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its purpose")]
fn report(document: &serde_json::Value) {
    println!("{document}");
}

/// How long a program takes from its start to its end.
fn started(command: &mut Command) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    if !command.status()?.success() {
        return Err("the program failed".into());
    }
    Ok(start.elapsed())
}

/// How long a run's namespaces take to be made, by a thread of their own.
fn unshared() -> Result<Duration, Box<dyn Error>> {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    let thread = std::thread::spawn(move || {
        let start = Instant::now();
        unshare(flags).map(|()| start.elapsed())
    });
    Ok(thread.join().map_err(|_| "a thread panicked")??)
}

fn spec(root: &str) -> std::io::Result<RunSpec> {
    Ok(RunSpec {
        root: File::open(root)?.into(),
        args: vec!["/bin/true".into()],
        env: vec![("PATH".into(), "/bin".into())],
        cwd: "/".into(),
        user: User { uid: 0, gid: 0, groups: Vec::new() },
        hostname: "cost".into(),
        network: Network::Host,
        security: Security::Sandbox,
        mounts: Vec::new(),
        hosts: b"127.0.0.1 localhost\n".to_vec(),
        resolv_conf: Vec::new(),
        shm_size: 64 << 20,
        ulimits: Vec::new(),
        limits: Limits::default(),
        no_new_privileges: false,
        stdin: Stdin::Null,
    })
}

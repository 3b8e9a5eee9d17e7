//! Measures what a run costs beyond starting a process: `cost ROOT [RUNS]`, where ROOT holds a
//! static `/bin/true` and the directories that runs mount on.

use std::error::Error;
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use lbuild_runner::{Cancel, Exit, Limits, Network, RunSpec, Security, Stdin, User, run};

fn main() -> Result<(), Box<dyn Error>> {
    lbuild_runner::supervise_if_asked();
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: cost ROOT [RUNS]")?;
    let runs: usize = args.next().map_or(Ok(100), |runs| runs.parse())?;
    let cancel = Cancel::new()?;
    let program = format!("{root}/bin/true");
    report("fork and exec", &mut times(runs, || Ok(Command::new(&program).status()?.success()))?);
    for network in [Network::Host, Network::None] {
        let mut times =
            times(
                runs,
                || Ok(run(spec(&root, network.clone())?, &mut |_, _| {}, &cancel)? == Exit::Code(0)),
            )?;
        report(&format!("run, network {network:?}"), &mut times);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its purpose")]
fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    println!("{what}: fastest {:?}, median {:?}", times[0], times[times.len() / 2]);
}

fn times(
    runs: usize,
    mut step: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        if !step()? {
            return Err("the program failed".into());
        }
        times.push(start.elapsed());
    }
    Ok(times)
}

fn spec(root: &str, network: Network) -> std::io::Result<RunSpec> {
    Ok(RunSpec {
        root: File::open(root)?.into(),
        args: vec!["/bin/true".into()],
        env: vec![("PATH".into(), "/bin".into())],
        cwd: "/".into(),
        user: User { uid: 0, gid: 0, groups: Vec::new() },
        hostname: "cost".into(),
        network,
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

//! What a run may use up.

use std::fs;
use std::time::{Duration, Instant};

use lbuild_runner::{Exit, Limits, Resource, Ulimit};
use rustix::process::getrlimit;
use rustix::thread::{CapabilitySet, capabilities};

use crate::bed::{Bed, finish};

pub fn ulimits_apply() {
    let bed = Bed::new();
    let may_raise = capabilities(None).unwrap().permitted.contains(CapabilitySet::SYS_RESOURCE);
    let ours = getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let hard = if may_raise { 524_288 } else { ours.min(524_288) };
    assert_eq!(bed.sh("ulimit -n; ulimit -Hn").success(), format!("1024\n{hard}\n"));
    let mut spec = bed.script("ulimit -n; ulimit -Hn; ulimit -c; ulimit -s");
    spec.ulimits = vec![
        Ulimit { resource: Resource::Nofile, soft: Some(100), hard: Some(200) },
        Ulimit { resource: Resource::Core, soft: Some(0), hard: Some(0) },
        Ulimit { resource: Resource::Stack, soft: None, hard: None },
    ];
    assert_eq!(finish(spec).success(), "100\n200\n0\nunlimited\n");
    let mut spec = bed.script("true");
    spec.ulimits = vec![Ulimit { resource: Resource::Nofile, soft: Some(2), hard: Some(1) }];
    assert!(finish(spec).error().contains("cannot set the ulimit nofile"));
}

pub fn shared_memory_has_the_size_asked_for() {
    let bed = Bed::new();
    let mut spec = bed.script(
        "df -k /dev/shm | awk 'END { print $2 }'; head -c 3000000 /dev/zero > /dev/shm/x || echo full",
    );
    spec.shm_size = 2 << 20;
    assert_eq!(finish(spec).success(), "2048\nfull\n");
}

/// One after the other, for the groups are those of this process.
pub fn control_groups_limit_a_run_and_are_removed() {
    the_number_of_processes_is_limited();
    memory_is_limited();
    processors_are_limited();
    assert_no_group_is_left();
}

fn the_number_of_processes_is_limited() {
    let bed = Bed::new();
    let mut spec = bed.script("for i in $(seq 50); do sleep 5 & done; echo all");
    spec.limits = Limits { pids: Some(10), ..Limits::default() };
    let finished = finish(spec);
    assert!(finished.stderr.contains("can't fork"), "{finished:?}");
}

fn memory_is_limited() {
    let bed = Bed::new();
    let mut spec = bed.spec(&["tail", "/dev/zero"]);
    spec.limits = Limits { memory: Some(16 << 20), ..Limits::default() };
    assert_eq!(finish(spec).result.unwrap(), Exit::Signal(9));
}

fn processors_are_limited() {
    let bed = Bed::new();
    let mut spec = bed.script("while :; do :; done");
    spec.limits = Limits { cpus: Some(0.1), ..Limits::default() };
    spec.ulimits = vec![Ulimit { resource: Resource::Cpu, soft: Some(1), hard: Some(1) }];
    let start = Instant::now();
    // One second of a processor, at a tenth of one.
    assert_eq!(finish(spec).result.unwrap(), Exit::Signal(9));
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
}

fn assert_no_group_is_left() {
    let own = format!("lbuild-{}-", std::process::id());
    for hierarchy in ["", "memory", "pids", "cpu", "cpu,cpuacct", "unified"] {
        let groups = fs::read_dir(format!("/sys/fs/cgroup/{hierarchy}")).into_iter().flatten().flatten();
        for group in groups {
            assert!(!group.file_name().to_string_lossy().starts_with(&own), "{group:?}");
        }
    }
}

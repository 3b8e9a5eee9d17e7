//! A network of the simulation's own: a bridge for the registry, and a namespace for each worker.

use std::process::Command;

use crate::command::{Failure, command, run_quietly};

/// The registry's address on the bridge.
pub const HUB: &str = "10.231.0.1";

const NAMESPACES: &str = "/run/netns";

/// The bridge; it ends with the namespace that this process is in.
pub struct Network(());

impl Network {
    /// Sets up the bridge. This process must be in network and mount namespaces of its own.
    pub fn new() -> Result<Self, Failure> {
        let script = format!(
            "set -e; mkdir -p {NAMESPACES}; mount -t tmpfs scale {NAMESPACES}
             ip link set lo up; ip link add hub type bridge
             ip address add {HUB}/16 dev hub; ip link set hub up"
        );
        shell(&script)?;
        Ok(Self(()))
    }

    /// Makes the namespace of a worker; returns its name.
    pub fn join(&self, number: usize) -> Result<String, Failure> {
        let name = format!("worker-{number}");
        let address = number + 1;
        let script = format!(
            "set -e; ip netns add {name}
             ip link add veth{number} type veth peer name eth0 netns {name}
             ip link set veth{number} master hub up
             ip -n {name} address add 10.231.1.{address}/16 dev eth0
             ip -n {name} link set eth0 up; ip -n {name} link set lo up"
        );
        shell(&script)?;
        Ok(name)
    }
}

/// A command in a namespace that [`Network::join`] made.
pub fn within(namespace: &str, program: &std::path::Path) -> Command {
    let mut command = command("ip", ["netns", "exec", namespace]);
    command.arg(program);
    command
}

fn shell(script: &str) -> Result<(), Failure> {
    run_quietly(&mut command("sh", ["-c", script])).map(drop)
}

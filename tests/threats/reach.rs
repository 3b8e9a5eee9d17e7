//! Sockets and processes of the machine that a step may find.

use std::fs::{self, Permissions};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use lbuild_tests::Run;

use crate::row::Mode;
use crate::scene::Scene;

/// Builds with one RUN and returns what `/bin/reach` says in it that it reached.
#[track_caller]
fn reached(scene: &Scene, run: &str, options: &[&str]) -> Vec<String> {
    scene.dockerfile(&format!("FROM base\n{run}\n"));
    let mut command = scene.build_command(["--no-cache"]);
    let run: Run = Run::of(command.args(options)).success();
    let lines = run.stderr.lines().filter(|line| line.starts_with('#') && line.ends_with(" REACHED"));
    lines.map(str::to_owned).collect()
}

/// Without a network, a step has none of the machine's abstract sockets, which have no owner and no mode.
pub fn abstract_sockets_without_a_network(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let name = scene.bed_token();
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let attack = format!("reach abstract {name}");
    // With the machine's network it is possible, as docs/security.md says.
    assert_eq!(reached(&scene, &format!("RUN {attack}"), &[]).len(), 1, "the attack does not work");
    for user in ["", "USER user\n"] {
        let run = format!("{user}RUN --network=none {attack}");
        assert_eq!(reached(&scene, &run, &[]), [""; 0]);
        assert_eq!(reached(&scene, &format!("{user}RUN {attack}"), &["--network=none"]), [""; 0]);
    }
}

/// An agent is reached by the steps that ask for it, and by no other.
pub fn an_agent_of_another_step(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let path = scene.folder().join("agent");
    let _listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let path = path.to_str().unwrap();
    let agent = format!("--ssh=default={path}");
    let attack = format!(
        "reach socket /run/buildkit/ssh_agent.0 /run/ssh_agent.0 {path} /proc/1/root{path} $SSH_AUTH_SOCK \
         $(find / -xdev -type s 2> /dev/null)"
    );
    let with_agent = format!("RUN --mount=type=ssh {attack}");
    let own = reached(&scene, &with_agent, &[&agent]);
    assert!(!own.is_empty(), "the attack does not work");
    for user in ["", "USER user\n"] {
        let other = format!("{user}RUN {attack}");
        assert_eq!(reached(&scene, &other, &[&agent]), [""; 0]);
        let both = format!("{with_agent}\n{user}RUN {attack}; echo over");
        assert_eq!(reached(&scene, &both, &[&agent]).len(), own.len());
    }
}

/// Processes by their numbers, lbuild's own among them, and their memory.
pub fn processes_by_their_numbers(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for user in ["", "USER user\n"] {
        assert_eq!(reached(&scene, &format!("{user}RUN reach processes"), &[]), [""; 0]);
    }
}

//! RUNs with networks of their own, connected by pasta or slirp4netns.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use lbuild_tests::{BaseImage, Person, SharedBed, write_program};

/// Two network namespaces with a cable between: the machine's, where a server listens on loopback, and
/// that of a server outside. Prints the process in the first one.
const MACHINES: &str = r#"set -e
unshare --net sh -c 'echo $$ > "$0"; exec sleep 1000' "$0/machine" &
machine=$!
while ! test -s "$0/machine"; do sleep 0.05; done
ip link set lo up
ip link add outside type veth peer name eth0 netns "$machine"
ip addr add 198.51.100.254/24 dev outside; ip addr add 198.51.100.7/24 dev outside; ip link set outside up
inside() { nsenter --net="/proc/$machine/ns/net" "$@"; }
inside ip link set lo up
inside ip addr add 198.51.100.1/24 dev eth0
inside ip link set eth0 up
inside ip route add default via 198.51.100.254
mkdir "$0/outside" "$0/loopback"
echo the-server-outside > "$0/outside/index.html"
echo the-loopback > "$0/loopback/index.html"
busybox httpd -f -p 198.51.100.7:8000 -h "$0/outside" &
inside busybox httpd -f -p 127.0.0.1:8001 -h "$0/loopback" &
until inside busybox wget -q -O /dev/null http://198.51.100.7:8000/ 2> /dev/null; do sleep 0.05; done
until inside busybox wget -q -O /dev/null http://127.0.0.1:8001/ 2> /dev/null; do sleep 0.05; done
echo "$machine"
wait
"#;

/// What a RUN tries: the server outside, and the machine's loopback by each way that might lead there.
const TRY: &str = "FROM base
COPY --chmod=755 get /bin/get
RUN get 198.51.100.7 8000
RUN for host in 127.0.0.1 198.51.100.254 198.51.100.1 10.0.2.2; do \
        (get $host 8001 || echo no way by $host) & done; wait
RUN --network=none get 198.51.100.7 8000 || echo no network
";

/// Some machines let root alone open the device, by which interfaces are made.
const WITH_TUN: &str = r#"
    test -e "$0/tun" || mknod -m 666 "$0/tun" c 10 200
    mount --bind "$0/tun" /dev/net/tun
    exec "$@""#;

/// The one program of a static busybox that needs no libraries for it.
const GET: &str = r#"#!/bin/sh
# The end of what is sent comes after the answer: pasta passes it on in no other order.
(printf 'GET / HTTP/1.0\r\n\r\n'; sleep 1) | timeout 4 nc -w 2 "$1" "$2" | grep .
"#;

/// Everything ends with this value.
struct Machines {
    script: Child,
    /// Whose network namespace is the machine's.
    process: String,
}

impl Machines {
    fn start(bed: &SharedBed) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", MACHINES]).arg(bed.folder());
        // Whatever the script starts ends with its group.
        let mut script = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { script, process: line.trim().to_owned() }
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let group = format!("-{}", self.script.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.script.wait();
    }
}

#[test]
fn a_helper_connects_a_run_and_leads_to_no_loopback() {
    let bed = SharedBed::new();
    let machines = Machines::start(&bed);
    assert!(!machines.process.is_empty(), "the machines did not start");
    bed.file("Dockerfile", TRY).file("get", GET);
    let namespace = format!("--net=/proc/{}/ns/net", machines.process);
    for person in [Person::WithSubordinateIds, Person::WithoutSubordinateIds] {
        bed.load_base(person, "base", &BaseImage::busybox());
        let build = |network: &str| {
            let network = format!("--network={network}");
            let context = bed.context();
            let words = ["build", "--no-cache", "--progress", "plain", &network, context.to_str().unwrap()];
            let folder = bed.folder().to_str().unwrap();
            let launcher = ["nsenter", &namespace, "unshare", "--mount", "sh", "-ec", WITH_TUN, folder];
            bed.lbuild_by(person, &launcher, words)
        };
        // Without a helper, the loopback is the machine's: so the test can tell.
        let host = build("host").success();
        assert!(host.stderr.contains("the-loopback") && host.stderr.contains("the-server-outside"), "{host}");
        for helper in ["pasta", "slirp4netns"] {
            let run = build(helper).success();
            assert!(run.stderr.contains("the-server-outside"), "{person:?} {helper}: {run}");
            assert!(run.stderr.contains("no way by 127.0.0.1"), "{person:?} {helper}: {run}");
            assert!(!run.stderr.contains("the-loopback"), "{person:?} {helper}: {run}");
            assert!(run.stderr.contains("no network"), "{person:?} {helper}: {run}");
        }
    }
}

#[test]
fn a_helper_that_is_missing_or_fails_is_told() {
    let bed = SharedBed::new();
    let person = Person::WithoutSubordinateIds;
    bed.load_base(person, "base", &BaseImage::busybox());
    bed.file("Dockerfile", "FROM base\nRUN true\n");
    let context = bed.context();
    // No other helper than the test's own.
    let tools = bed.folder().join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::set_permissions(&tools, PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/usr/bin/setpriv", tools.join("setpriv")).unwrap();
    let path = tools.to_str().unwrap();
    let build = |helper: &str| {
        let (path, network) = (format!("PATH={path}"), format!("--network={helper}"));
        bed.lbuild_by(person, &["env", &path], ["build", &network, context.to_str().unwrap()])
    };
    for (helper, package) in [("pasta", "passt"), ("slirp4netns", "slirp4netns")] {
        let missing = format!("there is no {helper} in PATH");
        build(helper).failure(2).says(&[&missing, &format!("apt-get install {package}")]);
    }
    write_program(&tools.join("pasta"), b"#!/bin/sh\necho pasta is out >&2\nexit 1\n");
    build("pasta").failure(1).says(&["connect the network", "pasta is out"]);
}

//! A node of Kubernetes, as far as a pod can tell that does not look at its network.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{BaseImage, Run};

/// How long containerd may take to start.
const LIMIT: Duration = Duration::from_secs(30);

/// What holds a pod's namespaces.
const PAUSE: &str = "docker.io/lbuild-test/pause:1";
/// What the pods run.
const IMAGE: &str = "docker.io/lbuild-test/lbuild:1";

/// Sends containerd what kubelet would.
const KUBELET: &str = include_str!("kubelet.py");

/// A containerd of its own, in namespaces of its own; all that it started ends with it.
#[derive(Debug)]
pub struct Node {
    process: Child,
    folder: TempDir,
}

impl Node {
    /// Starts containerd and brings in the image that its pods run: a docker archive that is named
    /// `lbuild-test/lbuild:1`.
    pub fn start(image: &Path) -> Self {
        // A socket's path holds at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("lbuild-node-").tempdir().unwrap();
        let configuration = folder.path().join("config.toml");
        fs::write(&configuration, configuration_of(folder.path())).unwrap();
        fs::write(folder.path().join("kubelet.py"), KUBELET).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "containerd", "--config"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut node = Self { process, folder };
        node.wait_until_ready();
        let pause = node.folder.path().join("pause.tar");
        let waits = serde_json::json!({"Cmd": ["/bin/sleep", "1000000"]});
        BaseImage::busybox().config(waits).write(PAUSE, &pause);
        for archive in [&pause, image] {
            node.ctr(&["images", "import", archive.to_str().unwrap()]).success();
        }
        node
    }

    /// Runs a pod to its end: its first container, whatever image it names. Empty volumes are made in
    /// `folder`, or are what is there.
    #[track_caller]
    pub fn run(&self, pod: &str, folder: &Path) -> Run {
        fs::create_dir_all(folder).unwrap();
        let spec = folder.join("pod");
        File::create(&spec).unwrap().write_all(pod.as_bytes()).unwrap();
        // The system's own Python: another one lacks the system's packages.
        let script = r#"exec /usr/bin/python3 "$0" "$1" "$2" "$3" < "$4""#;
        let mut kubelet = Command::new("sh");
        kubelet.args(["-c", script]).arg(self.folder.path().join("kubelet.py")).arg(self.socket());
        Run::of(kubelet.arg(IMAGE).arg(folder).arg(&spec))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn ctr(&self, arguments: &[&str]) -> Run {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]);
        Run::of(ctr.args(arguments))
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        while !self.ctr(&["version"]).status.success() {
            let has_ended = self.process.try_wait().unwrap().is_some();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(!has_ended && begin.elapsed() < LIMIT, "containerd does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It is the first process of its namespace: the kernel ends the others.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Scores of the machine's memory killer are left alone: to lower them is not allowed in every container.
fn configuration_of(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{folder}/socket"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
"#
    )
}

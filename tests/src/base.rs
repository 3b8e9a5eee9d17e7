//! Base images for tests, written as docker archives by other code than the project's own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::image::sha256;

/// Every file of a base image has this time, in seconds since the Unix epoch.
const TIME: u64 = 1_500_000_000;

/// A base image in the making: its layers, bottom first, each a tar.
#[derive(Debug, Default)]
pub struct BaseImage {
    layers: Vec<Vec<u8>>,
    config: Option<serde_json::Value>,
    architecture: Option<&'static str>,
    history: Option<serde_json::Value>,
    claim: Option<String>,
}

impl BaseImage {
    /// An image without layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// busybox with its applets in `/bin`, and below it the files that tests change:
    /// `/etc/motd`, `/etc/passwd`, `/d/{a,b,sub/c}`, `/script` (setuid), `/linked-1` and `/linked-2`
    /// (hard links).
    pub fn busybox() -> Self {
        static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
        Self::new().layer(LAYER.get_or_init(busybox_layer).clone())
    }

    /// Adds a layer, a tar without compression.
    pub fn layer(mut self, tar: Vec<u8>) -> Self {
        self.layers.push(tar);
        self
    }

    /// The layers' tars, bottom first.
    pub fn layers(&self) -> &[Vec<u8>] {
        &self.layers
    }

    /// Sets the `config` part of the image's configuration.
    pub fn config(mut self, config: serde_json::Value) -> Self {
        self.config = Some(config);
        self
    }

    /// Makes it an image for another machine than this one.
    pub fn architecture(mut self, architecture: &'static str) -> Self {
        self.architecture = Some(architecture);
        self
    }

    /// Claims that its one layer has another digest than it has.
    pub fn claiming(mut self, diff_id: &str) -> Self {
        self.claim = Some(diff_id.to_owned());
        self
    }

    /// Sets the history, a list of steps.
    pub fn history(mut self, history: serde_json::Value) -> Self {
        self.history = Some(history);
        self
    }

    /// Writes the image as a docker archive that names it `name`.
    pub fn write(&self, name: &str, archive: &Path) {
        let diff_ids: Vec<String> =
            self.layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let diff_ids = self.claim.iter().cloned().map(|claim| vec![claim]).next().unwrap_or(diff_ids);
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let steps = || diff_ids.iter().map(|_| json!({"created_by": "test bed"})).collect();
        let config = json!({
            "architecture": self.architecture.unwrap_or(own),
            "os": "linux",
            "created": "2017-07-14T02:40:00Z",
            "config": self.config.clone().unwrap_or_else(default_config),
            "history": self.history.clone().unwrap_or_else(steps),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes()));
        let layer_names: Vec<String> =
            self.layers.iter().map(|layer| format!("{}/layer.tar", sha256(layer))).collect();
        let manifest =
            json!([{"Config": config_name, "Layers": layer_names, "RepoTags": [name]}]).to_string();

        let mut tar = Builder::new(fs::File::create(archive).unwrap());
        entry(&mut tar, &config_name, EntryType::Regular, 0o644, config.as_bytes());
        for (name, layer) in layer_names.iter().zip(&self.layers) {
            entry(&mut tar, name, EntryType::Regular, 0o644, layer);
        }
        entry(&mut tar, "manifest.json", EntryType::Regular, 0o644, manifest.as_bytes());
        tar.finish().unwrap();
    }
}

/// Appends an entry of root's; `content` is the target of a link.
pub fn entry<W: std::io::Write>(
    tar: &mut Builder<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(TIME);
    header.set_size(0);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        tar.append_link(&mut header, path, std::str::from_utf8(content).unwrap()).unwrap();
    } else {
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content).unwrap();
    }
}

fn default_config() -> serde_json::Value {
    json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]})
}

fn busybox_layer() -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(fs::read).into_iter().find_map(Result::ok);
    let busybox = busybox.expect("busybox-static is not installed: `cargo xtask test` installs it");
    let list = Command::new("busybox").arg("--list").output().unwrap();
    let mut tar = Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin/", 0o755),
        ("d/", 0o755),
        ("d/sub/", 0o755),
        ("etc/", 0o755),
        ("tmp/", 0o1777),
        ("root/", 0o700),
    ] {
        entry(&mut tar, folder, EntryType::Directory, mode, b"");
    }
    entry(&mut tar, "bin/busybox", EntryType::Regular, 0o755, &busybox);
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        entry(&mut tar, &format!("bin/{applet}"), EntryType::Symlink, 0o777, b"busybox");
    }
    for (path, mode, content) in [
        ("etc/motd", 0o644, "Welcome.\n"),
        ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
        ("etc/group", 0o644, "root:x:0:\nuser:x:1000:\n"),
        ("d/a", 0o644, "a\n"),
        ("d/b", 0o644, "b\n"),
        ("d/sub/c", 0o600, "c\n"),
        ("script", 0o4755, "#!/bin/sh\n"),
        ("linked-1", 0o644, "one file, two names\n"),
    ] {
        entry(&mut tar, path, EntryType::Regular, mode, content.as_bytes());
    }
    entry(&mut tar, "linked-2", EntryType::Link, 0o644, b"linked-1");
    tar.into_inner().unwrap()
}

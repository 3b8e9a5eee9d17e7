//! Labels and other metadata of an image.
//!
//! CVE-2026-53488: labels of a base image configured the host's side of the build.

use serde_json::json;

use crate::row::Mode;
use crate::scene::{Scene, base};

/// The same step, whatever the base's labels ask for.
pub fn labels_configure_nothing(mode: Mode) {
    let probe = "FROM base\nRUN cat /proc/self/status | grep -E '^(Cap|Seccomp:|NoNewPrivs|Uid|Gid)'; \
        cat /proc/self/limits; ls /dev; cat /proc/mounts | cut -d' ' -f2-4; ls -l /proc/self/ns/net; \
        echo x > /x; umask; env\n";
    let scene = Scene::with_base(mode, probe);
    let outside = scene.outside_text();
    let seen = |run: &lbuild_tests::Run| {
        // Lines of the step's own output begin with a time.
        let output = run.stderr.lines().filter_map(|line| line.strip_prefix("#2 ")?.split_once(' '));
        let output = output.filter(|(time, _)| time.parse::<f64>().is_ok());
        let lines: Vec<String> = output
            .map(|(_, text)| text.to_owned())
            .filter(|line| !line.contains("/proc/self/ns/net"))
            .collect();
        lines
    };
    let plain = seen(&scene.build(["--no-cache"]).success());
    assert!(plain.iter().any(|line| line.starts_with("CapEff")), "{plain:?}");
    let mut labels = serde_json::Map::new();
    for name in [
        "lbuild.security",
        "lbuild.network",
        "org.lbuild.allow",
        "io.containerd.runc.v2.group",
        "io.kubernetes.cri-o.userns-mode",
        "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel",
        "io.podman.annotations.privileged",
        "com.docker.security.privileged",
        "moby.buildkit.frontend.caps",
        "run.oci.hooks.stderr",
        "run.oci.mount_context_type",
        "run.oci.keep_original_groups",
        "org.criu.config",
        "io.buildah.version",
        "nvidia.com/gpu",
        "oci.umask",
        "io.katacontainers.config.hypervisor.path",
    ] {
        for value in ["true", "insecure", "host", outside] {
            labels.insert(format!("{name}.{}", labels.len()), json!(value));
            labels.insert(name.to_owned(), json!(value));
        }
    }
    let config = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"],
        "Labels": labels, "Privileged": true, "CapAdd": ["ALL"], "SecurityOpt": ["seccomp=unconfined"],
        "Binds": [format!("{outside}:/m")], "NetworkMode": "none", "Devices": ["/dev/kmsg"],
        "Volumes": {format!("{outside}:/d"): {}, "/d/../../..": {}},
    });
    scene.load_base("base", &base().config(config));
    let labelled = scene.build(["--no-cache"]).success();
    assert_eq!(seen(&labelled), plain);
}

//! lbuild's own image, by `docker/Dockerfile`.

use std::fs;

use lbuild_tests::{Docker, TestBed, static_lbuild, workspace};

#[test]
fn lbuild_builds_its_own_image_and_runs_in_it() {
    let bed = TestBed::new();
    let docker = Docker::connect();
    for (folder, name) in [("binary", "lbuild"), ("certificates", "ca-certificates.crt")] {
        fs::create_dir(bed.folder().join(folder)).unwrap();
        let from =
            if name == "lbuild" { static_lbuild() } else { "/etc/ssl/certs/ca-certificates.crt".as_ref() };
        fs::copy(from, bed.folder().join(folder).join(name)).unwrap();
    }
    let folder = workspace().join("docker");
    let contexts = ["binary", "certificates"]
        .map(|name| format!("--build-context={name}={}", bed.folder().join(name).display()));
    let file = format!("--file={}", folder.join("Dockerfile").display());
    let name = bed.name();
    bed.lbuild(["build", "-t", &name, &file, &contexts[0], &contexts[1], folder.to_str().unwrap()]).success();
    docker.load(&bed.save(&name));

    let run = |arguments: &[&str]| {
        let mut command = docker.command(["run", "--rm", "--network=none", &name]);
        lbuild_tests::Run::of(command.args(arguments)).success().text()
    };
    let version = bed.lbuild(["--version"]).success().text();
    assert_eq!(run(&["--version"]), version);
    let script = docker.docker(["inspect", "--format={{.Config.Entrypoint}} {{.Config.WorkingDir}}", &name]);
    assert_eq!(script.success().text(), "[/lbuild] /work\n");
    // It needs nothing else for a store of its own, below its volume.
    assert_eq!(run(&["images", "-q"]), "");
    docker.docker(["rmi", "--force", &name]).success();
}

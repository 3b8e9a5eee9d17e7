//! What Docker makes of each form of an image, and lbuild of what Docker saves.

use std::ffi::OsStr;

use lbuild_tests::{Docker, Run, TestBed};
use serde_json::Value;

use super::load_into_docker;

const CONFIGURED: &str = "FROM base
ENV A=1 B=\"two words\"
LABEL colour=blue
EXPOSE 80 53/udp
VOLUME /v
WORKDIR /w
USER user:user
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT [\"sh\", \"-c\"]
CMD [\"id -u; pwd; echo $B\"]
";

#[test]
fn docker_reads_the_whole_configuration() {
    let bed = TestBed::with_base(CONFIGURED);
    let docker = load_into_docker(&bed);
    let run = docker.docker(["run", "--rm", "--network=none", &bed.name()]).success();
    assert_eq!(run.text(), "1000\n/w\ntwo words\n");

    let config = docker.inspect(&bed.name())["Config"].take();
    for (key, expected) in [
        ("Labels", serde_json::json!({"colour": "blue"})),
        ("ExposedPorts", serde_json::json!({"53/udp": {}, "80/tcp": {}})),
        ("Volumes", serde_json::json!({"/v": {}})),
        ("WorkingDir", Value::from("/w")),
        ("User", Value::from("user:user")),
        ("StopSignal", Value::from("SIGINT")),
        ("Entrypoint", serde_json::json!(["sh", "-c"])),
    ] {
        assert_eq!(config[key], expected, "{key}");
    }
    assert_eq!(config["Healthcheck"]["Interval"], 5_000_000_000_u64);
}

#[test]
fn the_image_has_the_same_id_in_docker() {
    let bed = TestBed::with_base(CONFIGURED);
    let docker = load_into_docker(&bed);
    assert_eq!(docker.inspect(&bed.name())["Id"], bed.inspect(&bed.name())["Id"]);
}

#[test]
fn load_hands_the_image_to_the_daemon() {
    let docker = Docker::connect();
    let bed = TestBed::with_base("FROM base\nRUN echo loaded > /f\n");
    Run::of(bed.build_command(["--load"]).env("DOCKER_HOST", docker.host())).success();
    assert_eq!(docker.shell(&bed.name(), "cat /f").success().text(), "loaded\n");
}

#[test]
fn load_sends_only_the_layers_that_docker_lacks() {
    let docker = Docker::connect();
    let bed =
        TestBed::with_base("FROM base\nRUN dd if=/dev/urandom of=/large bs=1M count=8\nCOPY late /late\n");
    let load = |late: &str| {
        bed.file("late", late);
        Run::of(bed.build_command(["--load"]).env("DOCKER_HOST", docker.host())).success().text()
    };
    load("one\n");
    let told = load("two\n");
    assert!(told.contains("1 layers sent, 2 were there"), "{told}");
    assert_eq!(docker.shell(&bed.name(), "cat /late && wc -c < /large").success().text(), "two\n8388608\n");
}

#[test]
fn docker_loads_compressed_layers() {
    let docker = Docker::connect();
    let bed = TestBed::with_base("FROM base\nRUN rm /etc/motd && echo packed > /f\n");
    let archive = bed.folder().join("image.tar");
    bed.build(["-o", &format!("type=docker,dest={},compression=gzip", archive.display())]).success();
    docker.load(&archive);
    let script = "cat /f && test ! -e /etc/motd";
    assert_eq!(docker.shell(&bed.name(), script).success().text(), "packed\n");
}

#[test]
fn what_docker_saves_is_a_base_image_with_the_same_layers() {
    let bed = TestBed::with_base(
        "FROM base\nRUN rm -r /d && mkdir /d && echo new > /d/n && chmod 4711 /d/n\nRUN rm /etc/motd\nUSER user\n",
    );
    let docker = load_into_docker(&bed);
    let saved = bed.folder().join("saved.tar");
    docker
        .docker([OsStr::new("save"), OsStr::new("-o"), saved.as_os_str(), OsStr::new(&bed.name())])
        .success();

    let other = TestBed::new();
    other.lbuild(["load", "-i", saved.to_str().unwrap()]).success();
    assert_eq!(other.inspect(&bed.name())["Id"], bed.inspect(&bed.name())["Id"]);
    other.dockerfile(&format!(
        "FROM {}\nRUN test \"$(ls /d)\" = n && test ! -e /etc/motd && test $(id -u) = 1000 && touch /tmp/f\n",
        bed.name()
    ));
    let docker = load_into_docker(&other);
    let (base, built) = (docker.diff_ids(&bed.name()), docker.diff_ids(&other.name()));
    assert_eq!(built[..base.len()], base);
    docker.shell(&other.name(), "test -e /tmp/f && test -u /d/n && test $(id -u) = 1000").success();
}

#[test]
fn what_docker_builds_and_saves_is_a_base_image() {
    let docker = Docker::connect();
    let bed = TestBed::with_base("");
    docker.load(&bed.save("base"));
    let name = bed.name();
    bed.dockerfile(
        "FROM base\nRUN rm -r /d && mkdir /d && touch /d/n\nRUN mkdir -p /x/y && ln /etc/motd /x/y/link\n",
    );
    let mut build = std::process::Command::new("sh");
    build.args(["-c", "DOCKER_BUILDKIT=0 \"$0\" --host \"$1\" build --network none -t \"$2\" \"$3\""]);
    build.arg(docker.client()).args([docker.host(), &name]).arg(bed.context());
    Run::of(&mut build).success();
    let saved = bed.folder().join("saved.tar");
    docker.docker([OsStr::new("save"), OsStr::new("-o"), saved.as_os_str(), OsStr::new(&name)]).success();

    let other = TestBed::new();
    other.lbuild(["load", "-i", saved.to_str().unwrap()]).success();
    other.dockerfile(&format!(
        "FROM {name}\nRUN test \"$(ls /d)\" = n && grep Welcome /x/y/link && rm /x/y/link\n"
    ));
    assert_eq!(other.built().top_layer().paths(), ["x/", "x/y/", "x/y/.wh.link"]);
}

#[test]
fn an_image_of_dockers_is_a_base_by_its_name() {
    let bed = TestBed::with_base("FROM base\nRUN echo from docker > /made\n");
    let docker = load_into_docker(&bed);
    let name = bed.name();
    let other = TestBed::new();
    for (from, arguments) in
        [(format!("docker-daemon:{name}"), &[][..]), (name.clone(), &["--image-sources=store,docker-daemon"])]
    {
        other.dockerfile(&format!("FROM {from}\nRUN cp /made /copied\n"));
        let mut command = other.build_command(arguments);
        Run::of(command.env("DOCKER_HOST", docker.host())).success();
        let made = other.image(&other.name());
        assert_eq!(made.top_layer().entry("copied").content, b"from docker\n", "{from}");
        assert_eq!(made.diff_ids()[..2], docker.diff_ids(&name)[..], "{from}");
    }
}

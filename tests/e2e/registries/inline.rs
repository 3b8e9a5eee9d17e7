//! Images that carry the results of their own steps: `--cache-to type=inline`, and `--cache-from IMAGE`.

use std::fs;

use lbuild_tests::{FaultProxy, Registry, Run, sha256};
use serde_json::Value;

use super::{RegistryBed, skopeo};
use crate::shared_cache::executed;

/// Two stages. The layers of the first one are in no image.
const DOCKERFILE: &str = "FROM base AS tool
RUN date +%s%N > /made && head -c 100000 /dev/urandom > /data
FROM base
RUN date +%s%N > /first
COPY file /copied
WORKDIR /w
COPY --from=tool /made /made
COPY --link --from=tool /made /linked/
RUN cat /made /copied > /w/result
CMD [\"cat\", \"/w/result\"]
";

fn machine() -> RegistryBed {
    let bed = RegistryBed::with_base();
    bed.bed.dockerfile(DOCKERFILE).file("file", "content\n");
    bed
}

fn build(bed: &RegistryBed, name: &str, arguments: &[&str]) -> Run {
    bed.build(["-t", name].iter().chain(arguments))
}

/// The digest of the manifest that a push tells.
#[track_caller]
fn pushed(run: &Run) -> String {
    let text = run.text();
    let line = text.lines().find(|line| line.starts_with("pushed")).unwrap_or_else(|| panic!("{run}"));
    line.split(['(', ')']).nth(1).unwrap().to_owned()
}

fn config(registry: &Registry, name: &str) -> Value {
    let name = format!("docker://{}", registry.name(name));
    skopeo(["inspect", "--tls-verify=false", "--config", "--raw", &name]).json()
}

#[test]
fn a_machine_with_an_empty_store_gets_every_step_from_the_image_that_another_pushed() {
    let (one, two, three) = (machine(), machine(), machine());
    let registry = Registry::start(&one.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    let name = proxy.name("team/app:main");
    let inline = ["--cache-to=type=inline", "--push"];
    let first = build(&one, &name, &inline).success();
    assert_eq!(executed(&first), 7, "{first}");

    let from = format!("--cache-from=type=registry,ref={name}");
    proxy.seen();
    let second = build(&two, &name, &[&inline[..], &[&from]].concat()).success();
    assert_eq!((executed(&second), pushed(&second)), (0, pushed(&first)), "{second}");
    let seen: Vec<String> = proxy.seen().into_iter().map(|seen| seen.line).collect();
    let asked = seen.iter().filter(|line| line.starts_with("GET /v2/team/")).count();
    assert_eq!(asked, 2, "the manifest and the configuration, once: {seen:?}");
    // From the machine's own store, too.
    let again = build(&two, &name, &[&inline[..], &[&from]].concat()).success();
    assert_eq!((executed(&again), pushed(&again)), (0, pushed(&first)), "{again}");
    // Without the option the image has nothing of it, also where its base does.
    let plain = build(&two, &proxy.name("team/plain:1"), &[&from, "--frozen", "--push"]).success();
    assert_ne!(pushed(&plain), pushed(&first));
    assert!(config(&registry, "team/plain:1").get("dev.lbuild.cache").is_none());

    // A change in the middle: what is below it comes from the image, and no layer of the rest.
    three.bed.file("file", "changed\n");
    let third = build(&three, &name, &[&from]).success().says(&["no cache has it"]);
    assert!(!third.stderr.contains("FAILED"), "{third}");
    assert!((4..=7).contains(&executed(&third)), "{third}");
    assert_eq!(three.file_of(&name, "first"), one.file_of(&name, "first"), "{third}");
    assert_eq!(three.file_of(&name, "copied"), b"changed\n");
}

/// Makes `app:bad` of `app:good` by a change of its configuration.
fn change(bed: &RegistryBed, registry: &Registry, change: impl FnOnce(&mut Value)) {
    let folder = bed.path("image");
    let [good, bad] = ["good", "bad"].map(|tag| format!("docker://{}", registry.name(&format!("app:{tag}"))));
    let here = format!("dir:{}", folder.display());
    skopeo(["copy", "--quiet", "--src-tls-verify=false", &good, &here]);
    let read = |file: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(file)).unwrap()).unwrap();
    let mut manifest = read("manifest.json");
    let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let mut config = read(digest.strip_prefix("sha256:").unwrap());
    change(&mut config);
    let config = config.to_string();
    let digest = sha256(config.as_bytes());
    manifest["config"]["digest"] = format!("sha256:{digest}").into();
    manifest["config"]["size"] = config.len().into();
    fs::write(folder.join(digest), config).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    skopeo(["copy", "--quiet", "--dest-tls-verify=false", &here, &bad]);
}

#[test]
fn what_an_image_says_of_its_layers_is_no_more_than_a_hint() {
    type Poison = fn(&mut Value);
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    build(&one, &registry.name("app:good"), &["--cache-to=type=inline", "--push"]).success();
    let poisons: [(&str, &str, Poison); 5] = [
        ("other layers under the DiffIDs", "cannot be fetched", |config| {
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().reverse();
        }),
        ("other lengths", "cannot be fetched", |config| {
            for step in config["dev.lbuild.cache"]["steps"].as_array_mut().unwrap() {
                step.pointer_mut("/layer/size").into_iter().for_each(|size| *size = 512.into());
            }
        }),
        ("fewer layers than there are", "not used as a cache", |config| {
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
        }),
        ("another form", "not used as a cache", |config| config["dev.lbuild.cache"]["version"] = 9.into()),
        ("nothing", "not used as a cache", |config| {
            config.as_object_mut().unwrap().remove("dev.lbuild.cache");
        }),
    ];
    for (what, says, poison) in poisons {
        change(&one, &registry, poison);
        let name = registry.name("app:bad");
        let two = machine();
        let archive = format!("-o={}", two.path("app.tar").display());
        let run = build(&two, "app", &[&format!("--cache-from={name}"), &archive]).success();
        assert!(executed(&run) > 0, "{what}: {run}");
        assert!(run.stderr.contains(says), "{what}: {run}");
        let made = two.file_of("app", "made");
        assert_eq!(two.file_of("app", "w/result"), [&made[..], b"content\n"].concat(), "{what}: {run}");
    }
}

#[test]
fn an_argument_of_buildkit_asks_for_the_same_and_what_cannot_carry_it_says_so() {
    let bed = machine();
    let build = |arguments: &[&str]| build(&bed, "app", arguments).success();
    let id = |run: &Run| run.text().lines().next().unwrap().to_owned();
    let plain = build(&[]);
    let inline = build(&["--cache-to=type=inline,mode=max"]).says(&["mode=max has no effect"]);
    assert_ne!(id(&plain), id(&inline));
    assert_eq!(id(&build(&["--build-arg=BUILDKIT_INLINE_CACHE=1"])), id(&inline));
    assert_eq!(id(&build(&["--build-arg=BUILDKIT_INLINE_CACHE=0"])), id(&plain));
    let folder = format!("-o={}", bed.path("files").display());
    build(&["--cache-to=type=inline", &folder]).says(&["note: files carry no cache"]);
    // An image on top of it has nothing of it.
    bed.bed.dockerfile("FROM app\nCMD [\"x\"]\n");
    self::build(&bed, "child", &[]).success();
    assert!(!bed.bed.image("child").config.to_string().contains("dev.lbuild.cache"));
    assert!(bed.bed.image("app").config.to_string().contains("dev.lbuild.cache"));
}

#[test]
fn an_image_that_is_not_there_yet_or_cannot_be_asked_for_is_a_miss() {
    let bed = machine();
    let registry = Registry::start(&bed.path("registry"));
    let run = build(&bed, "app", &["--cache-from", &registry.name("app:main")]).success();
    assert_eq!(executed(&run), 7, "{run}");
    assert!(!run.stderr.contains("not used"), "{run}");
    let other = machine();
    let run = build(&other, "app", &["--cache-from=127.0.0.1:1/app:main"]).success();
    assert_eq!(executed(&run), 7, "{run}");
    assert!(run.stderr.contains("not used as a cache"), "{run}");
}

#[test]
fn the_images_of_an_index_carry_the_steps_of_their_platforms() {
    let (one, two) = (machine(), machine());
    let registry = Registry::start(&one.path("registry"));
    let name = registry.name("app:main");
    let options = ["--platform=linux/amd64,linux/arm64", "--cache-to=type=inline", "--push"];
    let from = format!("--cache-from={name}");
    for bed in [&one, &two] {
        bed.bed.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY file /of/$TARGETARCH\nWORKDIR /w\n");
    }
    let first = build(&one, &name, &options).success();
    let second = build(&two, &name, &[&options[..], &[&from]].concat()).success();
    assert_eq!((executed(&first), executed(&second)), (4, 0), "{second}");
    assert_eq!(pushed(&first), pushed(&second));
}

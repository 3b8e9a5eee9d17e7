//! Certificates, and proxies on the way to a registry, whose name here only a proxy knows.

use std::fs;

use lbuild_tests::{ConnectProxy, Registry, RegistryOptions, Run, certificates};

use super::RegistryBed;

/// What no resolver knows, so that nothing is reached but by the proxy; and it is not this machine.
const HOST: &str = "registry.invalid";
const IMAGE: &str = "registry.invalid/team/base:1";

/// A registry with TLS that is known as [`HOST`] to a proxy, and has [`IMAGE`].
struct Scene {
    _registry: Registry,
    bed: RegistryBed,
    proxy: ConnectProxy,
}

impl Scene {
    fn new(wants_certificate: bool) -> Self {
        let mut bed = RegistryBed::with_base();
        let plain = Registry::start(&bed.path("registry"));
        bed.push_base(&plain.name("team/base:1"));
        bed.empty_store();
        certificates(&bed.path("tls"));
        let options =
            RegistryOptions { tls: Some(bed.path("tls")), wants_certificate, ..RegistryOptions::default() };
        let registry = Registry::start_with(&bed.path("registry"), &options);
        let proxy = ConnectProxy::start(registry.address());
        Self { _registry: registry, bed, proxy }
    }

    /// Pulls [`IMAGE`] with further variables.
    fn pull(&self, variables: &[(&str, &str)]) -> Run {
        let mut command = self.bed.command(["pull", IMAGE]);
        for variable in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        command.env("HTTPS_PROXY", self.proxy.address());
        Run::of(command.envs(variables.iter().copied()))
    }

    /// Puts a file of the scene's certificates where lbuild looks for those of [`HOST`].
    fn install(&self, file: &str, name: &str) {
        let folder = self.bed.path("config/containers/certs.d").join(HOST);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.bed.path("tls").join(file), folder.join(name)).unwrap();
    }
}

#[test]
fn an_unknown_authority_is_refused_and_the_message_tells_how_to_trust_it() {
    let scene = Scene::new(false);
    scene.pull(&[]).failure(1).says(&["cannot reach registry.invalid", "certificate", "certs.d/HOST/ca.crt"]);
    assert_eq!(scene.bed.lbuild(["images", "-q"]).success().text(), "");
    // As the message says.
    scene.install("ca.crt", "ca.crt");
    scene.pull(&[]).success();
    assert_eq!(scene.bed.file_of(IMAGE, "etc/motd"), b"Welcome.\n");
}

#[test]
fn an_authority_is_known_from_the_systems_file_or_the_registry_need_not_prove_who_it_is() {
    let scene = Scene::new(false);
    let authority = scene.bed.path("tls/ca.crt");
    scene.pull(&[("SSL_CERT_FILE", authority.to_str().unwrap())]).success();
    let scene = Scene::new(false);
    scene.bed.registries_conf(&format!("[[registry]]\nlocation = \"{HOST}\"\ninsecure = true\n"));
    scene.pull(&[]).success();
}

#[test]
fn a_registry_that_wants_a_certificate_gets_the_one_that_is_for_it() {
    let scene = Scene::new(true);
    scene.install("ca.crt", "ca.crt");
    scene.pull(&[]).failure(1).says(&["cannot reach registry.invalid"]);
    scene.install("client.crt", "client.cert");
    scene.pull(&[]).failure(1).says(&["client.key"]);
    scene.install("client.key", "client.key");
    scene.pull(&[]).success();
}

#[test]
fn proxies_are_asked_as_the_environment_says() {
    let scene = Scene::new(false);
    scene.install("ca.crt", "ca.crt");
    scene.proxy.targets();
    for no_proxy in [HOST, ".invalid", "invalid", "*", "example.com, registry.invalid:443"] {
        scene.pull(&[("NO_PROXY", no_proxy)]).failure(1).says(&["name of the registry is not known"]);
        assert!(scene.proxy.targets().is_empty(), "{no_proxy}");
    }
    // Nothing listens there.
    scene.pull(&[("HTTPS_PROXY", "http://127.0.0.1:1")]).failure(1).says(&["check HTTPS_PROXY"]);
    scene.pull(&[("NO_PROXY", "example.com,gistry.invalid")]).success();
    let targets = scene.proxy.targets();
    assert!(
        !targets.is_empty() && targets.iter().all(|target| target == "registry.invalid:443"),
        "{targets:?}"
    );
    // Registries on this machine are not asked for by way of a proxy.
    let plain = Registry::start(&scene.bed.path("registry"));
    let mut command = scene.bed.command(["pull", &plain.name("team/base:1")]);
    Run::of(command.env("HTTP_PROXY", scene.proxy.address()).env("HTTPS_PROXY", scene.proxy.address()))
        .success();
    assert!(scene.proxy.targets().is_empty());
}

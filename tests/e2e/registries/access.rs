//! Who may: TLS, names and passwords, tokens, `login` and `logout`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use lbuild_tests::{
    Fault, FaultProxy, PASSWORD, Registry, RegistryOptions, Run, Running, Terminal, TokenServer, USER,
    certificates, write_program,
};
use serde_json::Value;

use super::RegistryBed;

fn login(bed: &RegistryBed, registry: &str, password: &str) -> Run {
    fs::write(bed.path("password"), format!("{password}\n")).unwrap();
    let mut command = bed.command(["login", "--username", USER, "--password-stdin", registry]);
    command.stdin(fs::File::open(bed.path("password")).unwrap());
    let output = command.output().unwrap();
    Run {
        command: "lbuild login".to_owned(),
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_registry_with_a_certificate_of_its_own_is_trusted_where_that_is_known() {
    let mut bed = RegistryBed::with_base();
    let tls = bed.path("tls");
    certificates(&tls);
    let options = RegistryOptions { tls: Some(tls.clone()), ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    // Registries on this machine may have a certificate of nobody.
    bed.push_base(&registry.name("base:1"));
    let folder = bed.path("config/containers/certs.d").join(registry.address());
    fs::create_dir_all(&folder).unwrap();
    fs::copy(tls.join("ca.crt"), folder.join("ca.crt")).unwrap();
    bed.empty_store();
    bed.lbuild(["pull", &registry.name("base:1")]).success();
    fs::write(folder.join("ca.crt"), "no certificate").unwrap();
    bed.lbuild(["pull", &registry.name("base:1")]).failure(1).says(&["ca.crt", "no certificate"]);
}

#[test]
fn a_password_is_tried_kept_used_and_forgotten() {
    let bed = RegistryBed::with_base();
    let options = RegistryOptions { password: true, ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    let name = registry.name("base:1");
    bed.lbuild(["push", "base", &name]).failure(1).says(&["refuses", "lbuild login"]);
    login(&bed, registry.address(), "wrong").failure(1);
    let file = bed.path("docker/config.json");
    assert!(!file.exists(), "a wrong password is kept");

    login(&bed, registry.address(), PASSWORD).success();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(kept["auths"][registry.address()]["auth"].is_string(), "{kept}");
    let run = bed.lbuild(["push", "base", &name]).success();
    assert!(!run.stderr.contains(PASSWORD) && !run.text().contains(PASSWORD));

    bed.lbuild(["logout", registry.address()]).success();
    bed.lbuild(["pull", &name]).failure(1).says(&["refuses"]);
    let run = bed.lbuild(["logout", registry.address()]).success();
    assert!(run.text().contains("Not logged in"), "{run}");
}

#[test]
fn a_password_is_asked_for_at_a_terminal_and_not_shown() {
    let bed = RegistryBed::with_base();
    let options = RegistryOptions { password: true, ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    let at_a_terminal = |password: &[u8]| {
        let mut login = Terminal::start(&bed.command(["login", registry.address()]));
        login.answer("Username: ", format!("{USER}\n").as_bytes()).answer("Password: ", password);
        login.end()
    };
    let (status, shown) = at_a_terminal(b"abc\x03");
    assert_eq!(status, Some(130), "Ctrl-C: {shown}");
    assert!(!bed.path("docker/config.json").exists());
    let (status, shown) = at_a_terminal(format!("{PASSWORD}\n").as_bytes());
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("Password: ") && !shown.contains(PASSWORD), "{shown}");
    bed.lbuild(["push", "base", &registry.name("base:1")]).success();
    bed.lbuild(["login", "-u", USER, registry.address()])
        .failure(2)
        .says(&["no terminal", "--password-stdin"]);
}

#[test]
fn a_credential_helper_keeps_the_password() {
    let bed = RegistryBed::with_base();
    let options = RegistryOptions { password: true, ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    let helper = bed.path("docker-credential-test");
    let script = format!(
        "#!/bin/sh\ncd {}\ncase $1 in\nstore) cat > kept ;;\nget) cat kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\nerase) rm kept ;;\nesac\n",
        bed.bed.folder().display()
    );
    write_program(&helper, script.as_bytes());
    fs::write(bed.path("docker/config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let path = format!("{}:{}", bed.bed.folder().display(), std::env::var("PATH").unwrap());
    let lbuild = |arguments: &[&str]| Run::of(bed.command(arguments).env("PATH", &path));

    let mut command = bed.command(["login", "-u", USER, "--password-stdin", registry.address()]);
    command.env("PATH", &path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(fs::read_to_string(bed.path("kept")).unwrap().contains(PASSWORD));
    assert!(!fs::read_to_string(bed.path("docker/config.json")).unwrap().contains("auth\""));
    lbuild(&["push", "base", &registry.name("base:1")]).success();
    lbuild(&["logout", registry.address()]).success();
    lbuild(&["push", "base", &registry.name("base:1")]).failure(1);
}

#[test]
fn tokens_are_fetched_for_what_is_done_and_renewed_when_they_end() {
    let mut bed = RegistryBed::with_base();
    let tokens = TokenServer::start(&bed.path("tokens"), 60);
    let options = RegistryOptions { tokens: Some(tokens.options()), ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    let proxy = FaultProxy::start(registry.address());
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"{}\",service=\"test\",scope=\"x\"\r\n", tokens.options().0);
    // The token ended between the upload's beginning and its end.
    proxy.fault("PUT", "/blobs/uploads/", 1, Fault::Answer("401 Unauthorized", challenge.clone()));
    proxy.fault("PUT", "/manifests/", 1, Fault::Answer("401 Unauthorized", challenge.clone()));
    bed.lbuild(["push", "base", &proxy.name("team/base:1")]).success();
    assert_eq!(proxy.faults_left(), 0);
    let requests = tokens.requests();
    assert!(requests.iter().any(|request| request.contains("scope=repository:team/base:pull%2Cpush")));

    bed.empty_store();
    proxy.fault("GET", "/blobs/", 1, Fault::Answer("401 Unauthorized", challenge));
    bed.lbuild(["pull", &proxy.name("team/base:1")]).success();
    assert_eq!(proxy.faults_left(), 0);
}

#[test]
fn identity_tokens_go_to_the_token_server_alone() {
    let bed = RegistryBed::with_base();
    let tokens = TokenServer::start(&bed.path("tokens"), 60);
    let options = RegistryOptions { tokens: Some(tokens.options()), ..RegistryOptions::default() };
    let registry = Registry::start_with(&bed.path("registry"), &options);
    let proxy = FaultProxy::start(registry.address());
    let config = format!(r#"{{"auths":{{"{}":{{"identitytoken":"secret-identity"}}}}}}"#, proxy.address());
    fs::write(bed.path("docker/config.json"), config).unwrap();
    bed.lbuild(["push", "base", &proxy.name("base:1")]).success();
    assert!(tokens.requests().iter().all(|request| request.contains("refresh_token=secret-identity")));
    let seen = format!("{:?}", proxy.seen());
    assert!(!seen.contains("secret-identity"), "{seen}");
}

#[test]
fn credentials_go_to_no_place_that_is_not_safe() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    for realm in ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "https://user@host/"] {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n");
        proxy.heal();
        proxy.fault("GET", "/v2/", 1, Fault::Answer("401 Unauthorized", challenge));
        let running = Running::start(&mut bed.command(["pull", &proxy.name("base:1")]));
        running.end().failure(1).says(&["refused"]);
    }
}

//! Repositories as contexts and sources of ADD.
//!
//! CVE-2026-33748, CVE-2026-44517: the subdirectory of a repository was a symbolic link, and the context was
//! a folder of the host. CVE-2019-13139: a reference such as `--upload-pack=…` was an option of git, and ran
//! a command. CVE-2022-39253: a submodule by a path took files of the host. CVE-2025-48384: a carriage
//! return at the end of a submodule's path led its files elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lbuild_tests::{GitServer, commit};

use crate::row::Mode;
use crate::scene::Scene;

/// A folder for repositories, served; `make` fills the repository `r`.
fn serve(scene: &Scene, make: impl FnOnce(&Path)) -> GitServer {
    let repositories = scene.folder().join("repositories");
    let repository = repositories.join("r");
    fs::create_dir_all(&repository).unwrap();
    fs::write(repository.join("Dockerfile"), "FROM base\nCOPY . /copied/\nRUN cat /copied/*; true\n")
        .unwrap();
    make(&repository);
    commit(&repository);
    GitServer::start(&repositories)
}

/// Takes the repository as the context and by ADD.
fn take(scene: &Scene, reference: &str) {
    let name = scene.name();
    let run = scene.lbuild(["build", "--progress", "plain", "--no-cache", "-t", &name, reference]);
    assert!(run.status.code().is_some_and(|code| code < 100) && !run.stderr.contains("panicked"), "{run}");
    scene.unseen(run);
    let named = format!("given={reference}");
    scene.dockerfile("FROM base\nCOPY --from=given / /copied/\nRUN cat /copied/* /copied/*/*; true\n");
    scene.tried(&["--no-cache", "--build-context", &named]);
    if !reference.contains([' ', '\n', '\r']) {
        scene.dockerfile(&format!("FROM base\nADD {reference} /added/\nRUN cat /added/* /added/*/*; true\n"));
        scene.tried(&["--no-cache"]);
    }
    scene.assert_untouched();
}

pub fn a_subdirectory_that_leads_out(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside().to_owned();
    let server = serve(&scene, |repository| {
        symlink(&outside, repository.join("link")).unwrap();
        symlink("../../../../../outside", repository.join("up")).unwrap();
        fs::create_dir(repository.join("sub")).unwrap();
        fs::write(repository.join("sub/f"), "x").unwrap();
        symlink(outside.join("folder"), repository.join("sub/deep")).unwrap();
    });
    let folder = outside.display();
    for subdirectory in [
        "link",
        "up",
        "sub/deep",
        "link/folder",
        "..",
        "../..",
        "sub/../..",
        ".git",
        "sub/../.git",
        "/",
        "link/.",
    ] {
        take(&scene, &format!("{}#main:{subdirectory}", server.url("r")));
        take(&scene, &format!("{}?subdir={subdirectory}", server.url("r")));
    }
    take(&scene, &format!("{}#main:{folder}", server.url("r")));
}

pub fn links_in_a_repository(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside().to_owned();
    let server = serve(&scene, |repository| {
        for file in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore", "passwd"] {
            let _ = fs::remove_file(repository.join(file));
            symlink(outside.join(if file == "Dockerfile" { file } else { "victim" }), repository.join(file))
                .unwrap();
        }
    });
    take(&scene, &server.url("r"));
    let run = scene.lbuild(["build", "-f", "passwd", &server.url("r")]);
    assert!(!run.status.success(), "{run}");
    scene.unseen(run);
}

pub fn references_that_are_options(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let made = scene.outside().join("made");
    let server = serve(&scene, |_| {});
    let command = format!("touch {}", made.display());
    for reference in [
        format!("--upload-pack={command}"),
        format!("--upload-pack={command};"),
        format!("-u{command}"),
        format!("--exec={command}"),
        format!("--output={}", made.display()),
        format!("-c core.sshCommand={command}"),
        format!("--config=core.fsmonitor={command}"),
        format!("--template={}", scene.outside_text()),
        "--help".to_owned(),
        "main --upload-pack=x".to_owned(),
        "+refs/heads/*:refs/heads/*".to_owned(),
        "refs/heads/main:refs/heads/other".to_owned(),
        "../../../config".to_owned(),
        "main^{/x}".to_owned(),
        "main@{upstream}".to_owned(),
        "-".to_owned(),
        "--".to_owned(),
        "\u{0}".to_owned(),
    ] {
        if !reference.contains('\0') {
            take(&scene, &format!("{}#{reference}", server.url("r")));
            take(&scene, &format!("{}?ref={reference}", server.url("r")));
        }
    }
}

pub fn urls_that_are_options_or_commands(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let command = format!("touch {}/made", scene.outside_text());
    for url in [
        format!("ext::sh -c '{command}'.git"),
        format!("git://-oProxyCommand={command}/r.git"),
        format!("ssh://-oProxyCommand={command}/r.git"),
        format!("git@-oProxyCommand={command}:r.git"),
        format!("ssh://git@127.0.0.1:-oProxyCommand={command}/r.git"),
        format!("ssh://127.0.0.1:1/$({command}).git"),
        format!("git@127.0.0.1:`{command}`.git"),
        format!("file://{}/.git", scene.outside_text()),
        format!("git+file://{}", scene.outside_text()),
        format!("--upload-pack={command}.git"),
        "git::https://127.0.0.1:1/r.git".to_owned(),
        "fd::17/x.git".to_owned(),
    ] {
        let run = scene.lbuild(["build", "--progress", "plain", "--", &url]);
        assert!(run.status.code().is_some_and(|code| (1..100).contains(&code)), "{url} was taken: {run}");
        scene.unseen(run);
        for word in [url.clone(), format!("--keep-git-dir {url}")] {
            scene.dockerfile(&format!("FROM base\nADD {word} /added/\n"));
            scene.tried(&[]);
        }
        scene.assert_untouched();
    }
}

pub fn submodules_that_lead_out(mode: Mode) {
    for (url, path) in [
        ("file:///PRIVATE", "sub"),
        ("/PRIVATE", "sub"),
        ("../../private", "sub"),
        ("./../private", "sub"),
        ("ext::sh -c 'touch OUT/made'", "sub"),
        ("--upload-pack=touch OUT/made", "sub"),
        ("-u./made", "sub"),
        ("git://127.0.0.1:1/x", "../outside"),
        ("git://127.0.0.1:1/x", "sub\r"),
        ("git://127.0.0.1:1/x", ".git/hooks"),
        ("git://127.0.0.1:1/x", "link/hooks"),
    ] {
        let scene = Scene::with_base(mode, "");
        let outside = scene.outside().to_owned();
        let private = private(&scene);
        let replace = |text: &str| {
            text.replace("/PRIVATE", private.to_str().unwrap()).replace("OUT", outside.to_str().unwrap())
        };
        let server = serve(&scene, |repository| {
            let (url, path) = (replace(url), path.replace('\r', "\\r"));
            let modules = format!(
                "[submodule \"x\"]\n\tpath = \"{path}\"\n\turl = \"{url}\"\n\tupdate = !touch {}/made\n",
                outside.display()
            );
            fs::write(repository.join(".gitmodules"), modules.replace("\\r", "\r")).unwrap();
            symlink(&outside, repository.join("link")).unwrap();
            lbuild_tests::add_gitlink(repository, "sub", &commit(&private));
        });
        take(&scene, &server.url("r"));
    }
}

/// A repository of this machine, which nobody serves; what it holds is the sentinel.
fn private(scene: &Scene) -> PathBuf {
    let private = scene.outside().parent().unwrap().join("private");
    fs::create_dir_all(&private).unwrap();
    fs::write(private.join("readme"), "of this machine\n").unwrap();
    commit(&private);
    private
}

/// What a fetched repository brings along is never run.
pub fn hooks_and_settings_in_a_repository(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let command = format!("touch {}/made", scene.outside_text());
    let server = serve(&scene, |repository| {
        fs::write(repository.join(".gitattributes"), "* filter=evil diff=evil merge=evil text\n").unwrap();
        for folder in ["hooks", "nested.git", "nested.git/hooks"] {
            fs::create_dir(repository.join(folder)).unwrap();
        }
        fs::write(repository.join("nested.git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let config = format!(
            "[core]\n\tfsmonitor = {command}\n\tsshCommand = {command}\n\thooksPath = hooks\n[filter \"evil\"]\n\tsmudge = {command}\n"
        );
        for file in [".gitconfig", "nested.git/config", "config"] {
            fs::write(repository.join(file), &config).unwrap();
        }
        for hook in ["post-checkout", "post-merge", "reference-transaction"] {
            fs::write(repository.join("hooks").join(hook), format!("#!/bin/sh\n{command}\n")).unwrap();
        }
    });
    take(&scene, &server.url("r"));
    // Nor is the caller's environment an option for it.
    let reference = server.url("r");
    let mut build = scene.command(["build", "--no-cache", &reference]);
    build.env("GIT_SSH_COMMAND", &command).env("GIT_EXTERNAL_DIFF", &command).env("GIT_CONFIG_COUNT", "1");
    build.env("GIT_CONFIG_KEY_0", "core.fsmonitor").env("GIT_CONFIG_VALUE_0", &command);
    scene.unseen(lbuild_tests::Run::of(&mut build));
    // Variables of the Dockerfile reach no program of lbuild's own.
    scene.dockerfile(&format!(
        "FROM base\nENV GIT_SSH_COMMAND=\"{command}\" GIT_PROXY_COMMAND=\"{command}\" LD_PRELOAD=/x BASH_ENV=/x PATH=/d\n\
         ARG GIT_TRACE={}/made\nADD {reference} /added/\n",
        scene.outside_text()
    ));
    scene.build(["--no-cache", "--build-arg", &format!("GIT_EXEC_PATH={}", scene.outside_text())]).success();
}

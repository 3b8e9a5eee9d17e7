use lbuild_oci::{Digest, Platform};
use lbuild_parser::{Instruction, Span};

use super::*;
use crate::testing::Bed;

/// A build of one RUN with these options, and the secret `token` and the agent `default`.
fn bed(options: &str) -> Bed {
    let mut bed = Bed::new(&format!("FROM scratch\nWORKDIR /w\nRUN {options} true\n"));
    std::fs::write(bed.path("token"), "hush").unwrap();
    bed.request.secrets.insert("token".into(), Secret::File(bed.path("token")));
    bed.request.ssh.insert("default".into(), bed.path("agent"));
    bed
}

/// The mounts of the RUN; FILE stands for the layer of a stage.
fn resolved(bed: &Bed) -> Result<Vec<ResolvedMount>, String> {
    bed.with_solver(|solver| {
        let Instruction::Run(run) = &solver.build.dockerfile.stages[0].steps[1].instruction else {
            panic!("no RUN")
        };
        let mut state = StageState::scratch(&Platform::host());
        state.image.config.working_dir = "/w".into();
        state.environment.set("NAME", "value");
        let files = Files { origin: Origin::Empty, layers: Some(Vec::new()) };
        let files = vec![files; run.mounts.len()];
        resolve(solver, &state, &run.mounts, files).map_err(|problem| match problem.at(Span::default()) {
            BuildError::Step { diagnostic, .. } => diagnostic.message,
            other => panic!("{other:?}"),
        })
    })
}

fn one(options: &str) -> ResolvedMount {
    let mut mounts = resolved(&bed(options)).unwrap_or_else(|error| panic!("{options}: {error}"));
    assert_eq!(mounts.len(), 1, "{options}");
    mounts.remove(0)
}

fn target(mount: &ResolvedMount) -> Option<&str> {
    let path = match mount {
        ResolvedMount::Bind { target, .. }
        | ResolvedMount::Tmpfs { target, .. }
        | ResolvedMount::Ssh { target, .. } => Some(target),
        ResolvedMount::Cache(cache) => Some(&cache.target),
        ResolvedMount::Secret(secret) => secret.target.as_ref(),
    };
    path.map(|path| path.to_str().unwrap())
}

#[test]
fn targets_are_absolute_and_have_the_types_default() {
    for (options, expected) in [
        ("--mount=target=/a", Some("/a")),
        ("--mount=target=a/../b", Some("/w/b")),
        ("--mount=target=$NAME", Some("/w/value")),
        ("--mount=type=cache,target=c", Some("/w/c")),
        ("--mount=type=tmpfs,target=/t", Some("/t")),
        ("--mount=type=secret,id=token", Some("/run/secrets/token")),
        ("--mount=type=secret,id=token,target=s", Some("/w/s")),
        ("--mount=type=secret,id=token,env=T", None),
        ("--mount=type=secret,id=token,env=T,target=/s", Some("/s")),
        ("--mount=type=ssh", Some("/run/buildkit/ssh_agent.0")),
        ("--mount=type=ssh,target=/agent", Some("/agent")),
    ] {
        assert_eq!(target(&one(options)), expected, "{options}");
    }
}

#[test]
fn the_root_is_no_target() {
    for options in ["--mount=target=/", "--mount=type=tmpfs,target=/a/..", "--mount=type=cache,target=/"] {
        let error = resolved(&bed(options)).unwrap_err();
        assert!(error.starts_with("invalid mount target"), "{options}: {error}");
    }
}

#[test]
fn only_binds_are_read_only_unless_it_is_asked_for() {
    for (options, expected) in [
        ("--mount=target=/a", true),
        ("--mount=target=/a,rw", false),
        ("--mount=type=cache,target=/a", false),
        ("--mount=type=cache,target=/a,ro", true),
        ("--mount=type=tmpfs,target=/a", false),
        ("--mount=type=tmpfs,target=/a,ro", true),
    ] {
        let read_only = match one(options) {
            ResolvedMount::Bind { read_only, .. } | ResolvedMount::Tmpfs { read_only, .. } => read_only,
            ResolvedMount::Cache(cache) => cache.read_only,
            other => panic!("{options}: {other:?}"),
        };
        assert_eq!(read_only, expected, "{options}");
    }
}

#[test]
fn a_secrets_id_is_the_id_the_source_or_the_targets_last_name() {
    for (options, variable) in [
        ("--mount=type=secret,id=token", None),
        ("--mount=type=secret,source=token", None),
        ("--mount=type=secret,target=/x/token", None),
        ("--mount=type=secret,id=token,env=T", Some("T")),
        ("--mount=type=secret,id=token,env=", Some("token")),
    ] {
        let ResolvedMount::Secret(secret) = one(options) else { panic!("{options}") };
        assert_eq!(
            (secret.id.as_str(), secret.content.as_slice()),
            ("token", b"hush".as_slice()),
            "{options}"
        );
        assert_eq!(secret.variable.as_deref(), variable, "{options}");
        assert_eq!((secret.mode, secret.uid, secret.gid), (0o400, 0, 0), "{options}");
    }
}

#[test]
fn what_is_not_given_is_left_out_unless_it_is_required() {
    for (options, error) in [
        ("--mount=type=secret,id=other", None),
        ("--mount=type=secret,id=other,required", Some("secret \"other\" is required and was not given")),
        (
            "--mount=type=ssh,id=other,required=true",
            Some("SSH agent \"other\" is required and was not given"),
        ),
    ] {
        match (resolved(&bed(options)), error) {
            (Ok(mounts), None) => assert_eq!(mounts, [], "{options}"),
            (Err(found), Some(error)) => assert_eq!(found, error, "{options}"),
            (other, _) => panic!("{options}: {other:?}"),
        }
    }
}

#[test]
fn the_place_of_an_agent_that_is_not_given_is_empty() {
    assert!(matches!(one("--mount=type=ssh,id=other"), ResolvedMount::Ssh { socket: None, .. }));
    assert!(matches!(one("--mount=type=ssh"), ResolvedMount::Ssh { socket: Some(_), .. }));
}

#[test]
fn agents_are_counted() {
    let bed = bed("--mount=type=ssh --mount=type=ssh,id=default");
    let targets: Vec<_> =
        resolved(&bed).unwrap().iter().map(|mount| target(mount).unwrap().to_owned()).collect();
    assert_eq!(targets, ["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]);
}

#[test]
fn a_secret_that_is_too_large_or_gone_is_told() {
    let large = bed("--mount=type=secret,id=token");
    std::fs::write(large.path("token"), vec![0; MAX_SECRET as usize + 1]).unwrap();
    assert_eq!(resolved(&large).unwrap_err(), "secret \"token\" is larger than 500 KiB");
    let gone = bed("--mount=type=secret,id=token");
    std::fs::remove_file(gone.path("token")).unwrap();
    assert!(resolved(&gone).unwrap_err().starts_with("secret \"token\": cannot read "));
}

#[test]
fn a_secret_is_in_no_key_and_no_message() {
    let secret = one("--mount=type=secret,id=token,env=T");
    for text in [secret.key().to_string(), format!("{secret:?}")] {
        assert!(text.contains("token") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn caches_differ_by_id_owner_mode_and_first_content() {
    let directory = |options: &str| match one(options) {
        ResolvedMount::Cache(cache) => cache.directory,
        other => panic!("{options}: {other:?}"),
    };
    let first = directory("--mount=type=cache,target=/c");
    assert_eq!(first, "/c", "a cache is listed and exported by its id");
    assert_ne!(directory("--mount=type=cache,target=/c,id={}"), "{}");
    for (options, is_same) in [
        ("--mount=type=cache,target=/c", true),
        ("--mount=type=cache,target=/other,id=/c", true),
        ("--mount=type=cache,target=/c,sharing=locked", true),
        ("--mount=type=cache,target=/c,id=other", false),
        ("--mount=type=cache,target=/c,uid=5", false),
        ("--mount=type=cache,target=/c,mode=0700", false),
    ] {
        assert_eq!(directory(options) == first, is_same, "{options}");
    }
    let bed = bed("--mount=type=cache,target=/c");
    let mount = bed.with_solver(|solver| match &solver.build.dockerfile.stages[0].steps[1].instruction {
        Instruction::Run(run) => run.mounts[0].clone(),
        other => panic!("{other:?}"),
    });
    let content = |layer: &str, mount: &Mount| {
        let layers = Some(vec![DiffId(Digest::of(layer))]);
        cache_directory("/c", mount, &Files { origin: Origin::Stage(0), layers })
    };
    assert_ne!(content("a", &mount), content("b", &mount));
    let part = Mount { source: Some("/s".to_owned()), ..mount.clone() };
    assert_ne!(content("a", &mount), content("a", &part));
}

#[test]
fn a_cache_without_an_id_has_its_target_as_it_is_written() {
    for (target, expected) in [
        ("/c", "/c"),
        ("/c/", "/c"),
        ("/a/../c", "/c"),
        ("c", "c"),
        ("./c/", "c"),
        ("$NAME", "value"),
        (".", "."),
    ] {
        let options = format!("--mount=type=cache,target={target}");
        let ResolvedMount::Cache(cache) = one(&options) else { panic!("{options}") };
        assert_eq!(cache.id, expected, "{target}");
    }
}

#[test]
fn a_cache_with_an_owner_or_a_mode_begins_as_an_empty_directory() {
    let empty = |mode, uid, gid| Some(EmptyCache { mode, uid, gid });
    for (options, expected) in [
        ("", None),
        (",mode=0700", empty(0o700, 0, 0)),
        (",mode=1777", empty(0o755, 0, 0)),
        (",mode=0773", empty(0o751, 0, 0)),
        (",uid=5", empty(0o755, 5, 0)),
        (",gid=6", empty(0o755, 0, 6)),
    ] {
        let options = format!("--mount=type=cache,target=/c{options}");
        let ResolvedMount::Cache(cache) = one(&options) else { panic!("{options}") };
        assert_eq!(cache.empty, expected, "{options}");
    }
}

#[test]
fn a_cache_of_nothing_has_no_source() {
    let error = resolved(&bed("--mount=type=cache,target=/c,source=s")).unwrap_err();
    assert_eq!(error, "cannot mount \"/s\": a cache without from= begins empty");
    assert!(resolved(&bed("--mount=type=cache,target=/c,source=s/..")).is_ok());
}

#[test]
fn sources_are_cleaned_as_text() {
    for (source, expected) in [("s", "/s"), ("/nope/../s/.", "/s"), ("../s", "/s"), (".", "/"), ("", "/")] {
        let options = format!("--mount=target=/a,source={source}");
        let ResolvedMount::Bind { source, .. } = one(&options) else { panic!("{options}") };
        assert_eq!(source, expected, "{options}");
    }
}

#[test]
fn the_variable_of_a_secret_that_is_not_given_is_empty() {
    let ResolvedMount::Secret(secret) = one("--mount=type=secret,id=other,env=T,target=/t") else { panic!() };
    assert_eq!((secret.variable.as_deref(), secret.content.as_slice()), (Some("T"), b"".as_slice()));
    assert_eq!(secret.target, None);
}

#[test]
fn a_namespace_keeps_caches_apart() {
    let mut bed = bed("--mount=type=cache,target=/c");
    let id = |bed: &Bed| match resolved(bed).as_deref() {
        Ok([ResolvedMount::Cache(cache)]) => cache.id.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(id(&bed), "/c");
    bed.request.build_args.insert(CACHE_NAMESPACE_ARGUMENT.into(), "mine".into());
    assert_eq!(id(&bed), "mine//c");
}

#[test]
fn what_the_command_can_see_is_in_the_key() {
    for (options, other) in [
        ("--mount=target=/a", "--mount=target=/b"),
        ("--mount=target=/a", "--mount=target=/a,source=x"),
        ("--mount=target=/a", "--mount=target=/a,rw"),
        ("--mount=type=tmpfs,target=/a", "--mount=type=tmpfs,target=/a,size=1m"),
        ("--mount=type=tmpfs,target=/a", "--mount=type=tmpfs,target=/a,ro"),
        ("--mount=type=cache,target=/a", "--mount=type=cache,target=/a,id=b"),
        ("--mount=type=secret,id=token", "--mount=type=secret,id=token,target=/s"),
        ("--mount=type=ssh", "--mount=type=ssh,target=/s"),
    ] {
        assert_ne!(one(options).key(), one(other).key(), "{options} {other}");
    }
}

//! What instructions become.

#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use lbuild_parser::{
    CommandLine, Device, Healthcheck, Instruction, Network, Script, Security, Source, Step, parse,
    parse_onbuild,
};

/// The steps of a stage with these lines.
fn steps(lines: &str) -> Vec<Step> {
    let source = format!("FROM scratch\n{lines}\n");
    let mut dockerfile = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{lines}: {errors:?}"));
    dockerfile.stages.remove(0).steps
}

fn instruction(line: &str) -> Instruction {
    steps(line).remove(0).instruction
}

fn shell(text: &str) -> CommandLine {
    CommandLine::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> CommandLine {
    CommandLine::Exec(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn stages_have_names_bases_and_platforms() {
    let source = "# the base\nARG a=1 b\nfrom --platform=$P x:${a} As Build.1\nRUN x\nFROM BUILD.1\n";
    let dockerfile = parse(source.as_bytes()).unwrap();
    let args: Vec<_> =
        dockerfile.global_args.iter().map(|(arg, _)| (&*arg.name, arg.default.as_deref())).collect();
    assert_eq!(args, [("a", Some("1")), ("b", None)]);
    let [first, second] = &dockerfile.stages[..] else { panic!() };
    assert_eq!((first.name.as_deref(), first.base.as_str()), (Some("build.1"), "x:${a}"));
    assert_eq!(first.platform.as_deref(), Some("$P"));
    assert_eq!(&source[first.base_span.range()], "x:${a}");
    assert_eq!(first.text, "from --platform=$P x:${a} As Build.1");
    assert_eq!((first.steps.len(), second.steps.len(), second.name.as_deref()), (1, 0, None));
}

#[test]
fn comments_describe_stages_and_arguments() {
    let source = "# foo sets foo\nARG foo=1\n# base is first\nFROM x AS Base\n# bar is bar\n# baz is baz\nARG bar baz=1\n# other\nARG x\n";
    let dockerfile = parse(source.as_bytes()).unwrap();
    assert_eq!(dockerfile.global_args[0].0.description.as_deref(), Some("sets foo"));
    assert_eq!(dockerfile.stages[0].description.as_deref(), Some("is first"));
    let Instruction::Arg(args) = &dockerfile.stages[0].steps[0].instruction else { panic!() };
    assert_eq!(args[0].description.as_deref(), Some("is bar"));
    assert_eq!(args[1].description.as_deref(), Some("is baz"));
    let Instruction::Arg(args) = &dockerfile.stages[0].steps[1].instruction else { panic!() };
    assert_eq!(args[0].description, None);
}

#[test]
fn commands_are_shell_or_exec_forms() {
    for (line, expected) in [
        ("CMD a  b", shell("a  b")),
        ("CMD [\"a\", \"b c\"]", exec(&["a", "b c"])),
        ("CMD", shell("")),
        ("CMD []", exec(&[])),
        ("CMD [a]", shell("[a]")),
    ] {
        assert_eq!(instruction(line), Instruction::Cmd(expected.clone()), "{line}");
        let entrypoint = line.replace("CMD", "ENTRYPOINT");
        assert_eq!(instruction(&entrypoint), Instruction::Entrypoint(expected), "{entrypoint}");
    }
    assert_eq!(instruction("SHELL [\"a\", \"-c\"]"), Instruction::Shell(vec!["a".into(), "-c".into()]));
}

#[test]
fn simple_instructions_keep_their_words() {
    let text = |text: &str| text.to_owned();
    for (line, expected) in [
        ("MAINTAINER me <me@x>", Instruction::Maintainer(text("me <me@x>"))),
        ("STOPSIGNAL --x SIGTERM", Instruction::Stopsignal(text("SIGTERM"))),
        ("USER $U:$G", Instruction::User(text("$U:$G"))),
        ("WORKDIR \"a b\"", Instruction::Workdir(text("\"a b\""))),
        ("VOLUME /a  /b", Instruction::Volume(vec![text("/a"), text("/b")])),
        ("VOLUME [\" /a b \"]", Instruction::Volume(vec![text("/a b")])),
        ("EXPOSE 80 443/tcp 8080", Instruction::Expose(vec![text("443/tcp"), text("80"), text("8080")])),
    ] {
        assert_eq!(instruction(line), expected, "{line}");
    }
}

#[test]
fn pairs_keep_quotes_and_places() {
    let source = "FROM x\nENV a=\"b c\" d=$e\nLABEL f g h\n";
    let dockerfile = parse(source.as_bytes()).unwrap();
    let pairs: Vec<_> = dockerfile.stages[0]
        .steps
        .iter()
        .flat_map(|step| match &step.instruction {
            Instruction::Env(pairs) | Instruction::Label(pairs) => pairs.clone(),
            _ => Vec::new(),
        })
        .collect();
    let found: Vec<_> = pairs
        .iter()
        .map(|pair| (&*pair.name, &*pair.value, pair.legacy, &source[pair.span.range()]))
        .collect();
    assert_eq!(
        found,
        [("a", "\"b c\"", false, "a=\"b c\""), ("d", "$e", false, "d=$e"), ("f", "g h", true, "f g h"),]
    );
}

#[test]
fn healthchecks_have_options() {
    let line =
        "HEALTHCHECK --interval=1m --timeout=2s --start-period=3ms --start-interval=0s --retries=4 cmd a b";
    assert_eq!(
        instruction(line),
        Instruction::Healthcheck(Healthcheck::Check {
            command: shell("a b"),
            interval: Some(60_000_000_000),
            timeout: Some(2_000_000_000),
            start_period: Some(3_000_000),
            start_interval: None,
            retries: Some(4),
        })
    );
    assert_eq!(instruction("HEALTHCHECK none"), Instruction::Healthcheck(Healthcheck::None));
    let Instruction::Healthcheck(Healthcheck::Check { command, retries, .. }) =
        instruction("HEALTHCHECK --retries=0 CMD [\"a\"]")
    else {
        panic!()
    };
    assert_eq!((command, retries), (exec(&["a"]), None));
}

#[test]
fn copies_have_flags_and_sources() {
    let line = "COPY --from=b --chown=1:2 --chmod=u+x --link --parents=TRUE --exclude=a --exclude=b $x y /z";
    let Instruction::Copy(copy) = instruction(line) else { panic!() };
    assert_eq!(copy.from.map(|(from, _)| from).as_deref(), Some("b"));
    assert_eq!((copy.chown.as_deref(), copy.chmod.as_deref()), (Some("1:2"), Some("u+x")));
    assert_eq!((copy.link, copy.parents, copy.exclude), (true, true, vec!["a".into(), "b".into()]));
    let paths: Vec<_> = copy
        .sources
        .iter()
        .map(|source| matches!(source, Source::Path(path, _) if path.len() <= 2))
        .collect();
    assert_eq!((paths, copy.destination.as_str()), (vec![true, true], "/z"));

    let Instruction::Add(add) =
        instruction("ADD --checksum=sha256:x --keep-git-dir --unpack=false --link=false [\"a b\", \"/\"]")
    else {
        panic!()
    };
    assert_eq!(
        (add.checksum.as_deref(), add.keep_git_dir, add.unpack, add.link),
        (Some("sha256:x"), Some(true), Some(false), false)
    );
    let Source::Path(path, span) = &add.sources[0] else { panic!() };
    assert_eq!((path.as_str(), span.end - span.start), ("a b", 3));

    let Instruction::Copy(copy) = instruction("COPY --from= --chown= a b") else { panic!() };
    assert_eq!((copy.from, copy.chown), (None, None));
}

#[test]
fn copies_take_heredocs() {
    let Instruction::Copy(copy) = instruction("COPY a <<-\"b\" <<c /d/\n\tx\n\tb\ny\nc") else { panic!() };
    let [Source::Path(..), Source::Heredoc(b), Source::Heredoc(c)] = &copy.sources[..] else { panic!() };
    assert_eq!((b.name.as_str(), b.expand, b.content.as_str(), b.raw.as_str()), ("b", false, "x\n", "\tx\n"));
    assert_eq!((c.name.as_str(), c.expand, c.content.as_str()), ("c", true, "y\n"));

    let Instruction::Copy(twice) = instruction("COPY <<a <<a /d/\n1\na\n2\na") else { panic!() };
    let bodies: Vec<_> = twice
        .sources
        .iter()
        .map(|source| match source {
            Source::Heredoc(heredoc) => heredoc.content.as_str(),
            Source::Path(..) => "",
        })
        .collect();
    assert_eq!(bodies, ["2\n", "2\n"], "the last of a name counts");
}

#[test]
fn runs_have_flags() {
    let line = "RUN --mount=type=cache,\\\ntarget=/c --mount=type=ssh --network=none --security=insecure --device=v.com/c=n,required x";
    let Instruction::Run(run) = instruction(line) else { panic!() };
    assert_eq!((run.network, run.security), (Some(Network::None), Some(Security::Insecure)));
    assert_eq!((run.mounts.len(), run.mounts[0].spec.as_str()), (2, "type=cache,target=/c"));
    let [Device { name, required: true, .. }] = &run.devices[..] else { panic!("{:?}", run.devices) };
    assert_eq!(name, "v.com/c=n");
    assert_eq!(run.command, shell("x"));
    let Instruction::Run(run) = instruction("RUN --device=name=x,required=false -- --y") else { panic!() };
    assert_eq!((run.command.clone(), run.devices[0].required), (shell("--y"), false));
}

#[test]
fn scripts_hold_their_heredocs() {
    for (lines, script, summary) in [
        ("RUN a && \\\n  b", Script::Shell("a &&   b".to_owned()), None),
        ("RUN [\"a\"]", Script::Exec(vec!["a".to_owned()]), None),
        ("RUN <<E\na\nb\nE", Script::Shell("a\nb\n".to_owned()), Some("a...")),
        ("RUN <<-E\n\ta\n\tE", Script::Shell("a\n".to_owned()), Some("a")),
        (
            "RUN <<E\n#!/bin/x\r\ny\nE",
            Script::File { name: "E".to_owned(), content: "#!/bin/x\r\ny\n".to_owned() },
            Some("#!/bin/x..."),
        ),
        (
            "RUN cat <<-E 3<<'F' | x\n\ta\n\tE\nb\nF",
            Script::Shell("cat <<-E 3<<'F' | x\n\ta\nE\nb\nF".to_owned()),
            None,
        ),
    ] {
        let Instruction::Run(run) = instruction(lines) else { panic!() };
        assert_eq!(run.script(), script, "{lines}");
        assert_eq!(run.summary().as_deref(), summary, "{lines}");
    }
}

#[test]
fn a_steps_text_is_its_line() {
    for (lines, text) in [
        ("run  a \\\n  b", "run  a   b"),
        ("RUN --mount=type=tmpfs,target=\"/a b\" x", "RUN --mount=type=tmpfs,target=\"/a b\" x"),
        ("RUN <<E cat\nx\nE", "RUN <<E cat"),
        ("\\\n  COPY a\\\n# c\n b\\\n", "COPY a b"),
    ] {
        assert_eq!(steps(lines)[0].text, text, "{lines}");
    }
}

#[test]
fn triggers_keep_their_text() {
    for (lines, text) in [
        ("ONBUILD  RUN a \\\n b", "RUN a  b"),
        ("onbuild copy <<-E <<F /\n\ta\n\tE\nb\nF", "copy <<-E <<F /\n\ta\nE\nb\nF"),
        ("ONBUILD whatever x", "whatever x"),
    ] {
        let Instruction::Onbuild(onbuild) = instruction(lines) else { panic!() };
        assert_eq!(onbuild.text, text, "{lines}");
    }
}

#[test]
fn triggers_are_read_again() {
    let step = parse_onbuild("copy <<-E /x\n\ta\nE", '\\').unwrap();
    let Instruction::Copy(copy) = &step.instruction else { panic!() };
    let Source::Heredoc(heredoc) = &copy.sources[0] else { panic!() };
    assert_eq!((heredoc.content.as_str(), step.text.as_str()), ("a\n", "copy <<-E /x"));
    for (trigger, message) in [
        ("", "onbuild trigger should be a single expression"),
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("whatever x", "unknown instruction: whatever"),
        ("FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ENV x", "ENV must have two arguments"),
    ] {
        assert_eq!(parse_onbuild(trigger, '\\').unwrap_err()[0].message, message, "{trigger}");
    }
}

#[test]
fn bytes_may_be_anything_in_comments_alone() {
    let source = b"\xef\xbb\xbf# J\xf6rg\r\nFROM x\r\nRUN <<E\r\na\r\nE\r\n";
    let dockerfile = parse(source).unwrap();
    let Instruction::Run(run) = &dockerfile.stages[0].steps[0].instruction else { panic!() };
    assert_eq!(run.heredocs[0].content, "a\r\n");
    let errors = parse(b"# \xff\nFROM x\nRUN \xfe a \xff\nRUN b\nRUN \xff").unwrap_err();
    let source = lbuild_parser::text(b"# \xff\nFROM x\nRUN \xfe a \xff\nRUN b\nRUN \xff");
    let places: Vec<_> = errors.iter().map(|error| error.span.unwrap()).collect();
    assert_eq!(places.iter().map(|span| span.line(&source)).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(&source[places[0].range()], "\u{fffd}");
    assert_eq!(errors[0].message, "the instruction is not valid UTF-8");
}

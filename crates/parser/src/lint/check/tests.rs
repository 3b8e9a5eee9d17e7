//! Cases of rules that need facts.

use super::super::facts::BaseImage;
use super::*;

/// A build for linux/arm64 with one known image.
struct Build {
    args: &'static [(&'static str, &'static str)],
    ignored: &'static [&'static str],
    built: Option<usize>,
}

const BUILD: Build = Build { args: &[], ignored: &[], built: None };

fn platform(text: &str) -> Option<Platform> {
    let (os, architecture) = text.split_once('/')?;
    Some(Platform { os: os.to_owned(), architecture: architecture.to_owned(), text: text.to_owned() })
}

impl Facts for Build {
    fn build_args(&self) -> BTreeMap<String, String> {
        self.args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn platform_args(&self) -> Vec<(String, String)> {
        let both = ["BUILDPLATFORM", "TARGETPLATFORM"];
        both.map(|name| (name.to_owned(), "linux/arm64".to_owned())).to_vec()
    }

    fn is_built(&self, stage: usize) -> bool {
        self.built.is_none_or(|built| built == stage)
    }

    fn base_image(&self, _: usize, name: &str) -> Option<BaseImage> {
        (name == "base").then(|| BaseImage {
            env: vec![("FROM_IMAGE".to_owned(), "1".to_owned())],
            has_shell: true,
            onbuild: vec!["ENV password=x".to_owned(), "ONBUILD".to_owned()],
            platform: platform("linux/amd64"),
        })
    }

    fn platform(&self, text: Option<&str>) -> Option<Platform> {
        platform(text.unwrap_or("linux/arm64"))
    }

    fn is_image_name(&self, name: &str) -> bool {
        !name.contains(' ')
    }

    fn is_ignored(&self, path: &str) -> bool {
        self.ignored.contains(&path)
    }
}

/// `RULE LINE:TEXT message` of each finding.
fn found(source: &str, build: &Build) -> Vec<String> {
    let dockerfile = crate::parse(source.as_bytes()).unwrap();
    let show = |finding: Diagnostic| {
        let span = finding.span.unwrap();
        let text = source[span.range()].lines().next().unwrap_or_default();
        format!("{} {}:`{text}` {}", finding.rule.unwrap(), span.line(source), finding.message)
    };
    check(&dockerfile, source, build).into_iter().map(show).collect()
}

#[test]
fn undefined_variables_are_found() {
    for (steps, expected) in [
        ("COPY $foo .", vec!["UndefinedVar 2:`$foo` Usage of undefined variable '$foo'"]),
        (
            "ENV DIR=x\nWORKDIR /${DIRR}",
            vec!["UndefinedVar 3:`${DIRR` Usage of undefined variable '$DIRR' (did you mean $DIR?)"],
        ),
        ("ARG foo\nCOPY $foo .", vec![]),
        ("ARG foo=$bar\nENV x=$foo", vec!["UndefinedVar 2:`$bar` Usage of undefined variable '$bar'"]),
        ("ENV a=1 b=$a", vec!["UndefinedVar 2:`$a` Usage of undefined variable '$a'"]),
        ("RUN echo $foo\nCMD [\"$foo\"]\nEXPOSE $foo", vec![]),
        ("RUN --mount=target=/$foo true", vec!["UndefinedVar 2:`$foo` Usage of undefined variable '$foo'"]),
        (
            "COPY <<E <<'F' /x/\n$foo\nE\n$bar\nF",
            vec!["UndefinedVar 3:`$foo` Usage of undefined variable '$foo'"],
        ),
        (
            "USER ${foo:-me}\nLABEL a=\"$foo\"",
            vec![
                "UndefinedVar 2:`${foo` Usage of undefined variable '$foo'",
                "UndefinedVar 3:`$foo` Usage of undefined variable '$foo'",
            ],
        ),
        ("ENV a=$PATH b=$BUILDKIT_SBOM_SCAN_STAGE", vec![]),
        ("# check=skip=UndefinedVar\nCOPY $foo .", vec![]),
    ] {
        assert_eq!(found(&format!("FROM scratch\n{steps}\n"), &BUILD), expected, "{steps}");
    }
    assert_eq!(found("FROM other\nENV a=$b", &BUILD), [""; 0], "the image is not known");
}

#[test]
fn stages_inherit_what_is_set() {
    let source = "FROM scratch AS a\nARG x=1\nENV y=2\nSHELL [\"sh\"]\nWORKDIR /w\nFROM a\nENV z=$x$y$none\nCMD c\nWORKDIR v";
    assert_eq!(found(source, &BUILD), ["UndefinedVar 7:`$none` Usage of undefined variable '$none'"]);
}

#[test]
fn images_bring_variables_triggers_and_platforms() {
    assert_eq!(
        found("FROM base\nENV a=$FROM_IMAGE\nCMD x", &BUILD),
        [
            "SecretsUsedInArgOrEnv 1:`FROM base` Do not use ARG or ENV instructions for sensitive data (ENV \"password\")",
            "InvalidBaseImagePlatform 1:`base` Base image base was pulled with platform \"linux/amd64\", expected \"linux/arm64\" for current build",
        ]
    );
}

#[test]
fn only_stages_that_are_built_are_looked_at() {
    let source = "FROM scratch\nENV a=$b\nFROM scratch\nENV c=$d";
    let second = Build { built: Some(1), ..BUILD };
    assert_eq!(found(source, &second), ["UndefinedVar 4:`$d` Usage of undefined variable '$d'"]);
}

#[test]
fn triggers_of_a_stage_are_looked_at_where_they_run() {
    let source = "FROM scratch AS a\nONBUILD ENV token=1\nFROM a\nFROM scratch";
    let message = "Do not use ARG or ENV instructions for sensitive data (ENV \"token\")";
    assert_eq!(found(source, &BUILD), [format!("SecretsUsedInArgOrEnv 3:`FROM a` {message}")]);
}

#[test]
fn steps_are_looked_at() {
    for (steps, expected) in [
        (
            "CMD a",
            vec![
                "JSONArgsRecommended 2:`CMD a` JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            ],
        ),
        ("SHELL [\"sh\"]\nENTRYPOINT a", vec![]),
        (
            "CMD [\"a\"]\nCMD [\"b\"]",
            vec![
                "MultipleInstructionsDisallowed 2:`CMD [\"a\"]` Multiple CMD instructions should not be used in the same stage because only the last one will be used",
            ],
        ),
        (
            "HEALTHCHECK NONE\nhealthcheck NONE",
            vec![
                "MultipleInstructionsDisallowed 2:`HEALTHCHECK NONE` Multiple healthcheck instructions should not be used in the same stage because only the last one will be used",
            ],
        ),
        (
            "ENV a b",
            vec![
                "LegacyKeyValueFormat 2:`a b` \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            ],
        ),
        (
            "LABEL a b",
            vec![
                "LegacyKeyValueFormat 2:`a b` \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            ],
        ),
        (
            "WORKDIR a\nWORKDIR b",
            vec![
                "WorkdirRelativePath 2:`WORKDIR a` Relative workdir \"a\" can have unexpected results if the base image changes",
            ],
        ),
        ("WORKDIR /a\nWORKDIR b", vec![]),
        (
            "ARG AUTH_X KEYS",
            vec![
                "SecretsUsedInArgOrEnv 2:`AUTH_X` Do not use ARG or ENV instructions for sensitive data (ARG \"AUTH_X\")",
            ],
        ),
        ("ENV PUBLIC_KEY=1 KEY_FILE=2 TOKEN_VERSION=3", vec![]),
        (
            "EXPOSE 80/TcP",
            vec![
                "ExposeProtoCasing 2:`EXPOSE 80/TcP` Defined protocol '80/TcP' in EXPOSE instruction should be lowercase",
            ],
        ),
        (
            "EXPOSE 1:80",
            vec![
                "ExposeInvalidFormat 2:`EXPOSE 1:80` EXPOSE instruction should not define an IP address or host-port mapping, found '1:80'",
            ],
        ),
    ] {
        assert_eq!(found(&format!("FROM scratch\n{steps}\n"), &BUILD), expected, "{steps}");
    }
}

#[test]
fn ignored_sources_are_found() {
    let build = Build { ignored: &["a/b", "."], ..BUILD };
    for (step, expected) in [
        (
            "COPY ./a/b c /",
            vec![
                "CopyIgnoredFile 2:`./a/b` Attempting to Copy file \"a/b\" that is excluded by .dockerignore",
            ],
        ),
        (
            "ADD . /",
            vec!["CopyIgnoredFile 2:`.` Attempting to Add file \".\" that is excluded by .dockerignore"],
        ),
        ("COPY --from=x a/b /", vec![]),
        ("ADD https://x/a/b /", vec![]),
    ] {
        assert_eq!(found(&format!("FROM scratch\n{step}\n"), &build), expected, "{step}");
    }
}

#[test]
fn from_is_looked_at() {
    for (source, expected) in [
        ("ARG a=x\nFROM $a", vec![]),
        (
            "ARG bas=x\nFROM $base",
            vec![
                "InvalidDefaultArgInFrom 2:`$base` Default value for ARG $base results in empty or invalid base image name",
                "UndefinedArgInFrom 2:`$base` FROM argument 'base' is not declared (did you mean bas?)",
            ],
        ),
        ("ARG a\nFROM x:${a:-1}", vec![]),
        (
            "ARG a=\"b c\"\nFROM $a",
            vec![
                "InvalidDefaultArgInFrom 2:`$a` Default value for ARG $a results in empty or invalid base image name",
            ],
        ),
        (
            "FROM --platform=$TARGETPLATFORM x",
            vec![
                "RedundantTargetPlatform 1:`--platform=$TARGETPLATFORM` Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            ],
        ),
        ("FROM --platform=$BUILDPLATFORM x", vec![]),
        (
            "FROM --platform=$BULDPLATFORM x",
            vec![
                "UndefinedArgInFrom 1:`$BULDPLATFORM` FROM argument 'BULDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
            ],
        ),
        (
            "FROM --platform=linux/s390x x",
            vec![
                "FromPlatformFlagConstDisallowed 1:`--platform=linux/s390x` FROM --platform flag should not use constant value \"linux/s390x\"",
            ],
        ),
        ("FROM --platform=linux/s390x x AS build_s390x", vec![]),
    ] {
        assert_eq!(found(source, &BUILD), expected, "{source}");
    }
    let with_arg = Build { args: &[("a", "x")], ..BUILD };
    assert_eq!(
        found("ARG a\nFROM $a", &with_arg),
        [
            "InvalidDefaultArgInFrom 2:`$a` Default value for ARG $a results in empty or invalid base image name"
        ]
    );
}

#[test]
fn without_facts_only_the_dockerfile_counts() {
    let source = "FROM x\nCOPY . .\nENV a=$b token=1";
    let dockerfile = crate::parse(source.as_bytes()).unwrap();
    let rules: Vec<_> =
        check(&dockerfile, source, &()).into_iter().filter_map(|finding| finding.rule).collect();
    assert_eq!(rules, ["SecretsUsedInArgOrEnv"]);
}

#[test]
fn hostile_files_end_soon() {
    let names: String = (0..50_000).map(|i| format!(" $a{i}")).collect();
    let source = format!("FROM scratch\nCOPY{names} /\n");
    let dockerfile = crate::parse(source.as_bytes()).unwrap();
    assert_eq!(check(&dockerfile, &source, &BUILD).len(), 1000);
}

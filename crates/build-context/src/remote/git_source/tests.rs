use super::*;

fn parsed(text: &str) -> GitSource {
    GitSource::parse(text).unwrap().unwrap_or_else(|| panic!("{text} is no git URL"))
}

#[test]
fn git_urls_are_told_from_others_as_buildkit_does() {
    for text in [
        "https://example.com/foo.git",
        "http://example.com/foo.git",
        "HTTPS://example.com/foo.git",
        "https://foo:bar@example.com/foo.git",
        "https://example.com/foo.git?ref=v1",
        "git://example.com/foo",
        "git://host.xz:1234/path/to/repo.git",
        "ssh://git@example.com:22/foo",
        "ssh://someuser@192.168.0.123:456/~/repo-in-my-home-dir.git",
        "git@example.com:foo/bar",
        "nonstandarduser@example.com:/srv/repos/weird/project.git",
    ] {
        assert!(GitSource::parse(text).unwrap().is_some(), "{text}");
    }
    for text in [
        "https://example.com/",
        "https://example.com/foo",
        "https://example.com/foo.git/",
        "https://example.com/foo.git.bar",
        "http://github.com/docker/docker.git:#branch",
        "custom.xyz/moby/buildkit.git",
        "github.com/moby/buildkit",
        "file:///srv/repo.git",
        "ext::sh -c id",
        "httpx://example.com/foo.git",
        "./git@x:y",
        "../foo.git",
        ".git",
        "foo.git",
        "ssh://-oProxyCommand=x/y",
        "git@-oProxyCommand:y",
        "-u@host:y",
    ] {
        assert_eq!(GitSource::parse(text).unwrap(), None, "{text}");
    }
}

#[test]
fn a_fragment_and_a_query_name_the_same_things() {
    for (text, reference, subdir) in [
        ("https://h/r.git", None, ""),
        ("https://h/r.git#deadbeef", Some("deadbeef"), ""),
        ("https://h/r.git#release/1.2", Some("release/1.2"), ""),
        ("https://h/r.git#baz/qux:quux/quuz", Some("baz/qux"), "quux/quuz"),
        ("https://h/r.git#:myfolder", None, "myfolder"),
        ("https://h/r.git#main:/../../etc/", Some("main"), "etc"),
        ("https://h/r.git?ref=v1.0.0&subdir=/subdir", Some("v1.0.0"), "subdir"),
        ("https://h/r.git?subdir=/subdir#v1.0.0", Some("v1.0.0"), "subdir"),
        ("https://h/r.git?ref=v1#v1", Some("v1"), ""),
        ("https://h/r.git?tag=v1.0.0", Some("refs/tags/v1.0.0"), ""),
        ("https://h/r.git?tag=refs/tags/v1", Some("refs/tags/v1"), ""),
        ("https://h/r.git?branch=v1.0", Some("refs/heads/v1.0"), ""),
        ("git@h:r.git?subdir=/subdir#v1.0.0", Some("v1.0.0"), "subdir"),
    ] {
        let source = parsed(text);
        assert_eq!((source.reference.as_deref(), source.subdir.as_str()), (reference, subdir), "{text}");
        assert!(!source.remote.contains(['?', '#']), "{text}");
    }
}

#[test]
fn a_query_has_switches() {
    let source = parsed("https://h/r.git?keep-git-dir&submodules=0&mtime=checkout&checksum=deadbeef");
    assert_eq!(source.keep_git_dir, Some(true));
    assert_eq!((source.submodules, source.time), (false, CheckoutTime::Checkout));
    assert_eq!(source.checksum.as_deref(), Some("deadbeef"));
    assert_eq!(parsed("https://h/r.git?commit=abc").checksum.as_deref(), Some("abc"));
    let commit = "0123456789012345678901234567890123456789";
    assert!(parsed(&format!("https://h/r.git?fetch-by-commit=true&checksum={commit}#main")).fetch_by_commit);
}

#[test]
fn contradictions_and_unknown_queries_are_refused() {
    for (text, part) in [
        ("https://h/r.git?ref=v1.0.0#v1.2.3", "ref conflicts"),
        ("https://h/r.git?ref=v1.0.0&tag=v1.2.3", "ref conflicts"),
        ("https://h/r.git?tag=v1.0.0&branch=v1.0", "branch conflicts with tag"),
        ("https://h/r.git?subdir=a#main:b", "subdir conflicts"),
        ("https://h/r.git?mtime=invalid", "invalid mtime"),
        ("https://h/r.git?fetch-by-commit=invalid", "invalid fetch-by-commit"),
        ("https://h/r.git?fetch-by-commit&checksum=abc", "all the commit's digits"),
        ("https://h/r.git?keep-git-dir=perhaps", "invalid keep-git-dir"),
        ("https://h/r.git?invalid=123", "unexpected query \"invalid\""),
        ("https://h/r.git?ref=", "no value"),
        ("https://h/r.git?ref=a&ref=b", "multiple values"),
        ("https://h/r.git?checksum=xyz", "invalid checksum"),
    ] {
        let error = GitSource::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_reference_is_never_an_option_or_a_pattern() {
    for reference in ["--upload-pack=touch%20x", "-x", "a..b", "a b", "a*", "a^{}", "a%0ab", "@{-1}"] {
        let error = GitSource::parse(&format!("https://h/r.git#{reference}")).unwrap_err().to_string();
        assert!(error.contains("is no name of a branch"), "{reference}: {error}");
    }
}

#[test]
fn flags_of_add_must_agree_with_the_url() {
    let keep = || parsed("https://h/r.git?keep-git-dir=false&checksum=abc");
    assert!(keep().with_flags(Some(true), None).is_err());
    assert!(keep().with_flags(None, Some("abd")).is_err());
    assert_eq!(keep().with_flags(Some(false), Some("abc")).unwrap(), keep());
    let plain = || parsed("https://h/r.git");
    assert!(plain().with_flags(None, Some("sha256:abc")).is_err());
    let flagged = plain().with_flags(Some(true), Some("abc")).unwrap();
    assert!(flagged.keeps_git_dir());
    assert_eq!(flagged.checksum.as_deref(), Some("abc"));
    assert!(!parsed("https://h/r.git#:sub").with_flags(Some(true), None).unwrap().keeps_git_dir());
}

#[test]
fn a_source_has_a_server() {
    for (text, host) in [
        ("https://u:p@h:8443/r.git", "h:8443"),
        ("git@h:r/x.git", "h"),
        ("git://h/r", "h"),
        ("ssh://u@h:22/r", "h:22"),
    ] {
        assert_eq!(parsed(text).host(), host, "{text}");
    }
}

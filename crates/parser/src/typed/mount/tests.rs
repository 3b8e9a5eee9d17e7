//! Cases of `--mount`.

use super::*;
use crate::expand::Expander;

fn text(spec: &str) -> Text {
    Text::verbatim(spec, crate::Span { start: 0, end: spec.len() })
}

fn read_spec(spec: &str) -> Result<Mount, Diagnostic> {
    read(&text(spec))
}

fn bind() -> Mount {
    let mut mount = read_spec("target=x").unwrap();
    mount.target = None;
    mount
}

/// The same, made from `spec`.
fn from_spec(mount: Mount, spec: &str) -> Mount {
    Mount { span: text(spec).span(), spec: spec.to_owned(), ..mount }
}

#[test]
fn options_are_read() {
    let some = |text: &str| Some(text.to_owned());
    for (spec, expected) in [
        ("target=/a", Mount { target: some("/a"), ..bind() }),
        (
            "type=bind,from=b,src=/s,dst=/a,rw",
            Mount {
                from: some("b"),
                source: some("/s"),
                target: some("/a"),
                read_only: Some(false),
                ..bind()
            },
        ),
        (
            "TYPE=Cache,Target=/c,id=x,sharing=LOCKED,uid=1,gid=2,mode=0750,ro=false",
            Mount {
                kind: MountKind::Cache,
                target: some("/c"),
                id: some("x"),
                sharing: Sharing::Locked,
                uid: Some(1),
                gid: Some(2),
                mode: Some(0o750),
                read_only: Some(false),
                ..bind()
            },
        ),
        (
            "type=tmpfs,destination=/t,size=64m",
            Mount { kind: MountKind::Tmpfs, target: some("/t"), size: Some(64 << 20), ..bind() },
        ),
        (
            "type=secret,id=s,env=,required,readwrite=0",
            Mount {
                kind: MountKind::Secret,
                id: some("s"),
                env: some(""),
                required: true,
                read_only: Some(true),
                ..bind()
            },
        ),
        ("type=ssh,required=false,source=", Mount { kind: MountKind::Ssh, ..bind() }),
        ("\"target=/a,b\",readonly", Mount { target: some("/a,b"), read_only: Some(true), ..bind() }),
        ("from=a$,target=/a", Mount { from: some("a$"), target: some("/a"), ..bind() }),
    ] {
        assert_eq!(read_spec(spec), Ok(from_spec(expected, spec)), "{spec}");
    }
}

#[test]
fn what_is_wrong_is_pointed_at() {
    for (spec, message, place) in [
        ("", "the value is empty", ""),
        ("typ=cache", "unexpected key 'typ' in 'typ=cache'", "typ"),
        ("tagret", "invalid field 'tagret' must be a key=value pair", "tagret"),
        ("type=tmp", "unsupported mount type \"tmp\"", "tmp"),
        ("type=cache,sharing=none", "unsupported sharing value \"none\"", "none"),
        ("type=cache,uid=root", "invalid value root for uid", "root"),
        ("type=cache,uid=4294967296", "invalid value 4294967296 for uid", "4294967296"),
        ("type=cache,mode=999", "invalid value 999 for mode", "999"),
        ("ro=maybe", "invalid value for ro: maybe", "maybe"),
        ("type=tmpfs,size=big", "invalid value for size: big", "big"),
        ("size=1m,type=tmpfs", "unexpected key 'size' for mount type 'bind'", "size"),
        ("required,type=secret", "unexpected key 'required' for mount type 'bind'", "required"),
        ("type=tmpfs,uid=1", "uid not allowed for \"tmpfs\" type mounts", "type=tmpfs,uid=1"),
        ("type=secret", "invalid secret mount. one of source, target required", "type=secret"),
        ("type=secret,id=a,src=b", "both source and id can't be set", "type=secret,id=a,src=b"),
        ("type=secret,id=a,from=b", "secret mount should not have a from", "type=secret,id=a,from=b"),
        (
            "type=secret,id=a,sharing=shared",
            "secret mount should not define sharing",
            "type=secret,id=a,sharing=shared",
        ),
        ("sharing=shared", "invalid cache sharing set for bind mount", "sharing=shared"),
        ("from=$B,target=/a", "'from' doesn't support variable expansion, define alias stage instead", "$B"),
        ("target=a\"b", "a quote in a field that does not begin with one", "\""),
    ] {
        let error = read_spec(spec).unwrap_err();
        assert_eq!((error.message.as_str(), &spec[error.span.unwrap().range()]), (message, place), "{spec}");
    }
}

#[test]
fn variables_are_replaced_later() {
    let lookup = |name: &str| {
        let value = match name {
            "TYPE" => "cache",
            "ID" => "7",
            "DIR" => "/d",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let expander = Expander::new('\\', &lookup);
    let mut expand = |word: &str| expander.word(word).map(|expanded| expanded.text);

    let spec = "type=$TYPE,uid=$ID,sharing=locked,target=$DIR/x,id='$DIR',mode=${MODE:-0700}";
    let raw = read_spec(spec).unwrap();
    assert_eq!((raw.target.as_deref(), raw.uid), (Some("$DIR/x"), None));
    let mount = raw.expand(&mut expand).unwrap();
    assert_eq!((mount.kind, mount.uid, mount.mode), (MountKind::Cache, Some(7), Some(0o700)));
    assert_eq!((mount.target.as_deref(), mount.id.as_deref()), (Some("/d/x"), Some("$DIR")));
    assert_eq!((mount.spec, mount.span), (raw.spec, raw.span));
}

#[test]
fn values_are_checked_again_with_variables() {
    let expander = Expander::new('\\', &|_| None);
    let mut expand = |word: &str| expander.word(word).map(|expanded| expanded.text);
    for (spec, message) in [
        ("type=$TYPE", "unsupported mount type \"\""),
        ("type=cache,uid=$ID", "invalid value  for uid"),
        ("type=secret,id=$ID", "invalid secret mount. one of source, target required"),
        ("target=${DIR?no directory}", "DIR: no directory"),
    ] {
        let raw = read_spec(spec).unwrap();
        assert_eq!(raw.expand(&mut expand).unwrap_err().message, message, "{spec}");
    }
}

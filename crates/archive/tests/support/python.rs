//! Python's `tarfile` as a second opinion.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Command, Stdio};

use lbuild_archive::{EntryKind, Header};

/// How Python lists an archive.
pub fn listing(bytes: &[u8]) -> Vec<String> {
    run(include_str!("oracle.py"), bytes).lines().map(str::to_owned).collect()
}

/// What a script prints, given some input; it must succeed.
pub fn run(script: &str, input: &[u8]) -> String {
    String::from_utf8(output(script, input)).unwrap()
}

/// [`run`] for output that is no text.
pub fn output(script: &str, input: &[u8]) -> Vec<u8> {
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may stop reading before all is written.
        scope.spawn(move || drop(stdin.write_all(input)));
        python.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same listing of entries that our reader, or a test, has.
pub fn expected(entries: &[(Header, Vec<u8>)]) -> Vec<String> {
    entries.iter().map(|(header, content)| line(header, content)).collect()
}

fn line(header: &Header, content: &[u8]) -> String {
    let path = match &header.path[..] {
        // Python drops these slashes.
        path if path.ends_with(b"/") => {
            &path[..path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1)]
        }
        path => path,
    };
    let (kind, link, device) = match &header.kind {
        EntryKind::File => ("file", &[][..], String::new()),
        EntryKind::HardLink(target) => ("hard-link", &target[..], String::new()),
        EntryKind::Symlink(target) => ("symlink", &target[..], String::new()),
        EntryKind::Directory => ("directory", &[][..], String::new()),
        EntryKind::Fifo => ("fifo", &[][..], String::new()),
        EntryKind::CharDevice { major, minor } => ("character-device", &[][..], format!("{major}:{minor}")),
        EntryKind::BlockDevice { major, minor } => ("block-device", &[][..], format!("{major}:{minor}")),
    };
    let xattrs: Vec<_> =
        header.xattrs.iter().map(|(name, value)| format!("{}={}", hex(name), hex(value))).collect();
    format!(
        "{} {kind} {} {:o} {} {} {} {device} {} {}",
        hex(path),
        hex(link),
        header.mode,
        header.uid,
        header.gid,
        header.mtime,
        hex(content),
        xattrs.join(","),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

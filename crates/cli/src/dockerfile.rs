//! Finds and reads the Dockerfile and its context.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use lbuild_build_context::remote::Remote;

use crate::args;
use crate::exit::Exit;
use crate::failure::{self, Failure};

/// The Dockerfile's names, the first that is there being taken.
pub const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

/// More than any Dockerfile that a person writes, in bytes.
pub const LONGEST: u64 = 64 << 20;

/// A Dockerfile, read.
#[derive(Debug)]
pub struct Dockerfile {
    /// Its name in messages.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its path; `None` if it came from standard input, from a server or out of an archive.
    pub path: Option<PathBuf>,
}

/// Whether `path` stands for standard input.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The URL that `file` is, if it is one: as with `docker build`, a Dockerfile may come from a server.
pub fn url(file: &Path) -> Option<&str> {
    let text = file.to_str()?;
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)).then_some(text)
}

/// Reads the Dockerfile `file`, or that of the folder `context`.
pub fn read(file: Option<&Path>, context: &Path) -> Result<Dockerfile, Failure> {
    match file {
        Some(file) if is_stdin(file) => read_stdin(),
        Some(file) => read_file(file).map_err(|failure| {
            let inside = context.join(file);
            if file.is_dir() {
                failure.help(format!("it is a folder: did you mean -f {}?", file.join(NAMES[0]).display()))
            } else if !file.exists() && inside.exists() {
                failure.help(format!("-f is relative to this folder: did you mean -f {}?", inside.display()))
            } else {
                failure
            }
        }),
        None => {
            let paths = NAMES.map(|name| context.join(name));
            match paths.iter().find(|path| path.exists()) {
                Some(path) => read_found(path),
                None => Err(missing(context)),
            }
        }
    }
}

/// What a context's path names.
pub enum ContextPath {
    /// A folder of this machine.
    Folder,
    /// What must be fetched.
    Remote(Remote),
}

/// Checks that `context` is a folder of this machine, and says what else it may be.
pub fn check_context(context: &Path) -> Result<(), Failure> {
    let shown = context.display();
    if context.is_dir() {
        return Ok(());
    }
    if let Ok(ContextPath::Remote(_)) = context_path(context) {
        return Err(Failure::usage(format!("{shown} is not a folder of this machine"))
            .help("only builds fetch their context; give a folder"));
    }
    fs::metadata(context).map_err(Failure::io(format!("cannot read the context {shown}")))?;
    Err(Failure::usage(format!("{shown} is not a folder"))
        .help("give the context's folder, and a Dockerfile with -f"))
}

/// Finds out what `context` is. A folder wins over a URL.
pub fn context_path(context: &Path) -> Result<ContextPath, Failure> {
    let shown = context.display();
    if context.is_dir() {
        return Ok(ContextPath::Folder);
    }
    if let Some(remote) = context.to_str().map(Remote::of_context).transpose()?.flatten() {
        return Ok(ContextPath::Remote(remote));
    }
    match fs::metadata(context) {
        Ok(_) => Err(Failure::usage(format!("{shown} is not a folder"))
            .help(format!("an archive is read from standard input: lbuild - < {shown}"))),
        Err(error) => {
            let failure = Failure::io(format!("cannot read the context {shown}"))(error);
            let is_word = context.components().count() == 1 && context.extension().is_none();
            let is_file_url = context.to_str().is_some_and(|text| text.starts_with("file:"));
            Err(if is_file_url {
                failure.help("a repository of this machine is given as its folder, without file://")
            } else if is_word {
                failure.help(match context.to_str().and_then(args::similar_command) {
                    Some(command) => format!("it is no folder; did you mean the command `lbuild {command}`?"),
                    None => {
                        "it is neither a folder nor a command; `lbuild --help` lists the commands".to_owned()
                    }
                })
            } else {
                failure
            })
        }
    }
}

/// Standard input, unless a person would have to type it.
pub fn stdin(what: &str) -> Result<io::StdinLock<'static>, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage(format!("{what} is expected on standard input, which is a terminal")));
    }
    Ok(stdin.lock())
}

fn read_stdin() -> Result<Dockerfile, Failure> {
    let content = read_bounded(stdin("a Dockerfile")?).map_err(Failure::io("cannot read standard input"))?;
    Ok(Dockerfile { name: "<stdin>".to_owned(), content, path: None })
}

/// A Dockerfile that nobody named is the context's, which may be a stranger's: a FIFO in its place
/// would be waited for without an end.
fn read_found(path: &Path) -> Result<Dockerfile, Failure> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Failure::new(
            Exit::Failed,
            format!("cannot read the Dockerfile {}: it is no regular file", path.display()),
        )
        .help("-f names another file")),
        _ => read_file(path),
    }
}

fn read_file(path: &Path) -> Result<Dockerfile, Failure> {
    let name = path.strip_prefix("./").unwrap_or(path).display().to_string();
    let content = File::open(path)
        .and_then(read_bounded)
        .map_err(Failure::io(format!("cannot read the Dockerfile {name}")))?;
    Ok(Dockerfile { name, content, path: Some(path.to_owned()) })
}

/// Reads no more than a Dockerfile may have.
pub fn read_bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(LONGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

fn missing(context: &Path) -> Failure {
    let help = failure::removed_folder()
        .unwrap_or_else(|| "name it with -f FILE, or give the folder that has it".to_owned());
    Failure::new(Exit::Failed, format!("there is no Dockerfile in {}", context.display())).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dockerfile_of_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(None, folder.path()).is_err());
        for name in ["Containerfile", "dockerfile", "Dockerfile"] {
            fs::write(folder.path().join(name), name).unwrap();
            let found = read(None, folder.path()).unwrap();
            assert_eq!(found.content, name.as_bytes());
            assert_eq!(found.path, Some(folder.path().join(name)));
        }
    }

    #[test]
    fn a_path_relative_to_the_context_is_suggested() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Dockerfile.no-such-elsewhere"), "").unwrap();
        let failure = read(Some(Path::new("Dockerfile.no-such-elsewhere")), folder.path()).unwrap_err();
        let Failure::Error { help: Some(help), .. } = failure else { panic!("{failure:?}") };
        assert!(help.contains(folder.path().to_str().unwrap()), "{help}");
    }
}

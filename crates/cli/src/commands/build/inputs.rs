//! What a build reads: the Dockerfile and the context, each from a file, a folder, standard input or
//! the network.

use std::io;
use std::path::Path;

use lbuild_build_context::{Context, Ignore, Owners, Stream};
use lbuild_builder::ContextFolder;

use crate::args::BuildArgs;
use crate::contexts::{self, Contexts, Fetched};
use crate::dockerfile::{self, ContextPath, Dockerfile, is_stdin};
use crate::exit::Exit;
use crate::failure::Failure;

/// A build's Dockerfile, and the folder of its context if it has one.
pub struct Inputs {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The context.
    pub context: Option<ContextFolder>,
}

/// Reads what the arguments name. What is fetched or unpacked lies in the store's folder for this
/// process.
pub fn read(contexts: &Contexts<'_>, args: &BuildArgs) -> Result<Inputs, Failure> {
    if is_stdin(&args.path) {
        return read_stdin(contexts, args);
    }
    let file = args.file.as_deref();
    let url = file.and_then(dockerfile::url);
    let (folder, file) = match dockerfile::context_path(&args.path)? {
        ContextPath::Folder => {
            let dockerfile = match url {
                Some(url) => contexts.dockerfile(url)?,
                None => dockerfile::read(file, &args.path)?,
            };
            return Ok(Inputs { dockerfile, context: Some(ContextFolder::of_user(&args.path)) });
        }
        ContextPath::Remote(remote) => match contexts.fetch(&remote)? {
            Fetched::Folder(folder) => (folder, file),
            Fetched::Dockerfile(folder) => {
                let other = file.filter(|file| is_stdin(file) || url.is_some());
                (folder, other.or(Some(Path::new(contexts::FILE_NAME))))
            }
        },
    };
    let dockerfile = match (url, file) {
        (Some(url), _) => contexts.dockerfile(url)?,
        (None, Some(file)) if is_stdin(file) => dockerfile::read(Some(file), &folder.path)?,
        (None, file) => read_unpacked(&folder.path, file)?,
    };
    Ok(Inputs { dockerfile, context: Some(folder) })
}

fn read_stdin(contexts: &Contexts<'_>, args: &BuildArgs) -> Result<Inputs, Failure> {
    if args.file.as_deref().is_some_and(is_stdin) {
        return Err(Failure::usage("the Dockerfile and the context cannot both come from standard input"));
    }
    let folder = contexts.store.scratch()?;
    let stream = dockerfile::stdin("a Dockerfile or an archive")?;
    match Stream::read(stream, &folder, contexts.store.archive_limits())? {
        Stream::Context => {
            let file = args.file.as_deref();
            let dockerfile = match file.and_then(dockerfile::url) {
                Some(url) => contexts.dockerfile(url)?,
                None => read_unpacked(&folder, file)?,
            };
            Ok(Inputs { dockerfile, context: Some(ContextFolder::unpacked(folder, Owners::AsFound)) })
        }
        Stream::Dockerfile(_) if args.file.is_some() => {
            Err(Failure::usage("standard input is no archive, and -f names a Dockerfile in it"))
        }
        Stream::Dockerfile(content) => {
            let dockerfile = Dockerfile { name: "<stdin>".to_owned(), content, path: None };
            Ok(Inputs { dockerfile, context: None })
        }
    }
}

/// Reads the Dockerfile of an archive or a repository, whose links may not lead out of it.
fn read_unpacked(folder: &Path, file: Option<&Path>) -> Result<Dockerfile, Failure> {
    let context = Context::open(folder, Ignore::default())?;
    let names = match file {
        Some(file) => vec![file],
        None => dockerfile::NAMES.map(Path::new).to_vec(),
    };
    for name in names {
        match context.root().read(name, dockerfile::LONGEST) {
            Ok(content) => return Ok(Dockerfile { name: name.display().to_string(), content, path: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::io(format!("cannot read {} of the context", name.display()))(error));
            }
        }
    }
    let wanted = file.map_or_else(|| "Dockerfile".to_owned(), |file| file.display().to_string());
    Err(Failure::new(Exit::Failed, format!("there is no {wanted} in the context"))
        .help("name it with -f FILE, as it is named there"))
}

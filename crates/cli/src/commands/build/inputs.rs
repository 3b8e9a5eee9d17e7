//! What a build reads: the Dockerfile and the context, each from a file, a folder or standard input.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lbuild_build_context::{Context, Stream};
use lbuild_layer_store::Store;

use crate::args::BuildArgs;
use crate::dockerfile::{self, Dockerfile, is_stdin};
use crate::exit::Exit;
use crate::failure::Failure;

/// A build's Dockerfile, and the folder of its context if it has one.
pub struct Inputs {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The context's folder.
    pub context: Option<PathBuf>,
}

/// Reads what the arguments name. An archive on standard input is unpacked into the store's folder
/// for this process.
pub fn read(store: &Store, args: &BuildArgs) -> Result<Inputs, Failure> {
    if is_stdin(&args.path) {
        return read_stdin(store, args);
    }
    dockerfile::check_context(&args.path)?;
    let dockerfile = dockerfile::read(args.file.as_deref(), &args.path)?;
    Ok(Inputs { dockerfile, context: Some(args.path.clone()) })
}

fn read_stdin(store: &Store, args: &BuildArgs) -> Result<Inputs, Failure> {
    if args.file.as_deref().is_some_and(is_stdin) {
        return Err(Failure::usage("the Dockerfile and the context cannot both come from standard input"));
    }
    let folder = store.scratch()?;
    let stream = dockerfile::stdin("a Dockerfile or an archive")?;
    match Stream::read(stream, &folder).map_err(failed)? {
        Stream::Context => {
            let dockerfile = read_unpacked(&folder, args.file.as_deref())?;
            Ok(Inputs { dockerfile, context: Some(folder) })
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

/// Reads the Dockerfile of an unpacked archive, whose links may not lead out of it.
fn read_unpacked(folder: &Path, file: Option<&Path>) -> Result<Dockerfile, Failure> {
    let context = Context::discover(folder, None).map_err(failed)?;
    let names = match file {
        Some(file) => vec![file],
        None => dockerfile::NAMES.map(Path::new).to_vec(),
    };
    for name in names {
        match context.root().read(name, dockerfile::LONGEST) {
            Ok(content) => {
                let path = Some(folder.join(name));
                return Ok(Dockerfile { name: name.display().to_string(), content, path });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::io(format!("cannot read {} of the archive", name.display()))(error));
            }
        }
    }
    let wanted = file.map_or_else(|| "Dockerfile".to_owned(), |file| file.display().to_string());
    Err(Failure::new(Exit::Failed, format!("there is no {wanted} in the archive"))
        .help("name it with -f FILE"))
}

fn failed(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Error { exit: Exit::Failed, error: Box::new(error), help: None }
}

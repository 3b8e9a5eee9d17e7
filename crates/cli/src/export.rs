//! Takes images out of the store, as `-o` and `save` ask.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use lbuild_exporter::{
    DockerLoad, ExportError, ExportOptions, Written, docker_load, write_archive, write_oci_archive,
    write_oci_layout, write_rootfs_dir, write_rootfs_tar,
};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::Reference;

use crate::aside::{self, AsideFile};
use crate::failure::Failure;
use crate::output::{Compression, Destination, Form, Output};

/// Bytes that are written at once: as many as an archive's writer gathers, so that they are not gathered again.
const BUFFER: usize = 256 << 10;

/// Images on their way out.
pub struct Export<'a> {
    /// Where it is.
    pub store: &'a Store,
    /// One, or one for each platform.
    pub images: &'a [ImageRecord],
    /// What they are called there.
    pub names: &'a [Reference],
    /// `SOURCE_DATE_EPOCH`, in seconds since the Unix epoch.
    pub epoch: Option<i64>,
}

/// Finds what is wrong with outputs before a long build, rather than after it.
pub fn check(outputs: &[Output], platforms: usize) -> Result<(), Failure> {
    if platforms > 1 {
        outputs.iter().try_for_each(has_room_for_several)?;
    }
    let to_stdout = outputs.iter().filter(|output| output.destination == Destination::Stdout).count();
    if to_stdout > 1 {
        return Err(Failure::usage("only one output can go to standard output"));
    }
    if to_stdout == 1 && io::stdout().is_terminal() {
        return Err(Failure::usage("the image is not written to a terminal")
            .help("redirect it, as in `> image.tar` or `| docker load`, or name a file with -o"));
    }
    for output in outputs {
        if let Destination::Path(path) = &output.destination
            && !is_folder(output.form)
        {
            aside::check(path).map_err(Failure::io(format!("cannot write {}", path.display())))?;
        }
    }
    Ok(())
}

/// Docker's archives have one image.
fn has_room_for_several(output: &Output) -> Result<(), Failure> {
    match output.form {
        Form::Oci | Form::OciFolder | Form::Local | Form::Image => Ok(()),
        Form::Archive | Form::Load => {
            Err(Failure::usage("an archive for Docker has one image, not one for each platform")
                .help("push them, write type=oci, or build for one platform at a time"))
        }
        Form::Tar => Err(Failure::usage("a tar of files is for one platform")
            .help("type=local makes a folder for each platform")),
    }
}

fn is_folder(form: Form) -> bool {
    matches!(form, Form::Local | Form::OciFolder)
}

/// What became of an output.
#[derive(Default)]
pub struct Exported {
    /// What happened, for the user.
    pub note: Option<String>,
    /// What an archive or a layout holds.
    pub written: Option<Written>,
}

impl Export<'_> {
    /// Writes `output`.
    pub fn write(&self, output: &Output) -> Result<Exported, Failure> {
        match (&output.destination, output.form) {
            (Destination::None, Form::Load) => Ok(Exported { note: Some(self.load()?), written: None }),
            (Destination::None, _) => Ok(Exported::default()),
            (Destination::Stdout, _) => {
                // Not locked, so that a stray line elsewhere cannot deadlock; nothing else is printed.
                let mut out = BufWriter::with_capacity(BUFFER, io::stdout());
                let written = self.stream(output, &mut out)?;
                out.flush().map_err(ExportError::Output)?;
                Ok(Exported { note: None, written })
            }
            (Destination::Path(path), form) if is_folder(form) => {
                let written = self.folder(output, path).map_err(|error| failed(path, error))?;
                Ok(Exported { note: Some(format!("wrote {}", path.display())), written })
            }
            (Destination::Path(path), _) => {
                let written = self.file(output, path)?;
                let size = std::fs::metadata(path).map(|file| crate::units::size(file.len()));
                let note = format!("wrote {} ({})", path.display(), size.unwrap_or_default());
                Ok(Exported { note: Some(note), written })
            }
        }
    }

    fn file(&self, output: &Output, path: &Path) -> Result<Option<Written>, Failure> {
        let failed = || Failure::io(format!("cannot write {}", path.display()));
        let file = AsideFile::create(path).map_err(failed())?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let written = self.stream(output, &mut out).map_err(|error| self::failed(path, error))?;
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.commit().map_err(failed())?;
        Ok(written)
    }

    fn stream(&self, output: &Output, out: &mut dyn Write) -> Result<Option<Written>, ExportError> {
        let options = self.options(output);
        match output.form {
            Form::Tar => write_rootfs_tar(self.store, self.image()?, out, self.epoch).map(|()| None),
            Form::Oci => write_oci_archive(self.store, self.images, out, &options).map(Some),
            _ => write_archive(self.store, self.image()?, out, &options).map(Some),
        }
    }

    fn folder(&self, output: &Output, path: &Path) -> Result<Option<Written>, ExportError> {
        if output.form == Form::OciFolder {
            return write_oci_layout(self.store, self.images, path, &self.options(output)).map(Some);
        }
        for image in self.images {
            // As BuildKit names it.
            let own = match self.images.len() {
                1 => path.to_owned(),
                _ => path.join(image.platform.to_string().replace('/', "_")),
            };
            write_rootfs_dir(self.store, image, &own, self.epoch)?;
        }
        Ok(None)
    }

    fn load(&self) -> Result<String, Failure> {
        let host = std::env::var("DOCKER_HOST").ok();
        let socket = lbuild_docker::socket(host.as_deref())?;
        let DockerLoad { known_layers, sent_layers } =
            docker_load(self.store, self.image()?, &socket, self.names)?;
        Ok(format!("loaded into Docker: {sent_layers} layers sent, {known_layers} were there"))
    }

    /// The one that there is where several cannot be written.
    fn image(&self) -> Result<&ImageRecord, ExportError> {
        self.images.first().ok_or(ExportError::NoImage)
    }

    /// How the exporter is to write `output`.
    pub fn options(&self, output: &Output) -> ExportOptions {
        ExportOptions {
            compression: compression(output),
            force_compression: output.force_compression,
            names: self.names.to_vec(),
            index_annotations: output.index_annotations.clone(),
            timestamp: self.epoch,
            ..ExportOptions::default()
        }
    }
}

/// Names the output that could not be written, where the error does not.
fn failed(path: &Path, error: ExportError) -> Failure {
    let what = format!("cannot write {}", path.display());
    match error {
        ExportError::Output(source) => Failure::io(what)(source),
        ExportError::Archive(_) => Failure::from(error).during(what),
        error => error.into(),
    }
}

/// No compression unless asked: a local reader takes longer to decompress than to read.
pub fn compression(output: &Output) -> lbuild_exporter::Compression {
    use lbuild_exporter::Compression as Exported;
    match (output.compression, output.level) {
        (None | Some(Compression::None), _) => Exported::None,
        (Some(Compression::Gzip), None) => Exported::GZIP,
        (Some(Compression::Gzip), Some(level)) => Exported::Gzip { level: level.into() },
        (Some(Compression::Zstd), None) => Exported::ZSTD,
        (Some(Compression::Zstd), Some(level)) => Exported::Zstd { level: level.into() },
    }
}

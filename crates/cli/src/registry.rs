//! Registries, as the commands use them.

use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lbuild_builder::Cancel;
use lbuild_exporter::{EarlyPush, ExportError, ExportOptions, MediaTypes, PushOptions, Pushed};
use lbuild_importer::{ImportError, PullEvent, PullOptions, Pulled};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Platform, Reference};
use lbuild_registry::{Client, RegistryError};

use crate::export;
use crate::failure::Failure;
use crate::output::{Compression, Output};
use crate::{diagnostics, units};

/// How often people are told how far a transfer is.
const NEWS: Duration = Duration::from_secs(5);

/// A client that ends when `cancel` does.
pub fn client(cancel: Option<&Cancel>) -> Result<Client, RegistryError> {
    let Some(cancel) = cancel.cloned() else { return Client::new(|| false) };
    let client = Client::new(move || cancel.is_cancelled())?;
    // Without it, an interruption waits until the registry says something.
    let _ = client.watch();
    Ok(client)
}

/// Pulls an image, its layers only when somebody looks into them if `is_lazy`; people are told how far it
/// is if `tells`.
pub fn pull(
    store: &Store,
    client: &Client,
    name: &Reference,
    platform: Option<&Platform>,
    allow_foreign_layers: bool,
    is_lazy: bool,
    tells: bool,
) -> Result<Pulled, ImportError> {
    let news = News { name: name.familiar(), tells, is_lazy, state: Mutex::new((Instant::now(), 0)) };
    let options = PullOptions {
        platform,
        limits: lbuild_importer::Limits::default(),
        allow_foreign_layers,
        is_lazy,
        progress: &|event| news.event(event),
    };
    lbuild_importer::pull(store, client, name, &options)
}

/// Pushes images, one for each platform, of which some may be there `early`, to `names` as `output` says;
/// returns what happened and what is there now.
pub fn push(
    store: &Store,
    images: &[ImageRecord],
    names: &[Reference],
    output: &Output,
    client: &Client,
    early: &EarlyPush,
) -> Result<Pushed, Failure> {
    let options = push_options(names, output);
    Ok(lbuild_exporter::push(store, images, client, &options, early)?)
}

/// How the exporter is to push.
pub fn push_options(names: &[Reference], output: &Output) -> PushOptions {
    // A registry's readers wait for the network, so gzip pays; all of them know it.
    let compression = output.compression.or(Some(Compression::Gzip));
    let compressed = Output { compression, ..output.clone() };
    PushOptions {
        export: ExportOptions {
            compression: export::compression(&compressed),
            force_compression: output.force_compression,
            names: names.to_vec(),
            index_annotations: output.index_annotations.clone(),
            ..ExportOptions::default()
        },
        by_digest: output.push_by_digest,
        media_types: if output.docker_media_types { MediaTypes::Docker } else { MediaTypes::Oci },
    }
}

/// `pushed app:1 (sha256:…): 2 layers uploaded, 1 mounted, 3 were there`.
pub fn describe(names: &[Reference], pushed: &Pushed) -> String {
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    let layers = if pushed.uploaded == 1 { "layer" } else { "layers" };
    format!(
        "pushed {} ({}): {} {layers} uploaded, {} mounted, {} were there",
        names.join(", "),
        pushed.written.manifest,
        pushed.uploaded,
        pushed.mounted,
        pushed.there,
    )
}

/// What an error of a registry advises, wherever in `error` it is.
pub fn help(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let found = match (error.downcast_ref::<ImportError>(), error.downcast_ref::<ExportError>()) {
            (Some(ImportError::Registry(found)), _) | (_, Some(ExportError::Registry(found))) => Some(found),
            (_, Some(ExportError::WrongLength { .. })) => {
                return Some(
                    "a shared cache says so; with --cache-from=…,verify=true, or with --no-cache, the step runs again"
                        .to_owned(),
                );
            }
            (Some(ImportError::Foreign { .. }), _) => {
                return Some("`lbuild pull --allow-foreign-layers` fetches it from there".to_owned());
            }
            _ => error.downcast_ref::<RegistryError>(),
        };
        if let Some(found) = found {
            return found.help();
        }
        cause = error.source();
    }
    None
}

/// Tells how far a pull is.
struct News {
    name: String,
    tells: bool,
    is_lazy: bool,
    /// When something was told last, and how many bytes there are in all.
    state: Mutex<(Instant, u64)>,
}

impl News {
    fn event(&self, event: PullEvent) {
        if !self.tells {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            PullEvent::Found { layers, bytes, .. } => {
                *state = (Instant::now(), bytes);
                let layers = format!("{layers} layer{}", if layers == 1 { "" } else { "s" });
                let when = if self.is_lazy { ", when they are needed" } else { "" };
                let size = units::size(bytes);
                diagnostics::print(&format!("pulling {}: {layers}, {size}{when}", self.name));
            }
            PullEvent::Bytes(done) if state.0.elapsed() >= NEWS => {
                state.0 = Instant::now();
                let (done, all) = (units::size(done), units::size(state.1));
                diagnostics::print(&format!("pulling {}: {done} of {all}", self.name));
            }
            PullEvent::Bytes(_) => {}
        }
    }
}

//! Certificates for one registry: `certs.d/HOST/` with `*.crt`, `*.cert` and `*.key`.
//!
//! Source: <https://docs.docker.com/engine/security/certificates/>

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::RegistryError;
use crate::environment::Environment;

/// How to trust `hosts`, of which the first one is connected to: by this machine's authorities, and by
/// those that `certs.d` has for any of `hosts`.
///
/// # Errors
/// [`RegistryError::File`].
pub(crate) fn tls(
    environment: &Environment,
    hosts: &[&str],
    insecure: bool,
) -> Result<TlsConfig, RegistryError> {
    let mut roots = Vec::new();
    let mut client = None;
    for (index, host) in hosts.iter().enumerate() {
        for folder in folders(environment, host) {
            let found = Found::read(&folder)?;
            roots.extend(found.roots);
            if index == 0 {
                client = client.or(found.client);
            }
        }
    }
    let roots = if roots.is_empty() {
        RootCerts::PlatformVerifier
    } else {
        let system = rustls_native_certs::load_native_certs().certs;
        let system = system.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        RootCerts::from(system.chain(roots))
    };
    let builder = TlsConfig::builder().root_certs(roots).client_cert(client);
    Ok(builder.disable_verification(insecure).build())
}

fn folders(environment: &Environment, host: &str) -> Vec<PathBuf> {
    // A host with a slash would be no host.
    if host.contains('/') || host.starts_with('.') {
        return Vec::new();
    }
    let user = environment.config_home.as_ref();
    [
        user.map(|home| home.join("containers/certs.d")),
        user.map(|home| home.join("docker/certs.d")),
        Some(PathBuf::from("/etc/containers/certs.d")),
        Some(PathBuf::from("/etc/docker/certs.d")),
    ]
    .into_iter()
    .flatten()
    .map(|folder| folder.join(host))
    .collect()
}

#[derive(Default)]
struct Found {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Found {
    fn read(folder: &Path) -> Result<Self, RegistryError> {
        let entries = match fs::read_dir(folder) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            entries => entries.map_err(|error| wrong(folder, error))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|error| wrong(folder, error))?.path());
        }
        paths.sort();
        let mut found = Self::default();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.roots.extend(certificates(&path)?),
                Some("cert") => found.client = Some(client(&path)?),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let pem = fs::read(path).map_err(|error| wrong(path, error))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(path, error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong(path, "it holds no certificate in PEM form"));
    }
    Ok(certificates)
}

/// The client's certificate at `path` and the key beside it.
fn client(path: &Path) -> Result<ClientCert, RegistryError> {
    let chain = certificates(path)?;
    let key_path = path.with_extension("key");
    let pem = fs::read(&key_path).map_err(|error| wrong(&key_path, error))?;
    let key = PrivateKey::from_pem(&pem).map_err(|error| wrong(&key_path, error))?;
    check_pair(&key_path, &chain, &pem)?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// A key that does not fit is told here: ureq takes it for granted that one does.
fn check_pair(path: &Path, chain: &[Certificate<'static>], key: &[u8]) -> Result<(), RegistryError> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain =
        chain.iter().map(|certificate| CertificateDer::from(certificate.der()).into_owned()).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(path, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map_err(|error| wrong(path, error))?;
    Ok(())
}

fn wrong(path: &Path, reason: impl ToString) -> RegistryError {
    RegistryError::File { path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_home(home: &Path) -> Environment {
        Environment { config_home: Some(home.to_owned()), ..Environment::default() }
    }

    #[test]
    fn files_that_hold_no_certificate_are_told() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("containers/certs.d/a.io:5000");
        fs::create_dir_all(&folder).unwrap();
        for (name, content) in [("ca.crt", "nothing"), ("client.cert", "-----BEGIN CERTIFICATE-----\n!\n")] {
            fs::write(folder.join(name), content).unwrap();
            let error = tls(&with_home(home.path()), &["a.io:5000"], false).map(drop).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(tls(&with_home(home.path()), &["b.io"], false).is_ok());
            fs::remove_file(folder.join(name)).unwrap();
        }
    }

    #[test]
    fn a_host_leads_to_no_other_folder() {
        for host in ["../x", "a/b", ".."] {
            assert!(folders(&with_home(Path::new("/home")), host).is_empty(), "{host}");
        }
    }
}

//! TLS: a certificate from files, which may be replaced while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use platform::{Error, Kind};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where certificate and key lie, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and the root after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The one implementation of TLS's ciphers in this program; clients use it too.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes encrypted connections of plain ones.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files, and reads them again whenever they change. A replacement that cannot be read is reported and the
    /// certificate before it kept. Must be called on a runtime.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] naming the file.
    pub fn load(files: TlsFiles) -> Result<Self, Error> {
        let current = Arc::new(Current { provider: crypto_provider(), key: RwLock::default() });
        let stamps = stamps(&files);
        current.replace(&files)?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&current.provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| Error::internal("no version of TLS", error))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tokio::spawn(watch(Arc::downgrade(&current), files, stamps));
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current {
    provider: Arc<CryptoProvider>,
    key: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Current {
    fn replace(&self, files: &TlsFiles) -> Result<(), Error> {
        let wrong = |path: &Path, why: String| {
            Error::new(Kind::InvalidArgument, format!("cannot use {} for TLS: {why}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&files.certificate, error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong(&files.certificate, "it holds no certificate in PEM".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
        let pair = CertifiedKey::from_der(certificates, key, &self.provider)
            .map_err(|error| wrong(&files.key, error.to_string()))?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pair));
        Ok(())
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Stamps = [Option<SystemTime>; 2];

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    [stamp(&files.certificate), stamp(&files.key)]
}

async fn watch(current: std::sync::Weak<Current>, files: TlsFiles, mut seen: Stamps) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(current) = current.upgrade() else { return };
        let now = stamps(&files);
        if now == seen {
            continue;
        }
        seen = now;
        match current.replace(&files) {
            Ok(()) => tracing::info!(certificate = %files.certificate.display(), "TLS certificate replaced"),
            // A key written after its certificate is there at the next look.
            Err(error) => tracing::warn!(%error, "the TLS certificate before is kept"),
        }
    }
}

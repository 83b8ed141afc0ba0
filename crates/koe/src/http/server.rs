//! The sockets: connections with limits and time-outs, TLS, and an end that loses nothing.
//!
//! Every connection must send its headers in time and must go on reading; there are only so many.
//! On the first signal the server says that it is not ready, takes no more speech, and lets what
//! runs finish until a deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

/// How long a connection may take for its TLS handshake, for its first bytes, and for the headers of
/// a request.
const HEADERS: Duration = Duration::from_secs(10);
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;

/// The sockets' side of the server.
pub struct Sockets {
    /// Where it listens.
    pub listener: TcpListener,
    /// Encryption, if any.
    pub tls: Option<TlsAcceptor>,
    /// Connections at once; more wait in the system's queue.
    pub max_connections: usize,
    /// How long a reader may read nothing.
    pub stall: Duration,
    /// How long what runs may go on after the signal to stop.
    pub drain: Duration,
}

/// Encryption with a certificate chain and its key, both in PEM.
pub fn tls(certificates: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| told(certificates, &error))?;
    if chain.is_empty() {
        return Err(told(certificates, &"no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| told(key, &error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
    .map_err(|error| told(certificates, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Resolves once nothing runs any more.
pub type Quiet = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves until `stop` resolves, then calls `drain` and waits for what it returns. Whether all that
/// ran could finish.
pub async fn serve(
    sockets: Sockets,
    router: Router,
    drain_now: impl FnOnce() -> Quiet,
    stop: impl Future<Output = ()>,
) -> bool {
    let mut drain_now = Some(drain_now);
    let Sockets { listener, tls, max_connections, stall, drain } = sockets;
    let places = Arc::new(Semaphore::new(max_connections));
    let connections = TaskTracker::new();
    let (ending, _) = watch::channel(false);
    tokio::pin!(stop);
    let mut deadline = Instant::now();
    let mut drained: Option<Pin<Box<dyn Future<Output = bool> + Send>>> = None;
    let finished = loop {
        let accepting = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut stop, if drained.is_none() => {
                tracing::info!("stopping: no new speech, what runs may finish");
                deadline = Instant::now() + drain;
                let quiet = drain_now.take().map(|drain_now| drain_now());
                drained = Some(Box::pin(async move {
                    let Some(quiet) = quiet else { return true };
                    tokio::time::timeout_at(deadline, quiet).await.is_ok()
                }));
            }
            finished = async { match &mut drained {
                Some(drained) => drained.await,
                None => std::future::pending().await,
            } } => break finished,
            (accepted, place) = accepting => match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        connect(stream, peer, tls.clone(), router.clone(), stall, ending.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: others will close theirs.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    };
    drop(listener);
    // All is spoken, but its last bytes may still be on their way.
    ending.send_replace(true);
    connections.close();
    tokio::time::timeout_at(deadline, connections.wait()).await.is_ok() && finished
}

async fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stall: Duration,
    ending: watch::Receiver<bool>,
) {
    // Small chunks of sound must not wait for larger ones.
    let _ = stream.set_nodelay(true);
    let stream = Impatient { stream, stall, stuck: None };
    match tls {
        None => converse(stream, peer, router, ending).await,
        Some(tls) => match tokio::time::timeout(HEADERS, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, ending).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        },
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router, mut ending: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(HEADERS)
        .keep_alive_timeout(HEADERS);
    let service = TowerToHyperService::new(router);
    let stream = TokioIo::new(Opening::new(stream));
    let connection = builder.serve_connection_with_upgrades(stream, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = async { drop(ending.wait_for(|ending| *ending).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, error, "a connection ended");
    }
}

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails unless it soon shows which HTTP it speaks. Until then hyper knows no
/// deadline, and silence would hold a place for ever.
struct Opening<S> {
    stream: S,
    /// How much of the preface was read, and by when the rest, or something else, must be.
    waiting: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> Opening<S> {
    fn new(stream: S) -> Self {
        Self { stream, waiting: Some((0, Box::pin(tokio::time::sleep(HEADERS)))) }
    }

    /// Takes note of what was read.
    fn see(&mut self, bytes: &[u8]) {
        let Some((matched, _)) = &mut self.waiting else { return };
        let rest = &PREFACE[*matched..];
        let n = bytes.len().min(rest.len());
        *matched += n;
        if bytes[..n] != rest[..n] || *matched == PREFACE.len() {
            self.waiting = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.see(&buffer.filled()[before..]);
        } else if let Some((_, deadline)) = &mut self.waiting
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection that fails once its peer has read nothing for too long.
struct Impatient {
    stream: TcpStream,
    stall: Duration,
    /// Set while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let deadline = Instant::now() + self.stall;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

//! Asks a Hugging Face hub, or a mirror of it, for pieces of files.
//!
//! Redirects are followed here rather than by the HTTP client, because who may see the token
//! depends on them: only the endpoint itself ever does.

use std::path::Path;
use std::time::Duration;

use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::{Error, Item, Patience, Release, Token};

const MAX_REDIRECTS: usize = 10;

/// A hub and how to talk to it.
pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: Uri,
    token: Option<&'a Token>,
}

/// The answer to a request for a file.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Who sent it, for messages.
    pub(super) host: String,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// It may go better next time.
    Passing(String),
    /// It will not.
    Final(Error),
}

impl<'a> Client<'a> {
    pub(super) fn new(
        endpoint: &str,
        token: Option<&'a Token>,
        certificates: Option<&Path>,
        patience: &Patience,
    ) -> Result<Self, Error> {
        let bad =
            |why: &str| Error::Endpoint { endpoint: endpoint.to_owned(), why: why.to_owned() };
        let uri: Uri =
            endpoint.trim_end_matches('/').parse().map_err(|_| bad("it is not an address"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it must begin with https:// or http://"));
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(bad("it names no host"));
        };
        if uri.query().is_some() || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(bad("it must have neither a query nor a password"));
        }
        let mut config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("koe/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_write(Some(patience.stall));
        if let Some(path) = certificates {
            config = config.tls_config(trusting(path)?);
        }
        if is_loopback(host) {
            // A proxy that the environment names would look for the mirror on its own machine.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), endpoint: uri, token })
    }

    /// Asks for the item from `offset` on; `etag` as the server named the part that is there.
    pub(super) fn get(
        &self,
        release: &Release,
        item: &Item,
        offset: u64,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let Release { repository, revision, .. } = release;
        let endpoint = self.endpoint.to_string();
        let endpoint = endpoint.trim_end_matches('/');
        let address = format!("{endpoint}/{repository}/resolve/{revision}/{}", item.path);
        let mut uri: Uri = address.parse().map_err(|_| {
            Failure::Final(Error::Endpoint {
                endpoint: address,
                why: "it is not an address".into(),
            })
        })?;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&uri);
            if offset > 0 {
                request = request.header(header::RANGE, format!("bytes={offset}-"));
                if let Some(etag) = etag {
                    request = request.header(header::IF_RANGE, etag);
                }
            }
            if let Some(token) = self.token.filter(|_| self.may_see_token(&uri)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.0));
            }
            let host = uri.authority().map(ToString::to_string).unwrap_or_default();
            let answer = request.call().map_err(|error| failure(error, &host))?;
            let (parts, body) = answer.into_parts();
            let status = parts.status.as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { status, headers: parts.headers, body, host });
            }
            uri = parts
                .headers
                .get(header::LOCATION)
                .and_then(|location| location.to_str().ok())
                .and_then(|location| join(&uri, location))
                .ok_or_else(|| refused(&host, "redirects to nowhere"))?;
            let secure = |uri: &Uri| uri.scheme_str() == Some("https");
            if secure(&self.endpoint) && !secure(&uri) {
                return Err(refused(&host, "redirects to an address without encryption"));
            }
        }
        let host = self.endpoint.host().unwrap_or_default();
        Err(refused(host, "redirects without end"))
    }

    /// Only the endpoint itself, and not in clear text over a network.
    fn may_see_token(&self, uri: &Uri) -> bool {
        let (a, b) = (&self.endpoint, uri);
        let same = a.scheme() == b.scheme() && a.host() == b.host() && port(a) == port(b);
        same && (b.scheme_str() == Some("https") || b.host().is_some_and(is_loopback))
    }
}

/// Trusts the authorities in a PEM file, and no others.
fn trusting(path: &Path) -> Result<TlsConfig, Error> {
    let bad = |why: String| Error::Certificates { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(Error::disk(path))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The address that a `Location` means, seen from `base`: absolute, of another host, or a path.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let address = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let address = address.split_once('#').map_or(&*address, |(address, _)| address);
    let uri: Uri = address.parse().ok()?;
    let sound = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    sound.then_some(uri)
}

fn refused(host: &str, what: &str) -> Failure {
    Failure::Final(Error::Refused { host: host.to_owned(), what: what.to_owned() })
}

/// Trouble with certificates and addresses stays; with connections it may pass.
fn failure(error: ureq::Error, host: &str) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Passing(format!("{host} does not answer")),
        ureq::Error::HostNotFound => Failure::Passing(format!("there is no host {host}")),
        ureq::Error::Rustls(error) => refused(host, &format!("has no valid certificate: {error}")),
        ureq::Error::Tls(error) => refused(host, &format!("cannot be talked to securely: {error}")),
        ureq::Error::Io(error) if is_certificate_trouble(&error) => {
            refused(host, &format!("has no valid certificate: {error}"))
        }
        ureq::Error::Http(error) => refused(host, &format!("cannot be asked: {error}")),
        error => Failure::Passing(format!("{host}: {error}")),
    }
}

/// rustls hides its errors in those of input and output.
fn is_certificate_trouble(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

/// How long the server asks to wait, if it does so in seconds and within reason.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_understood_as_browsers_do() {
        let base: Uri = "https://hub.test:8443/a/b/c".parse().unwrap();
        for (location, expected) in [
            ("https://cdn.test/x?sig=1", "https://cdn.test/x?sig=1"),
            ("//cdn.test/x", "https://cdn.test/x"),
            ("/x/y?q", "https://hub.test:8443/x/y?q"),
            ("d", "https://hub.test:8443/a/b/d"),
            ("/x#part", "https://hub.test:8443/x"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), expected);
        }
        for location in ["ftp://a/b", "file:///etc/passwd", "http://", "https:// a/", "\u{7f}"] {
            assert!(join(&base, location).is_none(), "{location}");
        }
    }

    #[test]
    fn only_the_endpoint_sees_the_token() {
        let token = Token("t".to_owned());
        let sees = |endpoint: &str, uri: &str| {
            let client = Client::new(endpoint, Some(&token), None, &Patience::default()).unwrap();
            client.may_see_token(&uri.parse().unwrap())
        };
        assert!(sees("https://hub.test", "https://hub.test/a"));
        assert!(sees("https://hub.test:443/base", "https://hub.test/a"));
        assert!(sees("http://127.0.0.1:80", "http://127.0.0.1/a"));
        for uri in [
            "https://cdn.hub.test/a",
            "https://hub.test.evil.test/a",
            "https://hub.test:8443/a",
            "http://hub.test/a",
        ] {
            assert!(!sees("https://hub.test", uri), "{uri}");
        }
        assert!(!sees("http://hub.test", "http://hub.test/a"), "in clear text over a network");
    }

    #[test]
    fn endpoints_must_be_addresses() {
        for endpoint in ["", "hub", "ftp://hub", "https://", "https://u:p@hub", "https://hub/?a=b"]
        {
            let client = Client::new(endpoint, None, None, &Patience::default());
            assert!(matches!(client, Err(Error::Endpoint { .. })), "{endpoint}");
        }
    }
}

//! The page and its files, compiled in. It loads nothing from anywhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::App;

/// Name, media type, content.
type File = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const INDEX: File = ("index.html", HTML, include_bytes!("page/index.html"));

/// Everything is the page's own, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; media-src 'self' blob:; font-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $media:ident,)*) => {
        /// All but the first, at `/page/NAME`.
        const FILES: &[File] = &[$(($name, $media, include_bytes!(concat!("page/", $name)))),*];
    };
}

files! {
    "api.js": JS,
    "app.js": JS,
    "charts.js": JS,
    "docs.css": CSS,
    "docs.html": HTML,
    "docs.js": JS,
    "dom.js": JS,
    "favicon.svg": SVG,
    "fields.js": JS,
    "mix.js": JS,
    "page.css": CSS,
    "player.js": JS,
    "server.js": JS,
    "share.js": JS,
    "snippets.js": JS,
    "speak.js": JS,
    "transcript.js": JS,
    "voices.js": JS,
    "wave.js": JS,
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || file(&INDEX)))
        .route("/page/{name}", get(async |Path(name): Path<String>| named(&name)))
}

/// The viewer of the API's description.
pub(super) fn docs() -> Response {
    named("docs.html")
}

fn named(name: &str) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some(found) => file(found),
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

/// A file with the headers that keep a page safe.
pub(super) fn file((_, media, content): &File) -> Response {
    let mut response = (*content).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let mut served: Vec<&str> = FILES.iter().chain([&INDEX]).map(|(name, ..)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, there);
    }

    #[test]
    fn no_file_names_another_host() {
        for (name, _, content) in FILES.iter().chain([&INDEX]) {
            let content = std::str::from_utf8(content).unwrap();
            for (at, _) in content.match_indices("://") {
                let around = &content[content.floor_char_boundary(at.saturating_sub(40))
                    ..content.ceil_char_boundary((at + 30).min(content.len()))];
                let is_name = around.contains("www.w3.org")
                    || around.contains("${")
                    || around.contains("huggingface.co")
                    || around.contains("localhost");
                assert!(is_name, "{name}: …{around}…");
            }
        }
    }
}

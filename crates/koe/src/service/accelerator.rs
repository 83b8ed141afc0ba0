//! The accelerator that the settings want: from a configuration to a router, and from its events to
//! the log.

use koe_onnx::{Event, Router, Settings};

use super::library::Library;
use crate::config::Config;

/// What chooses between the native engine and the accelerator; none where none is wanted. Opens
/// nothing before it returns: that happens on a thread of its own, while the native engine speaks.
pub fn router(config: &Config, library: &Library, threads: usize) -> Option<Router> {
    let settings = Settings {
        // The configuration was checked when it was read.
        accelerator: config.accelerator.parse().unwrap_or_default(),
        library: config.onnx_library.clone(),
        file: config.onnx_model.clone(),
        folder: library.folder().map(Into::into),
        threads,
        cache: Some(config.cache.clone()),
    };
    let log = |event: Event| match event {
        Event::Opened { .. } | Event::CameBack { .. } => tracing::info!("{event}"),
        event => tracing::warn!("{event}"),
    };
    koe_onnx::router(settings, library.model(), Box::new(log))
}

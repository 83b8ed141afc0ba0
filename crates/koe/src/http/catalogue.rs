//! Lists of models and voices, in every shape that clients look for, and named mixtures.
#![expect(unused_qualifications, reason = "written by the macro that documents a query")]

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::extract::Body;
use super::request::{BUILTIN, MODEL_NAMES, shown};
use crate::voices::{self, Gender, Mix};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(models))
        .routes(routes!(model))
        .routes(routes!(audio_models_v1))
        .routes(routes!(audio_models))
        .routes(routes!(voices_v1))
        .routes(routes!(voices_audio))
        .routes(routes!(voices_short))
        .routes(routes!(combine))
}

/// A model as OpenAI lists it.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModelReply {
    /// Its name.
    id: String,
    /// `model`.
    object: &'static str,
    /// When it was published, in seconds since 1970.
    created: u64,
    /// Who made it.
    owned_by: &'static str,
}

/// All models.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModelsReply {
    /// `list`.
    object: &'static str,
    /// The models.
    data: Vec<ModelReply>,
    /// The same, where Open WebUI looks for them.
    models: Vec<ModelId>,
}

/// A model's name.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModelId {
    /// Its name.
    id: String,
}

/// When Kokoro-82M v1.0 was published: 2025-01-27.
const CREATED: u64 = 1_737_936_000;

/// Every name that a request may call a model by.
fn model_names(app: &App) -> Vec<String> {
    let mut names: Vec<String> = MODEL_NAMES.map(str::to_owned).into();
    // A folder has a name of its own.
    for name in [app.service.library().model_name(), BUILTIN.to_owned()] {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn describe(id: String) -> ModelReply {
    let owned_by = match &*id {
        BUILTIN => "koe",
        id if MODEL_NAMES.contains(&id) => "hexgrad",
        _ => "unknown",
    };
    ModelReply { id, object: "model", created: CREATED, owned_by }
}

fn all_models(app: &App) -> ModelsReply {
    let names = model_names(app);
    ModelsReply {
        object: "list",
        data: names.iter().cloned().map(describe).collect(),
        models: names.into_iter().map(|id| ModelId { id }).collect(),
    }
}

/// Lists the names that models go by.
#[utoipa::path(get, path = "/v1/models", tag = "models",
    responses((status = 200, description = "Models", body = ModelsReply)))]
async fn models(State(app): State<Arc<App>>) -> axum::Json<ModelsReply> {
    axum::Json(all_models(&app))
}

/// Tells about one model.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models",
    params(("id" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "The model", body = ModelReply),
        (status = 404, description = "There is no such model", body = ErrorBody),
    ))]
async fn model(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<axum::Json<ModelReply>, ApiError> {
    let known = model_names(&app).into_iter().find(|known| known.eq_ignore_ascii_case(&id));
    known.map(|id| axum::Json(describe(id))).ok_or_else(|| {
        let message = format!("there is no model {:?}", shown(&id));
        ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message)
    })
}

/// The same as `/v1/models`.
#[utoipa::path(get, path = "/v1/audio/models", tag = "models",
    responses((status = 200, description = "Models", body = ModelsReply)))]
async fn audio_models_v1(State(app): State<Arc<App>>) -> axum::Json<ModelsReply> {
    axum::Json(all_models(&app))
}

/// The same as `/v1/models`.
#[utoipa::path(get, path = "/audio/models", tag = "models",
    responses((status = 200, description = "Models", body = ModelsReply)))]
async fn audio_models(State(app): State<Arc<App>>) -> axum::Json<ModelsReply> {
    axum::Json(all_models(&app))
}

/// A voice.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct VoiceReply {
    /// What requests call it.
    id: String,
    /// The same, for lists.
    name: String,
    /// In English.
    language: &'static str,
    /// `female` or `male`, where the name tells.
    gender: Option<&'static str>,
    /// `kokoro-82m`, `builtin`, a folder's name, or `mix` for a named mixture.
    model: String,
    /// Whether a request that names no voice gets this one.
    default: bool,
}

/// All voices.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct VoicesReply {
    /// The voices.
    voices: Vec<VoiceReply>,
}

/// How voices are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
struct VoicesQuery {
    /// Names alone.
    #[serde(default)]
    legacy: bool,
}

type Asked = Query<VoicesQuery>;

/// Lists the voices.
#[utoipa::path(get, path = "/v1/audio/voices", tag = "voices", params(VoicesQuery),
    responses((status = 200, description = "Voices", body = VoicesReply)))]
async fn voices_v1(app: State<Arc<App>>, Query(query): Asked) -> Response {
    list(&app, query)
}

/// The same as `/v1/audio/voices`.
#[utoipa::path(get, path = "/audio/voices", tag = "voices", params(VoicesQuery),
    responses((status = 200, description = "Voices", body = VoicesReply)))]
async fn voices_audio(app: State<Arc<App>>, Query(query): Asked) -> Response {
    list(&app, query)
}

/// The same as `/v1/audio/voices`.
#[utoipa::path(get, path = "/voices", tag = "voices", params(VoicesQuery),
    responses((status = 200, description = "Voices", body = VoicesReply)))]
async fn voices_short(app: State<Arc<App>>, Query(query): Asked) -> Response {
    list(&app, query)
}

fn list(app: &App, query: VoicesQuery) -> Response {
    let listed = app.service.library().voices();
    if query.legacy {
        #[derive(Serialize)]
        struct Names {
            voices: Vec<String>,
        }
        let voices = listed.into_iter().map(|voice| voice.name).collect();
        return axum::Json(Names { voices }).into_response();
    }
    let voices = listed.into_iter().map(|voice| VoiceReply {
        language: voices::language(&voice.name),
        gender: Gender::of(&voice.name).map(Gender::name),
        id: voice.name.clone(),
        name: voice.name,
        model: voice.model,
        default: voice.is_default,
    });
    axum::Json(VoicesReply { voices: voices.collect() }).into_response()
}

/// A mixture: a string, a list of voices, or an object that gives it a name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum CombineRequest {
    /// `af_bella(2)+af_sky(1)`.
    Mix(String),
    /// Voices in equal parts.
    Voices(Vec<String>),
    /// A mixture with a name.
    Named(NamedMix),
}

/// A mixture with a name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
struct NamedMix {
    /// What requests shall call it.
    name: String,
    /// `af_bella(2)+af_sky(1)`.
    voice: String,
}

/// A mixture that requests can use.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CombineReply {
    /// What `voice` of a request takes.
    id: String,
    /// The same.
    name: String,
    /// What is in it.
    mix: String,
}

/// Makes a mixture of voices, and gives it a name until the server stops.
///
/// Without a name the mixture itself is the name, and works at any time.
#[utoipa::path(post, path = "/v1/audio/voices/combine", tag = "voices",
    request_body = CombineRequest,
    responses(
        (status = 200, description = "The mixture", body = CombineReply),
        (status = "4XX", description = "The request is wrong", body = ErrorBody),
    ))]
async fn combine(
    State(app): State<Arc<App>>,
    Body(request): Body<CombineRequest>,
) -> Result<axum::Json<CombineReply>, ApiError> {
    let (name, mix) = match request {
        CombineRequest::Mix(mix) => (None, mix),
        CombineRequest::Voices(voices) => (None, voices.join("+")),
        CombineRequest::Named(NamedMix { name, voice }) => (Some(name), voice),
    };
    if mix.trim().is_empty() {
        return Err(ApiError::param("voice", "missing", "name the voices to be mixed"));
    }
    let library = app.service.library();
    // Whatever is wrong with it is told now, not when it speaks.
    library.cast(None, Some(&mix))?;
    if let Some(name) = &name {
        let parsed = Mix::parse(&mix)
            .map_err(|message| ApiError::param("voice", "invalid_value", message))?;
        library
            .name_mix(name, parsed)
            .map_err(|error| ApiError::param("name", "invalid_value", error.to_string()))?;
    }
    let id = name.unwrap_or_else(|| mix.clone());
    Ok(axum::Json(CombineReply { name: id.clone(), id, mix }))
}

//! Who speaks for `koe say`: a server on this machine if one has the very model that is wanted, else
//! this process. The sound is the same; a server's comes sooner.

use koe_engine::{Isa, Model, Session};

use super::Failure;
use crate::choice::{self, Choice, Which};
use crate::config::Config;
use crate::pipeline::Ramp;
use crate::speaker::{Native, Speaker, Voicing};
use crate::tuning;

/// A voice that is ready to speak.
pub(super) struct Narrator {
    pub(super) speaker: Box<dyn Speaker>,
    pub(super) voicing: Voicing,
    /// How texts are cut for it.
    pub(super) ramp: Ramp,
    /// Its model, if that is here.
    pub(super) model: Option<Model>,
}

impl Narrator {
    /// The voice that was chosen, in a server if there is one for it.
    pub(super) fn find(
        choice: &Choice,
        config: &Config,
        threads: usize,
        isa: Isa,
    ) -> Result<Self, Failure> {
        #[cfg(unix)]
        if let Some(narrator) = Self::elsewhere(choice, config, threads, isa) {
            return Ok(narrator);
        }
        Self::here(choice, config, threads, isa)
    }

    /// The voice in a server. None where that would not make the very same sound, and in every case
    /// of doubt.
    #[cfg(unix)]
    fn elsewhere(choice: &Choice, config: &Config, threads: usize, isa: Isa) -> Option<Self> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};

        let path = config.local_socket.path()?;
        let meta = path.metadata().ok().filter(|meta| meta.file_type().is_socket())?;
        // What another user's server makes of the text is not what was asked for.
        if ![0, rustix::process::geteuid().as_raw()].contains(&meta.uid()) {
            return None;
        }
        let precision = choice::precision(config);
        let identity = match &choice.model {
            Which::Builtin => Model::identify_builtin(precision),
            Which::Kokoro(folder) | Which::Folder(folder) => {
                Model::identify(precision, folder, &config.cache).ok()?
            }
        };
        let (choice, own) = (choice.clone(), config.clone());
        let mix = choice.voice.clone();
        let fallback = Box::new(move || {
            let opened = choice::open(&choice, &own).map_err(|error| match error {
                choice::Error::Engine(error) => error,
                error => koe_engine::Error::Request(error.to_string()),
            })?;
            opened.model.keep();
            let session = Session::with_isa(&opened.model, threads, isa);
            Ok(Box::new(Native::new(session, opened.voice, opened.gain)) as Box<dyn Speaker>)
        });
        let (remote, voicing, ramp) =
            crate::local::client::connect(path, &identity, isa.name(), mix.as_ref(), fallback)?;
        // Both measured the same machine; what is remembered is what this process would go by.
        let memory = tuning::memory(config, isa);
        let tuned = tuning::recall(memory.as_ref(), &identity);
        let ramp = tuned.map_or(ramp, |tuned| tuned.ramp());
        Some(Self { speaker: Box::new(remote), voicing, ramp, model: None })
    }

    fn here(choice: &Choice, config: &Config, threads: usize, isa: Isa) -> Result<Self, Failure> {
        let opened = choice::open(choice, config)?;
        let voicing = Voicing {
            dialect: opened.dialect,
            names: opened.names,
            warnings: opened.model.warnings().to_vec(),
        };
        let memory = tuning::memory(config, isa);
        let tuned = match tuning::recall(memory.as_ref(), opened.model.identity()) {
            Some(tuned) => tuned,
            None => tuning::measure(memory.as_ref(), &opened.model, &opened.voice, isa)
                .map_err(choice::Error::from)?,
        };
        let model = opened.model;
        // Not before, so that it slows no measurement; and now, as others may wait for it.
        model.keep();
        let session = Session::with_isa(&model, threads, isa);
        let speaker = Box::new(Native::new(session, opened.voice, opened.gain));
        Ok(Self { speaker, voicing, ramp: tuned.ramp(), model: Some(model) })
    }
}

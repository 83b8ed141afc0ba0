//! The names of voices: Kokoro-82M's, the built-in model's, OpenAI's; and mixtures of them.
//!
//! A name says what it is: the first letter is the language, the second the gender. Nothing here
//! opens a file; whether a voice is there, the model knows.

use std::borrow::Cow;

use koe_text::Dialect;

/// The voices of Kokoro-82M.
pub const KOKORO: [&str; 54] = [
    "af_alloy",
    "af_aoede",
    "af_bella",
    "af_heart",
    "af_jessica",
    "af_kore",
    "af_nicole",
    "af_nova",
    "af_river",
    "af_sarah",
    "af_sky",
    "am_adam",
    "am_echo",
    "am_eric",
    "am_fenrir",
    "am_liam",
    "am_michael",
    "am_onyx",
    "am_puck",
    "am_santa",
    "bf_alice",
    "bf_emma",
    "bf_isabella",
    "bf_lily",
    "bm_daniel",
    "bm_fable",
    "bm_george",
    "bm_lewis",
    "ef_dora",
    "em_alex",
    "em_santa",
    "ff_siwis",
    "hf_alpha",
    "hf_beta",
    "hm_omega",
    "hm_psi",
    "if_sara",
    "im_nicola",
    "jf_alpha",
    "jf_gongitsune",
    "jf_nezumi",
    "jf_tebukuro",
    "jm_kumo",
    "pf_dora",
    "pm_alex",
    "pm_santa",
    "zf_xiaobei",
    "zf_xiaoni",
    "zf_xiaoxiao",
    "zf_xiaoyi",
    "zm_yunjian",
    "zm_yunxi",
    "zm_yunxia",
    "zm_yunyang",
];

/// The voices of the model that is compiled in, the better one first.
pub const BUILTIN: [&str; 2] = ["am_rms", "af_slt"];

/// What is spoken with where no voice is named.
pub const KOKORO_DEFAULT: &str = "af_heart";

/// OpenAI's voices and the Kokoro voices that stand in for them, as Kokoros has them, the only
/// server before this one to know all thirteen.
pub const OPENAI: [(&str, &str); 13] = [
    ("alloy", "af_alloy"),
    ("ash", "am_adam"),
    ("ballad", "am_michael"),
    ("cedar", "am_liam"),
    ("coral", "af_nicole"),
    ("echo", "am_echo"),
    ("fable", "af_bella"),
    ("marin", "af_river"),
    ("nova", "af_nova"),
    ("onyx", "am_onyx"),
    ("sage", "af_sarah"),
    ("shimmer", "af_sky"),
    ("verse", "am_eric"),
];

/// The Kokoro voice behind one of OpenAI's names.
pub fn openai(name: &str) -> Option<&'static str> {
    OPENAI.iter().find(|(alias, _)| *alias == name).map(|&(_, voice)| voice)
}

/// The built-in voice of the same gender.
pub fn builtin_for(kokoro: &str) -> &'static str {
    match Gender::of(kokoro) {
        Some(Gender::Female) => "af_slt",
        _ => "am_rms",
    }
}

/// Who seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// `f`.
    Female,
    /// `m`.
    Male,
}

impl Gender {
    /// From the second letter of a voice's name.
    pub fn of(voice: &str) -> Option<Self> {
        match voice.as_bytes() {
            [_, b'f', b'_', ..] => Some(Self::Female),
            [_, b'm', b'_', ..] => Some(Self::Male),
            _ => None,
        }
    }

    /// `female` or `male`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
        }
    }
}

/// The language of a voice, from the first letter of its name, in English.
pub fn language(voice: &str) -> &'static str {
    match voice.as_bytes() {
        [b'a', _, b'_', ..] => "American English",
        [b'b', _, b'_', ..] => "British English",
        [b'e', _, b'_', ..] => "Spanish",
        [b'f', _, b'_', ..] => "French",
        [b'h', _, b'_', ..] => "Hindi",
        [b'i', _, b'_', ..] => "Italian",
        [b'j', _, b'_', ..] => "Japanese",
        [b'p', _, b'_', ..] => "Brazilian Portuguese",
        [b'z', _, b'_', ..] => "Mandarin Chinese",
        _ => "unknown",
    }
}

/// The English that a voice speaks; none if it speaks another language or the name does not tell.
pub fn dialect(voice: &str) -> Option<Dialect> {
    match voice.as_bytes() {
        [b'a', _, b'_', ..] => Some(Dialect::American),
        [b'b', _, b'_', ..] => Some(Dialect::British),
        _ => None,
    }
}

/// A voice or a mixture of voices as the caller wrote it: names with positive weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix(pub Vec<(String, f32)>);

/// The most voices in a mixture; more cannot be told apart.
const MAX_PARTS: usize = 16;

impl Mix {
    /// One voice.
    pub fn single(name: &str) -> Self {
        Self(vec![(name.to_owned(), 1.0)])
    }

    /// Reads `af_bella`, `af_bella(2)+af_sky(1)` or `af_sarah.4+af_nicole.6`. Only proportions
    /// matter. Says what is wrong otherwise.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| {
            let text = shown(text);
            format!("voice {text:?}: {problem}; write one name, or a mix as af_bella(2)+af_sky(1)")
        };
        let parts: Vec<&str> = text.split('+').map(str::trim).collect();
        if parts.len() > MAX_PARTS {
            return Err(wrong(&format!("more than {MAX_PARTS} voices")));
        }
        let mut mix = Vec::new();
        for part in parts {
            let (name, weight) = match part.split_once('(') {
                Some((name, rest)) => {
                    let weight = rest.strip_suffix(')').ok_or_else(|| wrong("')' is missing"))?;
                    (name, weight.to_owned())
                }
                None => match part.split_once('.') {
                    Some((name, tenths)) => (name, format!("0.{tenths}")),
                    None => (part, "1".to_owned()),
                },
            };
            let name = name.trim();
            if name.is_empty() {
                return Err(wrong("a name is missing"));
            }
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
                return Err(wrong(&format!("{:?} is not a name", shown(name))));
            }
            let weight: f32 = weight.trim().parse().map_err(|_| wrong("a weight is no number"))?;
            if !(weight.is_finite() && weight > 0.0) {
                return Err(wrong("weights must be above zero"));
            }
            mix.push((name.to_owned(), weight));
        }
        Ok(Self(mix))
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

/// As much of what a caller wrote as a message can show.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 100;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The known name that is spelled most like `name`, if one is.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&name, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(parts: &[(&str, f32)]) -> Mix {
        Mix(parts.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect())
    }

    #[test]
    fn both_grammars_of_mixtures_are_read() {
        let cases = [
            ("af_bella", mix(&[("af_bella", 1.0)])),
            ("af_bella(2)+af_sky(1)", mix(&[("af_bella", 2.0), ("af_sky", 1.0)])),
            (" af_bella ( 2.5 ) + af_sky ", mix(&[("af_bella", 2.5), ("af_sky", 1.0)])),
            ("af_sarah.4+af_nicole.6", mix(&[("af_sarah", 0.4), ("af_nicole", 0.6)])),
            ("af_sarah.25+alloy", mix(&[("af_sarah", 0.25), ("alloy", 1.0)])),
        ];
        for (text, expected) in cases {
            assert_eq!(Mix::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_mixture_is_told() {
        for (text, problem) in [
            ("", "a name is missing"),
            ("a+", "a name is missing"),
            ("a(2", "')' is missing"),
            ("a(2)b", "')' is missing"),
            ("a(x)", "a weight is no number"),
            ("a()", "a weight is no number"),
            ("a(0)", "above zero"),
            ("a(-1)", "above zero"),
            ("a(inf)", "above zero"),
            ("a(NaN)", "above zero"),
            ("etc/passwd", "is not a name"),
            ("a/b", "is not a name"),
            (&vec!["a"; 17].join("+"), "more than 16 voices"),
        ] {
            let error = Mix::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text:?} gave {error}");
        }
    }

    #[test]
    fn every_openai_name_has_a_voice_in_both_models() {
        for (alias, voice) in OPENAI {
            assert!(KOKORO.contains(&voice), "{alias}");
            assert!(BUILTIN.contains(&builtin_for(voice)));
            assert_eq!(Gender::of(builtin_for(voice)), Gender::of(voice));
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(closest("af_hart", KOKORO), Some("af_heart"));
        assert_eq!(closest("bm_gorge", KOKORO), Some("bm_george"));
        assert_eq!(closest("xyz", KOKORO), None);
    }
}

//! Voices: a style row of 256 numbers for every length of text.
//!
//! Comes from Kokoro's `voices/*.pt`, from a raw `.bin` of little-endian f32, or from a member of
//! kokoro-onnx's `voices-v1.0.bin`; goes to [`Request::style`](crate::Request::style). It does not
//! know where voices are kept nor how they are called.

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::checkpoint::Checkpoint;

/// Numbers in a style row: 128 acoustic ones, then 128 prosodic ones.
pub const STYLE_DIM: usize = 256;
/// Kokoro's voices have 510 rows.
const MAX_ROWS: usize = 4096;
/// What a file of one voice may have, with room for the wrappings.
const MAX_FILE_BYTES: u64 = (MAX_ROWS * STYLE_DIM * 4) as u64 + (1 << 20);

/// A voice: a style row for every length of text. A clone is another handle to the same rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice(Arc<[f32]>);

impl Voice {
    /// Reads the file of one voice: PyTorch's `.pt`, or raw little-endian f32 numbers.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let meta = path.metadata().map_err(Error::io("read", path))?;
        let file = path.display().to_string();
        if meta.len() > MAX_FILE_BYTES {
            return Err(Error::Limit {
                file,
                what: "size of a voice",
                found: meta.len(),
                limit: MAX_FILE_BYTES,
            });
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(&file, &bytes)
    }

    /// Reads what [`Voice::open`] reads from memory; `file` stands for it in messages.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"PK\x03\x04") {
            let checkpoint = Checkpoint::from_bytes(file, bytes.to_vec())?;
            return match checkpoint.only() {
                Some((name, _)) => Self::from_tensor(&checkpoint, &name.to_owned()),
                None => Err(Error::Voice(format!("{file} does not hold one voice"))),
            };
        }
        let (numbers, []) = bytes.as_chunks::<4>() else {
            return Err(Error::Voice(format!("{file} is cut short: it is no series of f32")));
        };
        Self::from_rows(file, numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// A tensor of a file of voices, `[n][1][256]` or `[n][256]`.
    pub(crate) fn from_tensor(checkpoint: &Checkpoint, name: &str) -> Result<Self, Error> {
        let file = checkpoint.file();
        let shape = checkpoint.shape(name).map(<[usize]>::to_vec);
        match shape.as_deref() {
            Some([n_rows, 1, STYLE_DIM] | [n_rows, STYLE_DIM]) if *n_rows <= MAX_ROWS => {
                Self::from_rows(file, checkpoint.f32(name, &shape.unwrap_or_default())?)
            }
            Some(shape) => Err(Error::Voice(format!(
                "{file}: voice {name:?} has shape {shape:?}, needed [1 to {MAX_ROWS}, 1, {STYLE_DIM}]"
            ))),
            None => Err(Error::Voice(format!("{file} has no voice {name:?}"))),
        }
    }

    /// Rows of [`STYLE_DIM`] numbers one after the other; `file` stands for them in messages.
    pub fn from_rows(file: &str, rows: Vec<f32>) -> Result<Self, Error> {
        let n_rows = rows.len() / STYLE_DIM;
        if !rows.len().is_multiple_of(STYLE_DIM) || !(1..=MAX_ROWS).contains(&n_rows) {
            return Err(Error::Voice(format!(
                "{file} has {} numbers, needed 1 to {MAX_ROWS} rows of {STYLE_DIM}",
                rows.len()
            )));
        }
        if let Some(index) = rows.iter().position(|value| !value.is_finite()) {
            let name = "voice".to_owned();
            return Err(Error::NotFinite {
                file: file.to_owned(),
                name,
                index,
                value: rows[index],
            });
        }
        Ok(Self(rows.into()))
    }

    /// How many lengths of text the voice has rows for.
    pub fn n_rows(&self) -> usize {
        self.0.len() / STYLE_DIM
    }

    /// The style row for a text of `n_tokens` tokens, padding not counted: the first row is for one
    /// token, the last for all lengths beyond.
    pub fn style(&self, n_tokens: usize) -> &[f32] {
        let row = n_tokens.saturating_sub(1).min(self.n_rows() - 1);
        &self.0[row * STYLE_DIM..][..STYLE_DIM]
    }

    /// The weighted mean of voices; weights are made to sum to one.
    ///
    /// A weight may be negative, to move away from a voice, as long as the sum is positive. All
    /// voices must have as many rows, but for those of one row, which count for every length.
    pub fn mix(parts: &[(Self, f32)]) -> Result<Self, Error> {
        if let Some((_, weight)) = parts.iter().find(|(_, weight)| !weight.is_finite()) {
            return Err(Error::Voice(format!("a voice's weight is {weight}, needed a number")));
        }
        // In f64, where no sum of f32 overflows.
        let total: f64 = parts.iter().map(|&(_, weight)| f64::from(weight)).sum();
        if total <= 0.0 {
            return Err(Error::Voice(
                "the weights of the voices do not add up to more than 0".into(),
            ));
        }
        let n_rows = parts.iter().map(|(voice, _)| voice.n_rows()).max().unwrap_or(0);
        if let Some((voice, _)) =
            parts.iter().find(|(voice, _)| ![1, n_rows].contains(&voice.n_rows()))
        {
            let found = voice.n_rows();
            return Err(Error::Voice(format!(
                "voices of {found} and {n_rows} rows cannot be mixed"
            )));
        }
        let mut rows = vec![0f64; n_rows * STYLE_DIM];
        for (voice, weight) in parts {
            let share = f64::from(*weight) / total;
            let values = voice.0.iter().cycle();
            rows.iter_mut().zip(values).for_each(|(sum, &value)| *sum += share * f64::from(value));
        }
        let rows = rows.into_iter().map(|value| value as f32).collect();
        Self::from_rows("the mixed voice", rows)
    }
}

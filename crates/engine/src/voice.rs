//! Voices: a style row of 256 numbers for every length of text.
//!
//! Comes from Kokoro's `voices/*.pt`, from a raw `.bin` of little-endian f32, or from a member of
//! kokoro-onnx's `voices-v1.0.bin`; goes to [`Request::style`](crate::Request::style). It does not
//! know where voices are kept nor how they are called.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::checkpoint::{Checkpoint, open_regular};

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
        let (file, found) = open_regular(path)?;
        let name = path.display().to_string();
        if found > MAX_FILE_BYTES {
            let (what, limit) = ("size of a voice", MAX_FILE_BYTES);
            return Err(Error::Limit { file: name, what, found, limit });
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        Self::from_bytes(&name, &bytes)
    }

    /// Reads what [`Voice::open`] reads from memory; `file` stands for it in messages.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"PK\x03\x04") {
            let checkpoint = Checkpoint::from_bytes(file, bytes.to_vec())?;
            return match checkpoint.only() {
                Some((name, _)) => Self::from_tensor(&checkpoint, name),
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn voice(n_rows: usize, value: impl Fn(usize) -> f32) -> Voice {
        Voice::from_rows("test", (0..n_rows * STYLE_DIM).map(|i| value(i / STYLE_DIM)).collect())
            .unwrap()
    }

    #[test]
    fn the_row_is_that_of_the_length_and_the_last_one_beyond() {
        let voice = voice(510, |row| row as f32);
        for (n_tokens, row) in
            [(0, 0.0), (1, 0.0), (2, 1.0), (510, 509.0), (511, 509.0), (usize::MAX, 509.0)]
        {
            assert_eq!(voice.style(n_tokens), [row; STYLE_DIM], "{n_tokens} tokens");
        }
    }

    #[test]
    fn raw_files_are_rows_of_little_endian_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("af_x.bin");
        let bytes: Vec<u8> = (0..512).flat_map(|i| (i as f32).to_le_bytes()).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Voice::open(&path).unwrap().style(2)[0], 256.0);
        for n_bytes in [0, 4, 1023, 1025, 2047] {
            std::fs::write(&path, &bytes[..n_bytes]).unwrap();
            assert!(Voice::open(&path).is_err(), "{n_bytes} bytes");
        }
        let error = Voice::open(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read"), "{error}");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(Voice::open(&path), Err(Error::Limit { .. })));
    }

    #[test]
    fn a_mix_is_the_mean_by_weight_whatever_the_weights_sum_to() {
        let (a, b) = (voice(3, |row| row as f32), voice(3, |_| 8.0));
        let mixed = Voice::mix(&[(a.clone(), 3.0), (b.clone(), 1.0)]).unwrap();
        assert_eq!(mixed.style(3)[7], 2.0 * 0.75 + 8.0 * 0.25);
        assert_eq!(Voice::mix(&[(a.clone(), 0.3), (b, 0.1)]).unwrap().style(3)[7], 3.5);
        assert_eq!(Voice::mix(&[(a.clone(), 1e-30)]).unwrap(), a);
        assert_eq!(Voice::mix(&[(a.clone(), f32::MAX), (a.clone(), f32::MAX)]).unwrap(), a);
    }

    #[test]
    fn a_voice_of_one_row_joins_a_mix_at_every_length() {
        let mixed =
            Voice::mix(&[(voice(4, |row| row as f32), 1.0), (voice(1, |_| 2.0), 1.0)]).unwrap();
        assert_eq!([1, 2, 3, 4].map(|n| mixed.style(n)[0]), [1.0, 1.5, 2.0, 2.5]);
        assert!(Voice::mix(&[(voice(4, |_| 0.0), 1.0), (voice(2, |_| 0.0), 1.0)]).is_err());
    }

    #[test]
    fn weights_that_make_no_mean_are_refused() {
        let v = || voice(1, |_| 1.0);
        assert!(Voice::mix(&[]).is_err());
        for weights in [[0.0, 0.0], [1.0, -1.0], [1.0, -2.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]]
        {
            assert!(Voice::mix(&[(v(), weights[0]), (v(), weights[1])]).is_err(), "{weights:?}");
        }
        // The sum is tiny, the share is not: no infinite numbers come out.
        let far = voice(1, |_| f32::MAX);
        assert!(Voice::mix(&[(far, 1e30), (v(), -1e30 + 1e23)]).is_err());
    }

    #[test]
    fn rows_must_be_finite() {
        let mut rows = vec![0.0; STYLE_DIM];
        rows[200] = f32::NAN;
        let error = Voice::from_rows("af_x.bin", rows).unwrap_err().to_string();
        assert!(error.contains("af_x.bin") && error.contains("200"), "{error}");
    }
}

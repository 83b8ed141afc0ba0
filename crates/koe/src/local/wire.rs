//! What is said over the local socket: messages of JSON, each behind its length, and samples as
//! they are in memory behind the message that announces them.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longer than any honest message: a vocabulary, or 510 tokens.
const MAX_MESSAGE_BYTES: u32 = 1 << 20;
/// Longer than the engine makes at once.
const MAX_SAMPLES: usize = koe_engine::MAX_FRAMES * koe_engine::FRAME_SAMPLES;

/// From the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The first message: who asks, and for which voice.
    Hello(Hello),
    /// Speak.
    Speak { tokens: Vec<u16>, speed: f32, seed: u64 },
    /// Stop the server, if it is one that was started for such commands alone.
    Stop,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Of the program: another one may speak otherwise.
    pub(super) version: String,
    /// Of the model, precision included.
    pub(super) model: String,
    /// Instructions to compute with.
    pub(super) isa: String,
    /// Names and weights; none for the model's default.
    pub(super) mix: Option<Vec<(String, f32)>>,
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// To [`Hello`]: what the command must know of the model and the voice.
    Welcome(Welcome),
    /// To anything: no, and why. Nothing follows.
    No(String),
    /// To [`Ask::Speak`]: so many samples follow.
    Sound { frames: Vec<u32>, n_samples: usize },
    /// To [`Ask::Speak`]: the engine failed.
    Failed(String),
    /// To [`Ask::Stop`].
    Stopping,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// The token of every symbol.
    pub(super) vocabulary: Vec<(char, u16)>,
    pub(super) gain: f32,
    /// Whether the voice speaks British English, if its name tells which.
    pub(super) british: Option<bool>,
    pub(super) names: Vec<String>,
    /// How texts are cut for this machine: the wish for the first chunk in symbols, and its growth.
    pub(super) ramp: (usize, f32),
    /// What the server's log said of the model.
    pub(super) warnings: Vec<String>,
}

pub(super) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let n_bytes = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut bytes = n_bytes.to_le_bytes().to_vec();
    bytes.extend(json);
    to.write_all(&bytes)
}

pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let n_bytes = u32::from_le_bytes(length);
    if n_bytes > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message too long"));
    }
    let mut json = vec![0; n_bytes as usize];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

pub(super) fn send_samples(to: &mut impl Write, samples: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(samples.len() * 4);
    samples.iter().for_each(|sample| bytes.extend(sample.to_le_bytes()));
    to.write_all(&bytes)
}

pub(super) fn receive_samples(
    from: &mut impl Read,
    n_samples: usize,
    samples: &mut Vec<f32>,
) -> io::Result<()> {
    if n_samples > MAX_SAMPLES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more samples than can be"));
    }
    let mut bytes = vec![0; n_samples * 4];
    from.read_exact(&mut bytes)?;
    samples.clear();
    let numbers = bytes.chunks_exact(4).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
    samples.extend(numbers.map(f32::from_le_bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_samples_arrive_as_they_were_sent() {
        let hello = Hello {
            version: "1".to_owned(),
            model: "m".to_owned(),
            isa: "avx512".to_owned(),
            mix: Some(vec![("af_slt".to_owned(), 0.1)]),
        };
        let samples = [0.1f32, -0.0, f32::MIN_POSITIVE, 1.0];
        let mut bytes = Vec::new();
        send(&mut bytes, &hello).unwrap();
        send_samples(&mut bytes, &samples).unwrap();
        let mut from = &bytes[..];
        assert_eq!(receive::<Hello>(&mut from).unwrap(), hello);
        let mut received = Vec::new();
        receive_samples(&mut from, 4, &mut received).unwrap();
        assert_eq!(received.map_bits(), samples.to_vec().map_bits());
    }

    trait Bits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl Bits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|x| x.to_bits()).collect()
        }
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused_before_memory_is_taken() {
        assert!(receive::<Ask>(&mut &[0xff, 0xff, 0xff, 0xff, 1][..]).is_err());
        assert!(receive::<Ask>(&mut &[2, 0, 0, 0, b'{', b'}'][..]).is_err());
        assert!(receive::<Ask>(&mut &[9, 0, 0, 0, b'{'][..]).is_err());
        assert!(receive_samples(&mut &[][..], usize::MAX, &mut Vec::new()).is_err());
    }
}

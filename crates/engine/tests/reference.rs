//! The engine against what PyTorch computes with the same checkpoint, layer by layer, so that the
//! first stage to fail is the culprit. The tensors come with the built-in voice.

use koe_engine::trace::{Drive, Trace};
use koe_engine::{Isa, Model, Precision, Request, Session};
use safetensors::SafeTensors;

/// `‖a - b‖ / ‖b‖` that a stage may have.
const RELATIVE_ERROR: f64 = 1e-4;
/// The waveform's greatest error, where full scale is 1.
const WAVEFORM_ERROR: f32 = 1e-3;

const CASES: [(&str, f32); 3] = [("hi", 1.0), ("hello", 1.0), ("question", 1.2)];

struct Reference(Vec<u8>);

impl Reference {
    fn open(case: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/builtin/reference");
        Self(std::fs::read(format!("{folder}/{case}.safetensors")).unwrap())
    }

    /// Numbers and shape of a tensor.
    fn tensor(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
        let (numbers, _) = view.data().as_chunks::<4>();
        (numbers.iter().map(|&b| f32::from_le_bytes(b)).collect(), view.shape().to_vec())
    }

    fn integers(&self, name: &str) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::I32, "{name}");
        let (numbers, _) = view.data().as_chunks::<4>();
        numbers.iter().map(|&b| i32::from_le_bytes(b).try_into().unwrap()).collect()
    }
}

fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let error: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = b.iter().map(|&b| square(f64::from(b))).sum();
    (error / size).sqrt()
}

/// The reference's stages in order; those of shape `[C, T]` are turned to the engine's `[T][C]`.
fn check(reference: &Reference, trace: &Trace, isa: Isa) {
    const TRANSPOSED: [&str; 2] = ["text", "decoder_features"];
    for name in ["bert", "prosody_text", "duration", "f0", "n", "text", "decoder_features"] {
        let (mut expected, shape) = reference.tensor(name);
        if TRANSPOSED.contains(&name) {
            let (c, t) = (shape[0], shape[1]);
            expected = (0..t * c).map(|i| expected[i % c * t + i / c]).collect();
        }
        let stage = trace.stage(name).unwrap();
        let error = relative_error(&stage.values, &expected);
        assert!(error <= RELATIVE_ERROR, "{name} on {isa:?}: relative error {error:.2e}");
        if name == "duration" {
            assert_eq!(trace.frames, reference.integers("frames"), "frames on {isa:?}");
        }
    }
    let (expected, _) = reference.tensor("waveform");
    let waveform = &trace.stage("waveform").unwrap().values;
    assert_eq!(waveform.len(), expected.len());
    let worst = waveform.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= WAVEFORM_ERROR, "waveform on {isa:?}: error {worst:.2e}");
}

#[test]
fn every_stage_matches_the_reference_on_every_instruction_set() {
    let model = Model::builtin_in(Precision::F32).unwrap();
    for &isa in Isa::available() {
        for (case, speed) in CASES {
            let reference = Reference::open(case);
            let ids = reference.integers("tokens");
            let tokens: Vec<u16> =
                ids[1..ids.len() - 1].iter().map(|&id| id.try_into().unwrap()).collect();
            let (style, _) = reference.tensor("style");
            let (source, _) = reference.tensor("source");
            let request = Request { tokens: &tokens, style: &style, speed, seed: 0 };
            let mut session = Session::with_isa(&model, 2, isa);
            let trace = session.trace(&request, Drive::Source(&source)).unwrap();
            check(&reference, &trace, isa);
        }
    }
}

//! Checkpoints as they should be; `hostile` has them as an attacker or a bad disk would.
//!
//! Files made by PyTorch and NumPy come from `tests/data` (see `make_torch_files.py` there); hostile
//! ones are built byte by byte in `forge`.

mod forge;
mod hostile;

use super::*;
use crate::Voice;
use forge::*;

const PTH: &[u8] = include_bytes!("../../../tests/data/tiny.pth");
const PT: &[u8] = include_bytes!("../../../tests/data/tiny.pt");
const NPZ: &[u8] = include_bytes!("../../../tests/data/tiny.npz");
const DEFLATED: &[u8] = include_bytes!("../../../tests/data/tiny-deflated.npz");
const BUILTIN: &[u8] = include_bytes!("../../../assets/builtin/model.safetensors");

fn open(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Checkpoint, Error> {
    Checkpoint::from_bytes("test", bytes)
}

/// The message of opening and then reading every tensor.
fn complaint(bytes: impl Into<Cow<'static, [u8]>>) -> String {
    match read_all(bytes) {
        Ok(_) => "no complaint".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn read_all(bytes: impl Into<Cow<'static, [u8]>>) -> Result<usize, Error> {
    let checkpoint = open(bytes)?;
    let mut n_numbers = 0;
    for name in checkpoint.names() {
        let shape = checkpoint.shape(name).unwrap().to_vec();
        n_numbers += checkpoint.f32(name, &shape)?.len();
    }
    Ok(n_numbers)
}

/// What `ramp` of `make_torch_files.py` gives.
fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 / 8.0 - 1.0).collect()
}

#[test]
fn reads_what_pytorch_wrote() {
    let checkpoint = open(PTH).unwrap();
    assert_eq!(checkpoint.f32("bert.weight", &[2, 3]).unwrap(), ramp(6));
    assert_eq!(checkpoint.f32("bert.module.bias", &[2]).unwrap(), ramp(2));
    assert_eq!(checkpoint.f32("decoder.half", &[3, 4]).unwrap(), ramp(12));
    assert_eq!(checkpoint.f32("decoder.brain", &[3, 4]).unwrap(), ramp(12));
    let transposed: Vec<f32> = (0..12).map(|i| ramp(12)[i % 3 * 4 + i / 3]).collect();
    assert_eq!(checkpoint.f32("decoder.transposed", &[4, 3]).unwrap(), transposed);
    assert_eq!(checkpoint.f32("decoder.first", &[5]).unwrap(), ramp(12)[..5]);
    assert_eq!(checkpoint.f32("decoder.second", &[1, 7]).unwrap(), ramp(12)[5..]);
}

#[test]
fn folds_both_forms_of_weight_norm_as_pytorch_does() {
    let checkpoint = open(PTH).unwrap();
    assert!(checkpoint.has("decoder.weight"));
    assert_eq!(checkpoint.shape("predictor.weight"), Some(&[4, 3, 5][..]));
    let old = checkpoint.f32("decoder.weight", &[4, 3, 5]).unwrap();
    let new = checkpoint.f32("predictor.weight", &[4, 3, 5]).unwrap();
    assert_eq!(old, new);
    // Printed by make_torch_files.py.
    for (at, torch) in
        [(0, -0.4629315733909607), (17, 0.17908115684986115), (59, 0.40943995118141174)]
    {
        let error = (old[at] - torch as f32).abs();
        assert!(error <= 2.0 * f32::EPSILON * old[at].abs(), "{} is not {torch}", old[at]);
    }
}

#[test]
fn a_direction_of_zero_is_an_error_not_noise() {
    let bytes = safetensors_file(&[
        ("d.x.weight_g", "F32", &[1, 1, 1], &f32_bytes(&[2.0])),
        ("d.x.weight_v", "F32", &[1, 2, 1], &f32_bytes(&[0.0, 0.0])),
    ]);
    let error = open(bytes).unwrap().f32("d.x.weight", &[1, 2, 1]).unwrap_err().to_string();
    let named = "tensor d.x.weight (made of d.x.weight_g and d.x.weight_v) holds NaN";
    assert!(error.contains(named), "{error}");
}

#[test]
fn every_tensor_of_the_built_in_model_is_finite() {
    assert!(read_all(BUILTIN).unwrap() > 3_000_000);
}

#[test]
fn says_what_is_missing_misshapen_or_not_weights() {
    let checkpoint = open(PTH).unwrap();
    let complain = |name, shape: &[usize]| checkpoint.f32(name, shape).unwrap_err().to_string();
    assert_eq!(
        complain("bert.absent", &[2, 3]),
        "test has no tensor bert.absent, needed with shape [2, 3]"
    );
    assert_eq!(
        complain("bert.weight", &[3, 2]),
        "test: tensor bert.weight has shape [2, 3], needed [3, 2]"
    );
    assert!(complain("decoder.weight", &[4, 15]).contains("[4, 3, 5]"));
    assert!(complain("decoder.count", &[]).contains("int64"));
    assert!(!checkpoint.has("bert.absent") && checkpoint.shape("").is_none());
}

#[test]
fn numbers_that_are_none_are_an_error_in_every_type() {
    let nan_f16 = half::f16::NAN.to_le_bytes();
    let inf_bf16 = half::bf16::INFINITY.to_le_bytes();
    let huge_bf16 = half::bf16::from_f32(1e38).to_le_bytes();
    let cases: [(&str, &[u8]); 6] = [
        ("F32", &f32::NEG_INFINITY.to_le_bytes()),
        ("F16", &nan_f16),
        ("BF16", &inf_bf16),
        // Finite, but what is computed from it is not.
        ("F32", &1e38_f32.to_le_bytes()),
        ("F32", &(-2e18_f32).to_le_bytes()),
        ("BF16", &huge_bf16),
    ];
    for (dtype, bytes) in cases {
        let error = complaint(safetensors_file(&[("a", dtype, &[1], bytes)]));
        assert!(error.contains("tensor a holds"), "{dtype}: {error}");
    }
}

#[test]
fn reads_stored_and_compressed_voices_of_numpy() {
    for bytes in [NPZ, DEFLATED] {
        let voices = open(bytes).unwrap();
        assert_eq!(voices.names().collect::<Vec<_>>(), ["af_one", "bm_two"]);
        let voice = Voice::from_tensor(&voices, "af_one").unwrap();
        assert_eq!(voice.style(2)[..2], [ramp(258)[256] / 32.0, ramp(258)[257] / 32.0]);
        let error = Voice::from_tensor(&voices, "af_none").unwrap_err().to_string();
        assert_eq!(error, "test has no voice \"af_none\"");
    }
}

#[test]
fn a_bare_tensor_is_a_voice() {
    let voice = Voice::from_bytes("tiny.pt", PT).unwrap();
    assert_eq!(voice.n_rows(), 3);
    assert_eq!(voice.style(3)[255], ramp(768)[767] / 32.0);
}

#[test]
fn finds_the_weights_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let error = weights_file(folder.path()).unwrap_err().to_string();
    assert!(error.contains("looked for kokoro-v1_0.pth"), "{error}");
    std::fs::write(folder.path().join("mine.pth"), PTH).unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().has("bert.weight"));
    std::fs::write(folder.path().join("other.safetensors"), PTH).unwrap();
    assert!(weights_file(folder.path()).unwrap_err().to_string().contains("several"));
    std::fs::write(folder.path().join("kokoro-v1_0.pth"), PTH).unwrap();
    assert!(Checkpoint::open(folder.path()).unwrap().file().ends_with("kokoro-v1_0.pth"));
}

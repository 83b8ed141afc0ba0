//! NumPy's `.npz`: a ZIP archive of `.npy` arrays, as kokoro-onnx ships its voices.
//!
//! Format: NumPy NEP 1, versions 1 to 3 of the array header. Only little-endian floating point
//! arrays in C order are read.

use super::zip::Member;
use super::{Dtype, Problem, Source, Tensor, Tensors};

/// A header is padded to 64 bytes; NumPy itself refuses to read ones beyond 10,000.
const MAX_HEADER_BYTES: u64 = 10_000;
const MAX_DIMS: usize = 8;

pub(super) fn read(source: &Source, members: &[Member]) -> Result<Tensors, Problem> {
    let mut tensors = Tensors::new();
    for member in members {
        let Some(name) = member.name.strip_suffix(".npy") else {
            return Err(Problem::malformed(format!(
                "a zip archive with {:?}, neither PyTorch's nor NumPy's",
                member.name
            )));
        };
        let mut record = member.record.clone();
        let start = record.read_start(source, 12 + MAX_HEADER_BYTES)?;
        let header = parse(&start).ok_or_else(|| {
            Problem::malformed(format!("array {name:?} is not a little-endian one in C order"))
        })?;
        record.head_bytes = header.n_bytes;
        let n_elements = header.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let n_bytes = n_elements.and_then(|n| n.checked_mul(header.dtype.n_bytes()));
        let needed = n_bytes.and_then(|n| header.n_bytes.checked_add(n as u64));
        if needed != Some(record.bytes) {
            return Err(Problem::malformed(format!(
                "array {name:?} has {} bytes, which does not fit its shape {:?}",
                record.bytes, header.shape
            )));
        }
        let tensor = Tensor::contiguous(header.dtype, header.shape, 0, record);
        super::insert(&mut tensors, name, tensor)?;
    }
    Ok(tensors)
}

struct Header {
    dtype: Dtype,
    shape: Vec<usize>,
    /// From the start of the member to the first number.
    n_bytes: u64,
}

/// `\x93NUMPY`, version, length, then a Python dictionary such as
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (510, 1, 256), }`.
fn parse(bytes: &[u8]) -> Option<Header> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _minor], rest) = rest.split_first_chunk()?;
    let (n_text, rest) = match major {
        1 => {
            let (n, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*n)), rest)
        }
        2 | 3 => {
            let (n, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*n) as usize, rest)
        }
        _ => return None,
    };
    let text = std::str::from_utf8(rest.get(..n_text)?).ok()?;
    let n_bytes = (bytes.len() - rest.len() + n_text) as u64;
    let value = |key: &str| {
        let (_, after) = text.split_once(&format!("'{key}':"))?;
        Some(after.trim_start())
    };
    let dtype = match value("descr")?.strip_prefix('\'')?.split_once('\'')?.0 {
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        _ => return None,
    };
    if !value("fortran_order")?.starts_with("False") {
        return None;
    }
    let shape = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
    (shape.len() <= MAX_DIMS).then_some(Header { dtype, shape, n_bytes })
}

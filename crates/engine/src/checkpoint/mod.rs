//! A checkpoint: named tensors in a file that came from somewhere else, read with suspicion.
//!
//! Reads `kokoro-v1_0.pth` and voices `*.pt` (PyTorch, without Python), safetensors, and NumPy's
//! `.npz`. Opening reads only tables; every tensor is read, checked and turned into f32 when it is
//! asked for. It does not know which tensors the network has, nor how kernels want them laid out:
//! the network asks for names and shapes, and writes what it makes of them to a [pack](crate::pack).
//!
//! Nothing that a file says is believed before it is checked, and no memory is taken that the size
//! of the file does not justify.

mod npz;
mod pickle;
mod safetensors;
mod source;
#[cfg(test)]
mod tests;
mod torch;
mod zip;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Error;
use source::Source;
pub(crate) use source::open_regular;

/// The square of a larger number is beyond f32, and what is computed from it no number. Those of
/// honest checkpoints are below a thousand.
const MAX_MAGNITUDE: f32 = 1e18;
/// The largest compressed member that is unpacked: 27 times a voice of Kokoro.
const MAX_INFLATED_BYTES: u64 = 16 << 20;
/// The weights of a checkpoint folder, the first that is there.
const WEIGHT_FILES: [&str; 4] =
    ["kokoro-v1_0.pth", "kokoro-v1_0.safetensors", "model.safetensors", "model.pth"];

type Tensors = BTreeMap<String, Tensor>;

/// Named tensors of one file, all readable as f32.
///
/// Names are `<part>.<key>` as in `predictor.lstm.weight_ih_l0`; the `module.` that PyTorch's
/// data-parallel wrapper puts before keys is dropped, in the file and in questions.
pub(crate) struct Checkpoint {
    /// For messages.
    file: String,
    source: Source,
    tensors: Tensors,
}

impl Checkpoint {
    /// Opens a file, or the weights in a folder (see [`weights_file`]). The kind of the file is
    /// told by its content, not by its name.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { weights_file(path)? } else { path.to_owned() };
        Self::read(path.display().to_string(), Source::open(&path)?)
    }

    /// Opens what is compiled in.
    pub(crate) fn from_static(bytes: &'static [u8]) -> Result<Self, Error> {
        Self::from_bytes("the built-in model", bytes)
    }

    /// Opens what is in memory; `file` stands for it in messages.
    pub(crate) fn from_bytes(
        file: &str,
        bytes: impl Into<Cow<'static, [u8]>>,
    ) -> Result<Self, Error> {
        Self::read(file.to_owned(), Source::memory(bytes))
    }

    fn read(file: String, source: Source) -> Result<Self, Error> {
        match read_tables(&source) {
            Ok(tensors) => Ok(Self { file, source, tensors }),
            Err(problem) => Err(problem.in_file(&file)),
        }
    }

    /// What stands for the file in messages.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Whether [`Checkpoint::f32`] would find this name, folded weight norm included.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// The shape of a tensor, or of the weight that folding makes.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        let name = plain_name(name);
        let tensor = self.tensors.get(&*name).or_else(|| Some(self.norm_parts(&name)?.1.1));
        tensor.map(|tensor| &tensor.shape[..])
    }

    /// The names as they are in the file, `module.` dropped, in alphabetical order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor as contiguous row-major f32; it must have this shape, and hold finite numbers no
    /// larger than [`MAX_MAGNITUDE`].
    ///
    /// If there is no `x.weight` but the two halves of weight norm, `x.weight_g` and `x.weight_v`
    /// or `x.parametrizations.weight.original0` and `…1`, this is `g · v / |v|` with the norm taken
    /// over all dimensions but the first, as `torch.nn.utils.weight_norm` has it.
    pub(crate) fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let name = plain_name(name);
        if let Some(tensor) = self.tensors.get(&*name) {
            return self.read_tensor(&name, tensor, shape);
        }
        let Some(((g_name, g), (v_name, v))) = self.norm_parts(&name) else {
            let (name, needed) = (name.into_owned(), shape.to_vec());
            return Err(Error::MissingTensor { file: self.file.clone(), name, needed });
        };
        let mut weight = self.read_tensor(&v_name, v, shape)?;
        // PyTorch keeps g as [n, 1, 1]; [n] means the same.
        let n_rows = shape.first().copied().unwrap_or(1);
        let mut g_shape = vec![1; shape.len()];
        if let Some(first) = g_shape.first_mut() {
            *first = n_rows;
        }
        if g.shape == [n_rows] {
            g_shape.truncate(1);
        }
        let g = self.read_tensor(&g_name, g, &g_shape)?;
        fold_weight_norm(&mut weight, &g);
        self.finite(&format!("{name} (made of {g_name} and {v_name})"), weight)
    }

    /// The one tensor of a file that holds nothing else, such as a voice.
    pub(crate) fn only(&self) -> Option<(&str, &[usize])> {
        let mut tensors = self.tensors.iter();
        match (tensors.next(), tensors.next()) {
            (Some((name, tensor)), None) => Some((name, &tensor.shape)),
            _ => None,
        }
    }

    /// The magnitude and direction of weight norm, with their names, that stand for a weight.
    #[expect(clippy::type_complexity, reason = "two pairs of a name and a tensor")]
    fn norm_parts(&self, name: &str) -> Option<((String, &Tensor), (String, &Tensor))> {
        let base = name.strip_suffix("weight").filter(|base| base.ends_with('.'))?;
        let pairs = [
            ("weight_g", "weight_v"),
            ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ];
        pairs.into_iter().find_map(|(g, v)| {
            let (g, v) = (format!("{base}{g}"), format!("{base}{v}"));
            let (g_tensor, v_tensor) = (self.tensors.get(&g)?, self.tensors.get(&v)?);
            Some(((g, g_tensor), (v, v_tensor)))
        })
    }

    fn read_tensor(&self, name: &str, tensor: &Tensor, shape: &[usize]) -> Result<Vec<f32>, Error> {
        if tensor.shape != shape {
            return Err(Error::WrongShape {
                file: self.file.clone(),
                name: name.to_owned(),
                needed: shape.to_vec(),
                found: tensor.shape.clone(),
            });
        }
        if let Dtype::Other(found, _) = tensor.dtype {
            return Err(Error::WrongType { file: self.file.clone(), name: name.to_owned(), found });
        }
        let values =
            tensor.read(&self.source).map_err(|problem| problem.in_tensor(&self.file, name))?;
        self.finite(name, values)
    }

    fn finite(&self, name: &str, values: Vec<f32>) -> Result<Vec<f32>, Error> {
        let is_sound = |value: &f32| value.abs() <= MAX_MAGNITUDE;
        match values.iter().position(|value| !is_sound(value)) {
            None => Ok(values),
            Some(index) => Err(Error::NotFinite {
                file: self.file.clone(),
                name: name.to_owned(),
                index,
                value: values[index],
            }),
        }
    }
}

/// The weights in a checkpoint folder: `kokoro-v1_0.pth`, or a file of another usual name, or else
/// the only `.pth` or `.safetensors` there.
pub(crate) fn weights_file(folder: &Path) -> Result<PathBuf, Error> {
    if let Some(path) =
        WEIGHT_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
    {
        return Ok(path);
    }
    let entries = folder.read_dir().map_err(Error::io("read", folder))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "pth" || end == "safetensors"))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (None, _) => Err(Error::NoWeights {
            folder: folder.to_owned(),
            problem: format!("no weights here, looked for {}", WEIGHT_FILES[0]),
        }),
        (Some(_), false) => Err(Error::NoWeights {
            folder: folder.to_owned(),
            problem: format!("several weight files here, name one {}", WEIGHT_FILES[0]),
        }),
    }
}

fn read_tables(source: &Source) -> Result<Tensors, Problem> {
    if *source.read(0, source.len().min(4))? != *b"PK\x03\x04" {
        return match source.len() {
            0..8 => Err(Problem::malformed("neither PyTorch's format nor safetensors")),
            _ => safetensors::read(source),
        };
    }
    let members = zip::members(source)?;
    match torch::folder(&members) {
        Some(folder) => torch::read(source, &members, folder),
        None => npz::read(source, &members),
    }
}

/// Names without the `module.` of PyTorch's data-parallel wrapper.
fn plain_name(name: &str) -> Cow<'_, str> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    match name.split_once(".module.") {
        Some((part, key)) if !part.contains('.') => Cow::Owned(format!("{part}.{key}")),
        _ => Cow::Borrowed(name),
    }
}

fn insert(tensors: &mut Tensors, name: &str, tensor: Tensor) -> Result<(), Problem> {
    match tensors.insert(plain_name(name).into_owned(), tensor) {
        None => Ok(()),
        Some(_) => Err(Problem::malformed(format!("tensor {name:?} is there twice"))),
    }
}

/// `weight[i, …] *= g[i] / |weight[i, …]|`. The norm is summed in f64 and rounded once; PyTorch sums
/// in f32 lanes whose order depends on the machine, so this is within its own rounding.
fn fold_weight_norm(weight: &mut [f32], g: &[f32]) {
    let n_columns = weight.len().checked_div(g.len()).unwrap_or(0);
    if n_columns == 0 {
        return;
    }
    for (row, &g) in weight.chunks_exact_mut(n_columns).zip(g) {
        let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt() as f32;
        let scale = g / norm;
        row.iter_mut().for_each(|v| *v *= scale);
    }
}

/// How the numbers of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dtype {
    F32,
    F16,
    Bf16,
    /// Known, but not weights: its name and bytes of one number.
    Other(&'static str, usize),
}

impl Dtype {
    fn n_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_, n_bytes) => n_bytes,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::Other(name, _) => name,
        }
    }

    /// All numbers of little-endian bytes.
    fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        let (words, _) = bytes.as_chunks::<2>();
        match self {
            Self::F32 => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Self::F16 => words.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
            Self::Bf16 => words.iter().map(|&b| half::bf16::from_le_bytes(b).to_f32()).collect(),
            Self::Other(..) => Vec::new(),
        }
    }
}

/// A view on a [`Record`]; whoever makes one has checked that it lies within.
#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In elements, one for each dimension.
    strides: Vec<usize>,
    /// In elements from the start of the record.
    offset: usize,
    record: Record,
}

impl Tensor {
    fn new(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        record: Record,
    ) -> Self {
        Self { dtype, shape, strides, offset, record }
    }

    /// Row-major without gaps.
    fn contiguous(dtype: Dtype, shape: Vec<usize>, offset: usize, record: Record) -> Self {
        Self::new(dtype, shape.clone(), row_major(&shape), offset, record)
    }

    fn read(&self, source: &Source) -> Result<Vec<f32>, Problem> {
        // The whole record, as its checksum covers all of it; tensors rarely share one.
        let bytes = self.record.read(source, u64::MAX)?;
        let n_elements = self.shape.iter().product::<usize>();
        let stored = bytes.get(self.offset * self.dtype.n_bytes()..).unwrap_or_default();
        if n_elements == 0 || self.strides == row_major(&self.shape) {
            let piece = stored.get(..n_elements * self.dtype.n_bytes());
            let piece = piece.ok_or_else(|| Problem::malformed("a tensor beyond its storage"))?;
            return Ok(self.dtype.to_f32(piece));
        }
        let stored = self.dtype.to_f32(stored);
        let mut values = Vec::with_capacity(n_elements);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..n_elements {
            let at: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            values.push(stored[at]);
            for (i, &size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        Ok(values)
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim].saturating_mul(shape[dim]);
    }
    strides
}

/// A range of the file that holds numbers, or the compressed form of them.
#[derive(Clone, Debug)]
struct Record {
    start: u64,
    stored_bytes: u64,
    /// Once unpacked; the same if it is not compressed.
    bytes: u64,
    deflated: bool,
    /// Of the unpacked bytes.
    crc: Option<u32>,
    /// Unpacked bytes before the first number.
    head_bytes: u64,
}

impl Record {
    /// All of it but the head, unpacked, with its checksum compared.
    fn read<'a>(&self, source: &'a Source, limit: u64) -> Result<Cow<'a, [u8]>, Problem> {
        if self.bytes > limit {
            return Err(Problem::limit("size of a member", self.bytes, limit));
        }
        let mut bytes = source.read(self.start, self.stored_bytes)?;
        if self.deflated {
            if self.bytes > MAX_INFLATED_BYTES {
                return Err(Problem::limit("unpacked size", self.bytes, MAX_INFLATED_BYTES));
            }
            bytes = Cow::Owned(inflate(&bytes, self.bytes)?);
            if bytes.len() as u64 != self.bytes {
                return Err(Problem::malformed(
                    "a compressed member of another length than it says",
                ));
            }
        }
        if self.crc.is_some_and(|crc| crc != crc32fast::hash(&bytes)) {
            return Err(Problem::malformed(
                "damaged: its checksum does not fit, get the file again",
            ));
        }
        let head = self.head_bytes as usize;
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(head..).unwrap_or_default()),
            Cow::Owned(mut bytes) => {
                bytes.drain(..head.min(bytes.len()));
                Cow::Owned(bytes)
            }
        })
    }

    /// At most `n_bytes` from its start, unpacked, unchecked.
    fn read_start<'a>(&self, source: &'a Source, n_bytes: u64) -> Result<Cow<'a, [u8]>, Problem> {
        if !self.deflated {
            return source.read(self.start, self.stored_bytes.min(n_bytes));
        }
        // Deflate may need more bytes than it yields, but no more than a few for each block.
        let packed = source.read(self.start, self.stored_bytes.min(n_bytes + (n_bytes >> 1)))?;
        let mut start = Vec::new();
        // The input may well be cut in the middle: what came out so far is what was asked for.
        let _ =
            flate2::read::DeflateDecoder::new(&packed[..]).take(n_bytes).read_to_end(&mut start);
        Ok(Cow::Owned(start))
    }
}

/// At most one byte more than `n_bytes` comes out, whatever goes in.
fn inflate(packed: &[u8], n_bytes: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    flate2::read::DeflateDecoder::new(packed)
        .take(n_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::malformed(format!("a damaged compressed member: {error}")))?;
    Ok(bytes)
}

/// What is wrong with a file, before its name is put to it.
#[derive(Debug)]
enum Problem {
    Malformed(String),
    Limit { what: &'static str, found: u64, limit: u64 },
    Io(std::io::Error),
}

impl Problem {
    fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }

    fn limit(what: &'static str, found: u64, limit: u64) -> Self {
        Self::Limit { what, found, limit }
    }

    fn in_file(self, file: &str) -> Error {
        match self {
            Self::Malformed(problem) => Error::Malformed { file: file.to_owned(), problem },
            Self::Limit { what, found, limit } => {
                Error::Limit { file: file.to_owned(), what, found, limit }
            }
            Self::Io(source) => Error::Io { action: "read", path: file.into(), source },
        }
    }

    fn in_tensor(self, file: &str, name: &str) -> Error {
        match self {
            Self::Malformed(problem) => Self::Malformed(format!("tensor {name}: {problem}")),
            other => other,
        }
        .in_file(file)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

//! PyTorch files: a ZIP archive of one pickle and the storages it refers to.
//!
//! `kokoro-v1_0.pth` is `{bert, bert_encoder, predictor, decoder, text_encoder}`, each a state
//! dictionary; nested names are joined with dots. A voice is a bare tensor, whose name is empty.

use std::collections::HashMap;

use super::pickle::{self, Idx, Node, Pickled};
use super::zip::Member;
use super::{Problem, Record, Source, Tensor, Tensors};

/// Kokoro's own is below 200 kB.
const MAX_PICKLE_BYTES: u64 = 16 << 20;
/// Kokoro has 5 parts of dictionaries: two levels.
const MAX_DEPTH: usize = 8;
const MAX_TENSORS: usize = 16_384;
const MAX_NAME_BYTES: usize = 512;
/// Steps of the walk, as one small dictionary may be referred to from very many places.
const MAX_VISITS: usize = 1 << 18;

/// The folder within the archive that holds a pickle, if the archive is PyTorch's.
pub(super) fn folder(members: &[Member]) -> Option<&str> {
    members.iter().find_map(|member| match member.name.strip_suffix("data.pkl")? {
        folder if folder.ends_with('/') => Some(folder),
        _ => None,
    })
}

pub(super) fn read(source: &Source, members: &[Member], folder: &str) -> Result<Tensors, Problem> {
    let records: HashMap<&str, &Record> = members
        .iter()
        .filter_map(|member| Some((member.name.strip_prefix(folder)?, &member.record)))
        .collect();
    if let Some(member) = members.iter().find(|member| member.record.deflated) {
        // PyTorch never compresses, so this was made or changed by something else.
        return Err(Problem::malformed(format!(
            "zip member {:?} is compressed, which PyTorch files never are",
            member.name
        )));
    }
    if let Some(record) = records.get("byteorder")
        && *record.read(source, 16)? != *b"little"
    {
        return Err(Problem::malformed("its numbers are not little-endian"));
    }
    let record = records.get("data.pkl").ok_or_else(|| Problem::malformed("it has no data.pkl"))?;
    let pickle = record.read(source, MAX_PICKLE_BYTES)?;
    let pickled = pickle::read(&pickle)?;
    let mut walk = Walk { pickled: &pickled, records, tensors: Tensors::new(), n_visits: 0 };
    walk.visit(pickled.root, &mut String::new(), 0)?;
    Ok(walk.tensors)
}

struct Walk<'a> {
    pickled: &'a Pickled<'a>,
    records: HashMap<&'a str, &'a Record>,
    tensors: Tensors,
    n_visits: usize,
}

impl Walk<'_> {
    fn visit(&mut self, idx: Idx, name: &mut String, depth: usize) -> Result<(), Problem> {
        let limits = [
            ("number of pickled values", self.n_visits, MAX_VISITS),
            ("number of tensors", self.tensors.len(), MAX_TENSORS),
            ("nesting of dictionaries", depth, MAX_DEPTH),
            ("length of a tensor's name", name.len(), MAX_NAME_BYTES),
        ];
        for (what, found, limit) in limits {
            if found > limit {
                return Err(Problem::limit(what, found as u64, limit as u64));
            }
        }
        self.n_visits += 1;
        match self.pickled.node(idx) {
            Node::Dict(entries) => {
                for &(key, value) in entries {
                    let Node::Text(key) = self.pickled.node(key) else {
                        return Err(Problem::malformed("a dictionary key that is no text"));
                    };
                    let n_bytes = name.len();
                    if depth > 0 {
                        name.push('.');
                    }
                    name.push_str(key);
                    self.visit(value, name, depth + 1)?;
                    name.truncate(n_bytes);
                }
                Ok(())
            }
            Node::Tensor(tensor) => {
                let tensor = self.locate(tensor)?;
                super::insert(&mut self.tensors, name, tensor)
            }
            // Numbers and flags beside the tensors carry no weights.
            Node::Scalar | Node::Int(_) | Node::Text(_) => Ok(()),
            Node::Tuple(_) | Node::Global(_) | Node::Storage(_) => {
                Err(Problem::malformed(format!("{name:?} is neither a tensor nor a dictionary")))
            }
        }
    }

    fn locate(&self, tensor: &pickle::Tensor<'_>) -> Result<Tensor, Problem> {
        let storage = &tensor.storage;
        let member = format!("data/{}", storage.key);
        let record = self.records.get(member.as_str());
        let record = *record.ok_or_else(|| {
            Problem::malformed(format!("its storage {:?} is missing", storage.key))
        })?;
        let n_bytes = storage.n_elements.checked_mul(storage.dtype.n_bytes() as u64);
        if n_bytes != Some(record.bytes) {
            return Err(Problem::malformed(format!(
                "its storage {:?} has {} bytes, which is not {} numbers of type {}",
                storage.key,
                record.bytes,
                storage.n_elements,
                storage.dtype.name()
            )));
        }
        Ok(Tensor::new(
            storage.dtype,
            tensor.shape.clone(),
            tensor.strides.clone(),
            tensor.offset,
            record.clone(),
        ))
    }
}

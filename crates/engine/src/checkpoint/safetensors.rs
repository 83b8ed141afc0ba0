//! safetensors: a JSON table of names, types, shapes and ranges, then the numbers.
//!
//! The table is read and checked (ranges in order, without gaps, fitting their shapes, up to the
//! end of the file) by the crate of the same name.

use ::safetensors::tensor::{Dtype as FileDtype, Metadata};

use super::{Dtype, Problem, Record, Source, Tensor, Tensors};

/// Kokoro's table has 60 kB; the crate itself would accept 100 MB.
const MAX_TABLE_BYTES: u64 = 16 << 20;

pub(super) fn read(source: &Source) -> Result<Tensors, Problem> {
    let start = source.read(0, 8)?;
    let n_table = start.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    if n_table > MAX_TABLE_BYTES {
        return Err(Problem::limit("size of the safetensors table", n_table, MAX_TABLE_BYTES));
    }
    let first = 8 + n_table;
    let table = source.read(8, n_table)?;
    // The crate's own `deserialize` would want the whole file in memory.
    let table: Metadata = serde_json::from_slice(&table)
        .map_err(|error| Problem::malformed(format!("its safetensors table: {error}")))?;
    if first.checked_add(table.data_len() as u64) != Some(source.len()) {
        return Err(Problem::malformed("cut short or extended: its length does not fit its table"));
    }
    let mut tensors = Tensors::new();
    for (name, info) in table.tensors() {
        let (start, end) = info.data_offsets;
        let dtype = match info.dtype {
            FileDtype::F32 => Dtype::F32,
            FileDtype::F16 => Dtype::F16,
            FileDtype::BF16 => Dtype::Bf16,
            FileDtype::F64 => Dtype::Other("float64", 8),
            FileDtype::I64 => Dtype::Other("int64", 8),
            _ => Dtype::Other("neither float nor int64", 1),
        };
        let n_bytes = (end - start) as u64;
        let record = Record {
            start: first + start as u64,
            stored_bytes: n_bytes,
            bytes: n_bytes,
            deflated: false,
            crc: None,
            head_bytes: 0,
        };
        let tensor = Tensor::contiguous(dtype, info.shape.clone(), 0, record);
        super::insert(&mut tensors, &name, tensor)?;
    }
    Ok(tensors)
}

//! Writes files as they should not be: archives, pickles and tables that lie where they are told.

use std::fmt::Write as _;

#[derive(Clone)]
pub(super) struct ZipMember {
    pub(super) name: String,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) local_method: u16,
    pub(super) crc: u32,
    pub(super) stored_bytes: u32,
    pub(super) bytes: u32,
    pub(super) local: u32,
    pub(super) in_zip64: bool,
}

#[derive(Default)]
pub(super) struct Zip {
    bytes: Vec<u8>,
    members: Vec<ZipMember>,
}

impl Zip {
    /// Adds a stored member; `change` falsifies what the headers say of it.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8], change: impl FnOnce(&mut ZipMember)) {
        let mut member = ZipMember {
            name: name.to_owned(),
            flags: 0,
            method: 0,
            local_method: 0,
            crc: crc32fast::hash(bytes),
            stored_bytes: bytes.len() as u32,
            bytes: bytes.len() as u32,
            local: self.bytes.len() as u32,
            in_zip64: false,
        };
        change(&mut member);
        self.bytes.extend(b"PK\x03\x04\x14\0\0\0");
        self.bytes.extend(member.local_method.to_le_bytes());
        self.bytes.extend([0; 16]);
        self.bytes.extend((name.len() as u16).to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(bytes);
        self.members.push(member);
    }

    fn table(&mut self) -> (u32, u32) {
        let start = self.bytes.len() as u32;
        for member in self.members.clone() {
            let mut fields = [member.stored_bytes, member.bytes, member.local];
            let mut extra = Vec::new();
            if member.in_zip64 {
                extra.extend([1, 0, 24, 0]);
                // In the order of the standard: the unpacked size is first.
                for field in [member.bytes, member.stored_bytes, member.local] {
                    extra.extend(u64::from(field).to_le_bytes());
                }
                fields = [u32::MAX; 3];
            }
            self.bytes.extend(b"PK\x01\x02\x14\0\x14\0");
            self.bytes.extend(member.flags.to_le_bytes());
            self.bytes.extend(member.method.to_le_bytes());
            self.bytes.extend([0; 4]);
            self.bytes.extend(member.crc.to_le_bytes());
            self.bytes.extend(fields[0].to_le_bytes());
            self.bytes.extend(fields[1].to_le_bytes());
            self.bytes.extend((member.name.len() as u16).to_le_bytes());
            self.bytes.extend((extra.len() as u16).to_le_bytes());
            self.bytes.extend([0; 10]);
            self.bytes.extend(fields[2].to_le_bytes());
            self.bytes.extend(member.name.as_bytes());
            self.bytes.extend(extra);
        }
        (start, self.bytes.len() as u32 - start)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let (start, n_bytes) = self.table();
        let n_members = (self.members.len() as u16).to_le_bytes();
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(n_members);
        self.bytes.extend(n_members);
        self.bytes.extend(n_bytes.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }

    pub(super) fn finish_64(mut self) -> Vec<u8> {
        let (start, n_bytes) = self.table();
        let end_64 = self.bytes.len() as u64;
        let n_members = (self.members.len() as u64).to_le_bytes();
        self.bytes.extend(b"PK\x06\x06");
        self.bytes.extend(44u64.to_le_bytes());
        self.bytes.extend([0; 12]);
        self.bytes.extend(n_members);
        self.bytes.extend(n_members);
        self.bytes.extend(u64::from(n_bytes).to_le_bytes());
        self.bytes.extend(u64::from(start).to_le_bytes());
        self.bytes.extend(b"PK\x06\x07\0\0\0\0");
        self.bytes.extend(end_64.to_le_bytes());
        self.bytes.extend([1, 0, 0, 0]);
        self.bytes.extend(b"PK\x05\x06");
        self.bytes.extend([0xff; 16]);
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

pub(super) fn zip_file(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = Zip::default();
    for (name, bytes) in members {
        zip.add(name, bytes, |_| {});
    }
    zip.finish()
}

/// A PyTorch archive of this pickle and these storages.
pub(super) fn pytorch_file(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = Zip::default();
    zip.add("a/data.pkl", pickle, |_| {});
    for (key, bytes) in storages {
        zip.add(&format!("a/data/{key}"), bytes, |_| {});
    }
    zip.finish()
}

/// A bare float32 tensor.
pub(super) fn tensor_pickle(
    key: &str,
    n_elements: i64,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Vec<u8> {
    let number = |n: i64| [&[0x8a, 8][..], &n.to_le_bytes()].concat();
    let text =
        |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let tuple = |sizes: &[i64]| {
        let sizes: Vec<u8> = sizes.iter().flat_map(|&n| number(n)).collect();
        [b"(", &sizes[..], b"t"].concat()
    };
    [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        number(n_elements),
        b"tQ".to_vec(),
        number(offset),
        tuple(shape),
        tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtR.".to_vec(),
    ]
    .concat()
}

pub(super) fn npy_header(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(super) fn safetensors_file(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let (mut table, mut data) = (String::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(*bytes);
        let comma = if table.is_empty() { "" } else { "," };
        write!(
            table,
            r#"{comma}"{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{}]}}"#,
            data.len()
        )
        .unwrap();
    }
    let table = format!("{{{table}}}");
    [&(table.len() as u64).to_le_bytes()[..], table.as_bytes(), &data].concat()
}

pub(super) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

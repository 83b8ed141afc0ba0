//! The table of a ZIP archive, read with suspicion; nothing is ever extracted to a path.
//!
//! PyTorch's `.pth`/`.pt` and NumPy's `.npz` are ZIP archives whose members we want as ranges of the
//! file with their checksums, which general readers hide. What two readers could understand in two
//! ways is refused: duplicate names, members that overlap each other or the table, local headers
//! that contradict the table, encryption, names that climb out of the archive.
//! Source of the layout: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.

use std::collections::HashSet;

use super::{Problem, Record, Source};

/// Kokoro's weights have about 550 members.
const MAX_MEMBERS: u64 = 16_384;
const MAX_TABLE_BYTES: u64 = 4 << 20;
const MAX_NAME_BYTES: usize = 512;

const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const LOCATOR_64_BYTES: u64 = 20;
const LOCAL_BYTES: u64 = 30;
const MAX_COMMENT_BYTES: u64 = u16::MAX as u64;

/// Stands in a 16 or 32 bit field whose true value is in a ZIP64 field.
const IN_ZIP64_16: u64 = u16::MAX as u64;
const IN_ZIP64_32: u64 = u32::MAX as u64;

/// One member: its name and where its bytes are.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) record: Record,
}

/// All members, in the order of the table.
pub(super) fn members(source: &Source) -> Result<Vec<Member>, Problem> {
    let table = find_table(source)?;
    if table.n_members > MAX_MEMBERS {
        return Err(Problem::limit("number of zip members", table.n_members, MAX_MEMBERS));
    }
    if table.n_bytes > MAX_TABLE_BYTES {
        return Err(Problem::limit("size of the zip table", table.n_bytes, MAX_TABLE_BYTES));
    }
    let bytes = source.read(table.start, table.n_bytes)?;
    let mut fields = Fields { bytes: &bytes };
    let mut members = Vec::new();
    let mut names = HashSet::new();
    // Where each member begins, its local header included, and ends.
    let mut spans = Vec::new();
    for _ in 0..table.n_members {
        let entry = table_entry(&mut fields)?;
        if entry.name.ends_with('/') {
            continue;
        }
        check_name(&entry.name)?;
        if !names.insert(entry.name.clone()) {
            return Err(Problem::malformed(format!("zip member {:?} is there twice", entry.name)));
        }
        let record = locate(source, &entry, table.start)?;
        spans.push((entry.local, record.start + record.stored_bytes));
        members.push(Member { name: entry.name, record });
    }
    if !fields.bytes.is_empty() {
        return Err(Problem::malformed("its zip table has more entries than it says"));
    }
    spans.sort_unstable();
    if spans.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(Problem::malformed("zip members overlap"));
    }
    Ok(members)
}

struct Table {
    start: u64,
    n_bytes: u64,
    n_members: u64,
}

/// Finds the table from the end of the file, as ZIP demands.
fn find_table(source: &Source) -> Result<Table, Problem> {
    let tail_bytes = source.len().min(END_BYTES + MAX_COMMENT_BYTES);
    let tail_start = source.len() - tail_bytes;
    let tail = source.read(tail_start, tail_bytes)?;
    // The comment must reach exactly to the end, or something is appended or cut.
    let at = (0..tail.len().saturating_sub(END_BYTES as usize - 1)).rev().find(|&at| {
        tail[at..].starts_with(b"PK\x05\x06")
            && at
                + END_BYTES as usize
                + usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]))
                == tail.len()
    });
    let at = at.ok_or_else(|| Problem::malformed("cut short: its zip table is missing"))?;
    let end_start = tail_start + at as u64;
    let mut end = Fields { bytes: &tail[at + 4..] };
    let (disk, table_disk) = (end.u16()?, end.u16()?);
    let (n_here, mut n_members) = (end.u16()?, end.u16()?);
    let (mut n_bytes, mut start) = (end.u32()?, end.u32()?);
    if disk != table_disk || n_here != n_members || (disk != 0 && disk != IN_ZIP64_16) {
        return Err(Problem::malformed("a zip archive in several parts"));
    }
    let mut limit = end_start;
    if n_members == IN_ZIP64_16 || n_bytes == IN_ZIP64_32 || start == IN_ZIP64_32 {
        let missing = || Problem::malformed("its zip64 table is missing");
        let locator_start = end_start.checked_sub(LOCATOR_64_BYTES).ok_or_else(missing)?;
        let locator = source.read(locator_start, LOCATOR_64_BYTES)?;
        let mut fields = Fields { bytes: &locator };
        if fields.u32()? != u64::from(u32::from_le_bytes(*b"PK\x06\x07")) {
            return Err(missing());
        }
        fields.skip(4)?;
        limit = fields.u64()?;
        let end_64 = source.read(limit, END_64_BYTES)?;
        let mut fields = Fields { bytes: &end_64 };
        if fields.u32()? != u64::from(u32::from_le_bytes(*b"PK\x06\x06")) {
            return Err(missing());
        }
        fields.skip(28)?;
        (n_members, n_bytes, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
    }
    if start.checked_add(n_bytes).is_none_or(|end| end > limit) {
        return Err(Problem::malformed("its zip table points past its end"));
    }
    Ok(Table { start, n_bytes, n_members })
}

struct Entry {
    name: String,
    method: u64,
    crc: u32,
    stored_bytes: u64,
    bytes: u64,
    local: u64,
}

fn table_entry(fields: &mut Fields<'_>) -> Result<Entry, Problem> {
    if fields.u32()? != u64::from(u32::from_le_bytes(*b"PK\x01\x02")) {
        return Err(Problem::malformed("its zip table is damaged"));
    }
    fields.skip(4)?;
    let flags = fields.u16()?;
    let method = fields.u16()?;
    fields.skip(4)?;
    let crc = fields.u32()? as u32;
    let (mut stored_bytes, mut bytes) = (fields.u32()?, fields.u32()?);
    let (name_bytes, extra_bytes, comment_bytes) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?;
    let mut local = fields.u32()?;
    let name = fields.take(name_bytes)?;
    let mut extra = Fields { bytes: fields.take(extra_bytes)? };
    fields.skip(comment_bytes)?;

    let name = std::str::from_utf8(name)
        .map_err(|_| Problem::malformed("a zip member's name is not UTF-8"))?
        .to_owned();
    if flags & 1 != 0 {
        return Err(Problem::malformed(format!("zip member {name:?} is encrypted")));
    }
    // Alignment padding in extra fields need not be well formed; only ZIP64's (0x0001) matters.
    while extra.bytes.len() >= 4 {
        let (id, n_bytes) = (extra.u16()?, extra.u16()?);
        let Ok(field) = extra.take(n_bytes) else { break };
        if id == 1 {
            let mut field = Fields { bytes: field };
            for value in [&mut bytes, &mut stored_bytes, &mut local] {
                if *value == IN_ZIP64_32 {
                    *value = field.u64()?;
                }
            }
        }
    }
    Ok(Entry { name, method, crc, stored_bytes, bytes, local })
}

/// Only the local header tells where the bytes begin: its extra field has a length of its own.
fn locate(source: &Source, entry: &Entry, table_start: u64) -> Result<Record, Problem> {
    let name = &entry.name;
    let header = source.read(entry.local, LOCAL_BYTES)?;
    let mut fields = Fields { bytes: &header };
    let magic = fields.u32()?;
    fields.skip(4)?;
    let method = fields.u16()?;
    fields.skip(16)?;
    let (name_bytes, extra_bytes) = (fields.u16()?, fields.u16()?);
    let local_name = source.read(entry.local + LOCAL_BYTES, name_bytes)?;
    if magic != u64::from(u32::from_le_bytes(*b"PK\x03\x04"))
        || method != entry.method
        || *local_name != *name.as_bytes()
    {
        return Err(Problem::malformed(format!("zip member {name:?} contradicts the zip table")));
    }
    let start = entry.local + LOCAL_BYTES + name_bytes + extra_bytes;
    if start.checked_add(entry.stored_bytes).is_none_or(|end| end > table_start) {
        return Err(Problem::malformed(format!("zip member {name:?} reaches past its end")));
    }
    let deflated = match entry.method {
        0 if entry.stored_bytes != entry.bytes => {
            return Err(Problem::malformed(format!("zip member {name:?} has two lengths")));
        }
        0 => false,
        8 => true,
        method => {
            return Err(Problem::malformed(format!(
                "zip member {name:?} is compressed with method {method}, which is not read here"
            )));
        }
    };
    Ok(Record {
        start,
        stored_bytes: entry.stored_bytes,
        bytes: entry.bytes,
        deflated,
        // PyTorch writes 0 where it was told not to compute checksums.
        crc: Some(entry.crc).filter(|&crc| crc != 0),
        head_bytes: 0,
    })
}

/// Names are never used as paths; one that tries to be is a sign of an attack all the same.
fn check_name(name: &str) -> Result<(), Problem> {
    let climbs = name.is_empty()
        || name.starts_with('/')
        || name.contains(['\\', '\0', ':'])
        || name.split('/').any(|part| part == "..");
    if climbs {
        return Err(Problem::malformed(format!("zip member {name:?} would leave the archive")));
    }
    if name.len() > MAX_NAME_BYTES {
        let found = name.len() as u64;
        return Err(Problem::limit("length of a zip member's name", found, MAX_NAME_BYTES as u64));
    }
    Ok(())
}

/// Little-endian numbers from the front of a slice.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, n_bytes: u64) -> Result<&'a [u8], Problem> {
        let piece = usize::try_from(n_bytes).ok().and_then(|n| self.bytes.split_at_checked(n));
        let (piece, rest) =
            piece.ok_or_else(|| Problem::malformed("its zip table is cut short"))?;
        self.bytes = rest;
        Ok(piece)
    }
    fn skip(&mut self, n_bytes: u64) -> Result<(), Problem> {
        self.take(n_bytes).map(|_| ())
    }
    fn u16(&mut self) -> Result<u64, Problem> {
        self.number(2)
    }
    fn u32(&mut self) -> Result<u64, Problem> {
        self.number(4)
    }
    fn u64(&mut self) -> Result<u64, Problem> {
        self.number(8)
    }
    fn number(&mut self, n_bytes: u64) -> Result<u64, Problem> {
        Ok(self.take(n_bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

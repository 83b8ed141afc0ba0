//! Ogg pages (RFC 3533) of one stream: packets are gathered and written out as a page that says
//! how far the sound has come. What the packets hold is the business of the codec.

use crate::crc::crc32;

/// Where a page's checksum stands.
const CHECKSUM: std::ops::Range<usize> = 22..26;

/// Gathers packets into pages.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    serial: u32,
    n_pages: u32,
    /// The lengths of the packets of the page to come, in the page's own notation.
    lacing: Vec<u8>,
    n_packets: usize,
    bytes: Vec<u8>,
}

impl Pages {
    pub(crate) fn new(serial: u32) -> Self {
        Self { serial, n_pages: 0, lacing: Vec::new(), n_packets: 0, bytes: Vec::new() }
    }

    /// How many packets wait for a page.
    pub(crate) fn n_packets(&self) -> usize {
        self.n_packets
    }

    /// Whether the page to come is the third, the one after the two of an Opus header.
    pub(crate) fn is_first_of_sound(&self) -> bool {
        self.n_pages == 2
    }

    /// Adds a packet. A page holds 255 bytes of lacing, hence at least 51 packets of the largest
    /// size that Opus has; callers end their pages well before.
    pub(crate) fn packet(&mut self, packet: &[u8]) {
        self.lacing.resize(self.lacing.len() + packet.len() / 255, 255);
        self.lacing.push((packet.len() % 255) as u8);
        self.bytes.extend_from_slice(packet);
        self.n_packets += 1;
    }

    /// Appends the page; at its end the stream is at `position`.
    pub(crate) fn page(&mut self, position: u64, last: bool, out: &mut Vec<u8>) {
        const FIRST: u8 = 2;
        const LAST: u8 = 4;
        debug_assert!(self.lacing.len() <= 255, "more packets than a page can hold");
        let start = out.len();
        let flags = if self.n_pages == 0 { FIRST } else { 0 } | if last { LAST } else { 0 };
        out.extend_from_slice(b"OggS");
        out.extend_from_slice(&[0, flags]); // version
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.n_pages.to_le_bytes());
        out.extend_from_slice(&[0; CHECKSUM.end - CHECKSUM.start]);
        out.push(self.lacing.len() as u8);
        out.extend_from_slice(&self.lacing);
        out.extend_from_slice(&self.bytes);
        // Over the whole page, with zeros in its own place.
        let checksum = crc32(&out[start..]);
        out[start..][CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        self.n_pages = self.n_pages.wrapping_add(1);
        self.lacing.clear();
        self.bytes.clear();
        self.n_packets = 0;
    }
}

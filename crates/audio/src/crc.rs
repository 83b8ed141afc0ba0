//! The checksums of Ogg pages and FLAC frames: one shift register, fed from the highest bit down
//! and starting at zero, in the three widths and polynomials that the two formats name.

/// `WIDTH` bits (8, 16 or 32) of remainder modulo the polynomial `POLYNOMIAL`.
struct Crc<const WIDTH: u32, const POLYNOMIAL: u32>;

impl<const WIDTH: u32, const POLYNOMIAL: u32> Crc<WIDTH, POLYNOMIAL> {
    /// The remainder of each byte, in the top `WIDTH` bits.
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut remainder = (byte as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                let carry = remainder >> 31;
                remainder = (remainder << 1) ^ (carry * (POLYNOMIAL << (32 - WIDTH)));
                bit += 1;
            }
            table[byte] = remainder;
            byte += 1;
        }
        table
    };

    fn of(bytes: &[u8]) -> u32 {
        let remainder = bytes.iter().fold(0_u32, |remainder, &byte| {
            (remainder << 8) ^ Self::TABLE[((remainder >> 24) as u8 ^ byte) as usize]
        });
        remainder >> (32 - WIDTH)
    }
}

/// Of a FLAC frame's header (RFC 9639, 9.1.8).
pub(crate) fn crc8(bytes: &[u8]) -> u8 {
    Crc::<8, 0x07>::of(bytes) as u8
}

/// Of a whole FLAC frame (RFC 9639, 9.3).
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    Crc::<16, 0x8005>::of(bytes) as u16
}

/// Of an Ogg page (RFC 3533, 6).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    Crc::<32, 0x04c1_1db7>::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values_come_out() {
        // CRC-8/SMBUS, CRC-16/UMTS and CRC-32/POSIX before its final inversion and length.
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
        assert_eq!(crc32(b"123456789"), 0x89a1_897f);
    }
}

//! AMX: products of bf16 by a unit that multiplies whole tiles (Sapphire Rapids and later).
//!
//! The idea: a tile is 16 rows of 64 bytes. Sixteen rows of input, 32 numbers of the depth each,
//! are a tile as they lie in memory, because rows that overlap are just a short stride; a panel of
//! packed weights is two tiles side by side. One instruction multiplies two tiles and adds the
//! product to a third. Four such sums share their loads, in one of two layouts:
//!
//! ```text
//! square     weights 6   weights 7     high            weights 7
//! rows 4     sums 0      sums 1        rows 4          sums 0
//! rows 5     sums 2      sums 3        rows 5          sums 1
//!                                      rows 6          sums 2
//!                                      rows 4, anew    sums 3
//! ```
//!
//! 1. A tile's product sums the first numbers of all its pairs and the second ones apart, each in
//!    ascending order by multiply-adds, then adds both sums, then what was there. So the result
//!    does not depend on how a caller cuts the rows, nor on the layout; but it is not that of the
//!    other instruction sets, which take one pair after the other.
//! 2. A depth that is no multiple of 32 is filled up with zeros, in a copy of the last tiles of
//!    each tap.
//! 3. Fewer rows are tiles of less height.
//! 4. A panel, or its half where blocks are high, is finished for all rows before the next, as in
//!    [`super::gemm`], and for the same reason.
//! 5. Four products take 64 cycles, in which a square reads 2 kB of weights. With many taps these
//!    outgrow the first-level cache, and 32 bytes a cycle are two thirds of what the second level
//!    was measured to give such a CPU at best. A high block reads half as many. It reads twice as
//!    many rows, but taps overlap, so that those stay in the first level.
//! 6. All taps of 32 numbers of the depth come one after another, so that rows of 1 kB, of which
//!    the first level keeps few, are read again while they are there.
//!
//! What a block sums comes from `Whole` for products of bf16, and from `split` for products of f32.
//!
//! The unit is a trait, so that the walk over the tiles can be followed in plain Rust on machines
//! that have no AMX; the instructions themselves are the five methods of [`Amx`]. The rest of its
//! kernels are those of AVX512-BF16.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

mod split;

use super::avx512::Avx512;
pub(crate) use super::avx512bf16::*;
use super::gemm::finish;
use super::{LANES, Simd};
use crate::gemm::{PANEL, Product, Rows};
use crate::number::Kind;

/// Rows of a tile.
const ROWS: usize = 16;
/// bf16 in a row of a tile.
const DEPTH: usize = 32;
/// Bytes in a row of a tile.
const ROW_BYTES: usize = 64;
/// Bytes from one pair of the depth to the next in a panel of weights.
const PAIR_BYTES: usize = u16::GROUP * PANEL * size_of::<u16>();

/// A unit of eight tiles: four of sums, 4 and 5 of rows, 6 of either, 7 of weights.
trait Unit {
    /// Rows of the tiles 0, 1 and 4, and of 2, 3 and 5; the others have 16. Their content is lost.
    fn shape(&mut self, heights: [usize; 2]);
    fn zero<const TILE: usize>(&mut self);
    /// Fills a tile with rows of 64 bytes that lie `stride` bytes apart.
    ///
    /// # Safety
    /// As many rows as the tile has can be read.
    unsafe fn load<const TILE: usize>(&mut self, from: *const u16, stride: usize);
    /// Adds the product of two tiles.
    fn multiply_add<const SUMS: usize, const X: usize, const W: usize>(&mut self);
    fn store<const TILE: usize>(&mut self, to: &mut [[f32; LANES]; ROWS]);
}

#[target_feature(enable = "avx512f")]
pub(crate) fn gemm_bf16(product: Product<'_, u16>) {
    multiply(&mut Amx::begin(), Avx512::new(), product);
}

#[target_feature(enable = "avx512f")]
pub(crate) fn gemm_split(product: Product<'_, f32, crate::split::Rows<'_>>, room: &mut [f32]) {
    split::multiply(&mut Amx::begin(), Avx512::new(), product, room);
}

/// Both sides of a product, as the walk over its blocks reads them.
trait Sides {
    /// Called before the first block of a panel.
    fn begin(&mut self, panel: usize);

    /// Whether blocks are better high than square.
    fn are_high(&self) -> bool;

    /// Adds the products of `block` to its tiles of sums.
    ///
    /// # Safety
    /// The unit is shaped for `block`, which lies as `L` says, within the product.
    unsafe fn sum<L: Layout>(&self, unit: &mut impl Unit, block: Block);
}

/// Rows `t..t + n_rows` by the columns of a panel from `column` on.
#[derive(Clone, Copy)]
struct Block {
    t: usize,
    n_rows: usize,
    panel: usize,
    column: usize,
}

/// How the tiles of sums of a block lie.
trait Layout {
    /// First row and column of each that there is.
    const TILES: [Option<[usize; 2]>; 4];

    /// 32 numbers of the depth.
    ///
    /// # Safety
    /// The unit is shaped for the block. `x` has as many rows of 32 numbers, `row_bytes` apart, as
    /// the block; `w` 16 pairs, one [`PAIR_BYTES`] after another, of as many columns.
    unsafe fn step(unit: &mut impl Unit, x: *const u16, row_bytes: usize, w: *const u16);
}

/// Up to 32 rows by up to a panel. `TALL` where it has more than 16 rows, `WIDE` where more than 16
/// columns.
struct Square<const TALL: bool, const WIDE: bool>;

/// 64 rows by half a panel.
struct High;

impl High {
    const ROWS: usize = Self::TILES.len() * ROWS;
}

/// Four tiles of sums, in memory.
#[repr(align(64))]
struct Sums([[[f32; LANES]; ROWS]; 4]);

/// The whole product, a panel at a time.
#[inline(always)]
fn walk<S: Simd, T, R>(
    unit: &mut impl Unit,
    s: S,
    sides: &mut impl Sides,
    product: &mut Product<'_, T, R>,
) {
    let mut sums = Sums([[[0.0; LANES]; ROWS]; 4]);
    let n_high = if sides.are_high() { product.n_rows / High::ROWS * High::ROWS } else { 0 };
    let mut shaped = None;
    let mut shape = |unit: &mut _, heights| {
        if shaped != Some(heights) {
            Unit::shape(unit, heights);
            shaped = Some(heights);
        }
    };
    for panel in 0..product.n.div_ceil(PANEL) {
        sides.begin(panel);
        let width = (product.n - panel * PANEL).min(PANEL);
        for column in (0..width).step_by(LANES) {
            for t in (0..n_high).step_by(High::ROWS) {
                shape(unit, [ROWS; 2]);
                let block = Block { t, n_rows: High::ROWS, panel, column };
                compute::<High>(unit, sides, block, &mut sums);
                place::<High, _, _, _>(s, &sums, block, product);
            }
        }
        for t in (n_high..product.n_rows).step_by(2 * ROWS) {
            let n_rows = (product.n_rows - t).min(2 * ROWS);
            let heights = [n_rows.min(ROWS), n_rows.saturating_sub(ROWS)];
            shape(unit, heights);
            let block = Block { t, n_rows, panel, column: 0 };
            match (heights[1] > 0, width > LANES) {
                (false, false) => compute::<Square<false, false>>(unit, sides, block, &mut sums),
                (false, true) => compute::<Square<false, true>>(unit, sides, block, &mut sums),
                (true, false) => compute::<Square<true, false>>(unit, sides, block, &mut sums),
                (true, true) => compute::<Square<true, true>>(unit, sides, block, &mut sums),
            }
            place::<Square<true, true>, _, _, _>(s, &sums, block, product);
        }
    }
}

/// The sums of one block.
#[inline(always)]
fn compute<L: Layout>(
    unit: &mut impl Unit,
    sides: &impl Sides,
    block: Block,
    Sums(sums): &mut Sums,
) {
    let [first, second, third, fourth] = const { L::TILES };
    if first.is_some() {
        unit.zero::<0>();
    }
    if second.is_some() {
        unit.zero::<1>();
    }
    if third.is_some() {
        unit.zero::<2>();
    }
    if fourth.is_some() {
        unit.zero::<3>();
    }
    for [row, column] in const { L::TILES }.into_iter().flatten() {
        assert!(row < block.n_rows && block.column + column < PANEL, "a tile without rows");
    }
    // SAFETY: `walk` shaped the unit and keeps to the product.
    unsafe { sides.sum::<L>(unit, block) };
    if first.is_some() {
        unit.store::<0>(&mut sums[0]);
    }
    if second.is_some() {
        unit.store::<1>(&mut sums[1]);
    }
    if third.is_some() {
        unit.store::<2>(&mut sums[2]);
    }
    if fourth.is_some() {
        unit.store::<3>(&mut sums[3]);
    }
}

/// Sums and bias, stored or added to where they belong.
#[inline(always)]
fn place<L: Layout, S: Simd, T, R>(
    s: S,
    Sums(sums): &Sums,
    block: Block,
    product: &mut Product<'_, T, R>,
) {
    for (sums, tile) in sums.iter().zip(L::TILES) {
        let Some([row, column]) = tile else { continue };
        let first = block.panel * PANEL + block.column + column;
        let end = product.n.min(first + LANES);
        if row >= block.n_rows || first >= end {
            continue;
        }
        let bias = match product.bias {
            Some(bias) => s.load_some(&bias[first..end]),
            None => s.splat(0.0),
        };
        let (stride, n_rows) = (product.out_stride, ROWS.min(block.n_rows - row));
        let out = &mut product.out[(block.t + row) * stride + first..];
        if end - first < LANES {
            for (sum, to) in sums[..n_rows].iter().zip(out.chunks_mut(stride)) {
                let sum = s.add(s.load(sum), bias);
                finish(s, sum, None, &mut to[..end - first], product.output);
            }
            continue;
        }
        // Checked once, for all rows.
        assert!(out.len() >= (n_rows - 1) * stride + LANES);
        let out = out.as_mut_ptr();
        for (i, sum) in sums[..n_rows].iter().enumerate() {
            // SAFETY: the last row lies within `out`, as was just checked, and so do those before it.
            let to = unsafe { &mut *out.add(i * stride).cast::<[f32; LANES]>() };
            finish(s, s.add(s.load(sum), bias), None, to, product.output);
        }
    }
}

#[inline(always)]
fn multiply<S: Simd>(unit: &mut impl Unit, s: S, mut product: Product<'_, u16>) {
    let mut sides = Whole { rows: product.rows, packed: product.packed };
    walk(unit, s, &mut sides, &mut product);
}

/// bf16.
struct Whole<'a> {
    rows: Rows<'a, u16>,
    packed: &'a [u16],
}

/// Taps from which blocks are high. Three read little less so, and five have 512 channels here, of
/// which the first-level cache keeps too few rows. (By a model of that cache: `docs/performance.md`.)
const MANY_TAPS: usize = 7;

impl Sides for Whole<'_> {
    #[inline(always)]
    fn begin(&mut self, _panel: usize) {}

    #[inline(always)]
    fn are_high(&self) -> bool {
        self.rows.n_taps >= MANY_TAPS
    }

    #[inline(always)]
    unsafe fn sum<L: Layout>(&self, unit: &mut impl Unit, block: Block) {
        let rows = self.rows;
        // A single row may have any stride.
        let row_bytes = rows.row_stride.wrapping_mul(size_of::<u16>());
        let k = rows.n_taps * rows.depth;
        let panel = &self.packed[block.panel * k * PANEL..][..k * PANEL];
        let tap_of = |tap: usize, first: usize| {
            let x = &rows.data[block.t * rows.row_stride + tap * rows.tap_stride + first..];
            (x, &panel[(tap * rows.depth + first) * PANEL..])
        };
        let column = block.column * u16::GROUP;
        let left = rows.depth % DEPTH;
        for first in (0..rows.depth - left).step_by(DEPTH) {
            for tap in 0..rows.n_taps {
                let (x, weights) = tap_of(tap, first);
                let w = weights[..DEPTH * PANEL][column..].as_ptr();
                // SAFETY: the door checked that `data` reaches over `depth` numbers of the last tap
                // of the last row, so over 32 from here on of each row of the block; the weights are
                // 16 pairs of a panel, from the block's first column on. The shape is the caller's.
                unsafe { L::step(unit, x.as_ptr(), row_bytes, w) };
            }
        }
        if left > 0 {
            for tap in 0..rows.n_taps {
                let (x, weights) = tap_of(tap, rows.depth - left);
                let mut last_x = [[0; DEPTH]; High::ROWS];
                for (r, row) in last_x.iter_mut().take(block.n_rows).enumerate() {
                    copy_last(&x[r * rows.row_stride..], left, row);
                }
                let mut last_weights = [0; DEPTH * PANEL];
                last_weights[..left * PANEL].copy_from_slice(&weights[..left * PANEL]);
                let (x, w) = (last_x.as_flattened().as_ptr(), last_weights[column..].as_ptr());
                // SAFETY: both are whole tiles, as many as any block has.
                unsafe { L::step(unit, x, ROW_BYTES, w) };
            }
        }
    }
}

/// A row's last numbers, `left` of them, and zeros. All 64 bytes at once where there are as many,
/// because a copy of another length is a call.
#[inline(always)]
fn copy_last(x: &[u16], left: usize, row: &mut [u16; DEPTH]) {
    static KEEP: [[u16; DEPTH]; 2] = [[!0; DEPTH], [0; DEPTH]];
    let mask = &KEEP.as_flattened()[DEPTH - left..][..DEPTH];
    match x.first_chunk::<DEPTH>() {
        Some(x) => {
            let numbers = x.iter().zip(mask).map(|(x, mask)| x & mask);
            row.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
        }
        None => row[..left].copy_from_slice(&x[..left]),
    }
}

impl<const TALL: bool, const WIDE: bool> Layout for Square<TALL, WIDE> {
    const TILES: [Option<[usize; 2]>; 4] = [
        Some([0, 0]),
        if WIDE { Some([0, LANES]) } else { None },
        if TALL { Some([ROWS, 0]) } else { None },
        if TALL && WIDE { Some([ROWS, LANES]) } else { None },
    ];

    #[inline(always)]
    unsafe fn step(unit: &mut impl Unit, x: *const u16, row_bytes: usize, w: *const u16) {
        // SAFETY: the caller's obligation; a row that is there lies within the address space.
        unsafe {
            unit.load::<6>(w, PAIR_BYTES);
            unit.load::<4>(x, row_bytes);
            unit.multiply_add::<0, 4, 6>();
            if WIDE {
                unit.load::<7>(w.add(LANES * u16::GROUP), PAIR_BYTES);
                unit.multiply_add::<1, 4, 7>();
            }
            if TALL {
                unit.load::<5>(x.byte_add(ROWS * row_bytes), row_bytes);
                unit.multiply_add::<2, 5, 6>();
                if WIDE {
                    unit.multiply_add::<3, 5, 7>();
                }
            }
        }
    }
}

impl Layout for High {
    const TILES: [Option<[usize; 2]>; 4] =
        [Some([0, 0]), Some([ROWS, 0]), Some([2 * ROWS, 0]), Some([3 * ROWS, 0])];

    #[inline(always)]
    unsafe fn step(unit: &mut impl Unit, x: *const u16, row_bytes: usize, w: *const u16) {
        // SAFETY: the caller's obligation, as above.
        unsafe {
            unit.load::<7>(w, PAIR_BYTES);
            unit.load::<4>(x, row_bytes);
            unit.multiply_add::<0, 4, 7>();
            unit.load::<5>(x.byte_add(ROWS * row_bytes), row_bytes);
            unit.multiply_add::<1, 5, 7>();
            unit.load::<6>(x.byte_add(2 * ROWS * row_bytes), row_bytes);
            unit.multiply_add::<2, 6, 7>();
            unit.load::<4>(x.byte_add(3 * ROWS * row_bytes), row_bytes);
            unit.multiply_add::<3, 4, 7>();
        }
    }
}

/// The CPU's own unit. Its tiles keep their content from one block of assembler to the next because
/// compiled code uses none. While it has no shape, it costs a switch between threads nothing.
struct Amx(());

impl Amx {
    /// Safe only where [`is_permitted`].
    fn begin() -> Self {
        Self(())
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: only tiles change, which nobody uses any more.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) }
    }
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    heights: [u8; 16],
}

impl Unit for Amx {
    fn shape(&mut self, [upper, lower]: [usize; 2]) {
        let [upper, lower] = [upper as u8, lower as u8];
        let mut shapes = Shapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            heights: [0; 16],
        };
        for (tile, height) in
            [upper, upper, lower, lower, upper, lower, 16, 16].into_iter().enumerate()
        {
            // A tile of no rows has none of bytes either, or the shape is refused.
            shapes.row_bytes[tile] = if height == 0 { 0 } else { ROW_BYTES as u16 };
            shapes.heights[tile] = height;
        }
        // SAFETY: the value was made where AMX is there and permitted; the 64 bytes are as wanted.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const shapes,
                options(readonly, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn zero<const TILE: usize>(&mut self) {
        // SAFETY: as above; only the tile changes.
        unsafe { asm!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const u16, stride: usize) {
        // SAFETY: as above; what is read is the caller's obligation.
        unsafe {
            asm!("tileloadd tmm{}, [{} + 1 * {}]", const TILE, in(reg) from, in(reg) stride,
                options(readonly, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn multiply_add<const SUMS: usize, const X: usize, const W: usize>(&mut self) {
        // SAFETY: as above; only the tile of sums changes.
        unsafe {
            asm!("tdpbf16ps tmm{}, tmm{}, tmm{}", const SUMS, const X, const W,
                options(nomem, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn store<const TILE: usize>(&mut self, to: &mut [[f32; LANES]; ROWS]) {
        // SAFETY: as above; a tile has no more rows than there is room for.
        unsafe {
            asm!("tilestored [{} + 1 * {}], tmm{}", in(reg) to.as_mut_ptr(), in(reg) ROW_BYTES,
                const TILE, options(nostack, preserves_flags));
        }
    }
}

/// Whether the CPU has tiles of bf16, the system keeps them for its threads, and this process may
/// use them: it asks, once.
pub(crate) fn is_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| has_tiles() && ask())
}

fn has_tiles() -> bool {
    /// AMX-BF16 and AMX-TILE, in EDX of leaf 7.
    const TILES_OF_BF16: u32 = 1 << 22 | 1 << 24;
    /// The system's own use of XSAVE, in ECX of leaf 1.
    const OSXSAVE: u32 = 1 << 27;
    /// The state of tiles, in XCR0.
    const TILE_STATE: u64 = 3 << 17;
    if __cpuid(0).eax < 7
        || __cpuid(1).ecx & OSXSAVE == 0
        || __cpuid_count(7, 0).edx & TILES_OF_BF16 != TILES_OF_BF16
    {
        return false;
    }
    // SAFETY: OSXSAVE says that the instruction is there.
    unsafe { _xgetbv(0) & TILE_STATE == TILE_STATE }
}

/// Linux gives each process room for tiles only if it asks.
#[cfg(target_os = "linux")]
fn ask() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let outcome: isize;
    // SAFETY: the call takes two numbers and changes nothing but what the process may use.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => outcome, in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    outcome == 0
}

/// How other systems give that room is not known here.
#[cfg(not(target_os = "linux"))]
fn ask() -> bool {
    false
}

#[cfg(test)]
#[path = "amx_tests.rs"]
mod tests;

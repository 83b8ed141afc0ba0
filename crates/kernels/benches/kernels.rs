//! `cargo bench -p koe-kernels [ISA | PART OF A NAME]`: see `koe_kernels::rates`.
#![expect(clippy::print_stdout, reason = "the table is the product")]

use koe_kernels::{Isa, rates};

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let only = Isa::named(&filter).ok();
    for &isa in Isa::available().iter().filter(|&&isa| only.is_none_or(|only| only == isa)) {
        let print = |line: &str| -> Result<(), std::convert::Infallible> {
            println!("{line}");
            Ok(())
        };
        let Ok(()) = rates::measure(isa, if only.is_some() { "" } else { &filter }, print);
    }
}

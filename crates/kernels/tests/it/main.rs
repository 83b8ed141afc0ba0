//! Every door, on every instruction set of this CPU, held to the plain reference or to f64.
//!
//! A test about products belongs in `product.rs`, about one number at a time in `elementwise.rs`,
//! about rows and channels in `norm.rs`, about quick convolutions in `winograd.rs`, about f32 as three
//! bf16 in `split.rs`.

mod bf16;
mod bytes;
mod elementwise;
mod norm;
mod product;
mod split;
mod support;
mod winograd;

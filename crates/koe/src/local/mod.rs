//! The way from `koe say` to a server on the same machine: a socket of the file system.
//!
//! Only the network's part of the work crosses it: tokens go in, samples come back. Text, joins,
//! encoders and files stay with the command, so that its output is byte for byte what it would be
//! without a server, and a server that goes away costs nothing but time.
//!
//! Whoever may open the socket may speak: it is a file that only its owner can reach.

pub mod client;
pub mod server;
mod wire;

pub use client::Remote;
pub use server::Listening;

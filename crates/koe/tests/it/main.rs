//! The real program in an empty home: what it writes, what it says, how it ends.
//!
//! Nothing here needs Kokoro-82M, a network, or a loudspeaker: the built-in voice speaks, and where
//! a player is wanted a script stands in for it.
#![cfg(unix)]

mod sandbox;
mod server;

mod commands;
mod configuration;
mod models;
mod outputs;
mod playing;
mod priming;
mod refusals;
mod serving;
mod signals;
mod speech;

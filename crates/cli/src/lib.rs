//! What an operator does with servers: `dyad config`, `ns`, `cluster`, `backup`, `health`, `token` and `bench`. Everything here talks
//! to servers from outside, by HTTP or by the admin socket, and shares no code with their front ends. The settings, and
//! the commands that work on a data directory in its server's stead, are in `server`, which also has the command line.

pub mod admin;
pub mod backup;
pub mod bench;
mod client;
pub mod cluster;
pub mod config;
pub mod exit;
pub mod file;
pub mod health;
pub mod ns;
pub mod open_files;
pub mod output;
mod remote;
pub mod status;
mod text;
pub mod token;

pub use exit::{Exit, Failure};
pub use remote::{RemoteArgs, SERVER_ENV};

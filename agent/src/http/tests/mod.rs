//! A real server on a real socket, raw clients that misbehave, and the client of this module.

mod client;
mod conversation;
mod crowd;
mod feed;
mod harness;
mod refusal;
mod stop;

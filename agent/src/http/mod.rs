//! HTTP/1.1 with JSON over a unix socket: the server the agent runs and the client the command line
//! uses.
//!
//! It promises that a request which is malformed, too large or too slow costs its sender an answer
//! and nobody else anything: every length and every wait is bounded by [`Limits`], and at the limit
//! of connections the one that has waited longest without being answered makes room for a new one.
//! Errors travel both ways as a [`Failure`](crate::failure::Failure).
//!
//! It knows no routes, jobs or rights: a [`Handler`] gets a [`Call`] with the credentials of its
//! [`Peer`], and gives an [`Answer`].

mod answer;
mod body;
mod call;
mod client;
mod connection;
mod document;
mod exchange;
mod limits;
mod peer;
mod places;
mod server;
mod service;
mod status;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use call::{Call, Handler};
pub(crate) use client::Client;
pub(crate) use limits::{Limits, raise_open_files};
pub(crate) use peer::Peer;
pub(crate) use server::serve;

//! Trees of every shape against a plain map, and everything that can be wrong with them.

mod answers;
mod damage;
mod image;
mod sharing;

//! `make bench`: this product and its peers on the same volume in one run.
//!
//! - [`volume`] makes the volume; [`peers`] says how each tool is told to back it up and restore it,
//!   [`tools`] finds them; [`limit`] is what the machine could do.
//! - [`rounds`] gives each its turn, cold by [`cold`], measured by [`measure`].
//! - [`bucket`] is where they back up to in a run over S3.
//! - [`report`] turns the figures into tables, files and a picture. It measures nothing, and nothing
//!   before it knows how figures are shown.
//! - [`thin_delta`] is a comparison of its own: two readers of a thin pool's metadata.
//!
//! All tools are treated alike: the same file, the same cold start, the same sync before the clock
//! stops. Whoever restores other bytes than it was given has no figures.

pub mod bucket;
pub mod cold;
pub mod files;
pub mod limit;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod report;
pub mod rounds;
pub mod thin_delta;
pub mod tools;
pub mod volume;

//! thinmover's reading of dm-thin's metadata against that of thin-provisioning-tools, on metadata
//! made by `thin_restore`.

mod agreement;
mod pool;
mod tools;

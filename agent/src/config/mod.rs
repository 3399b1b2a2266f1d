//! The configuration: fragments of TOML files, merged, then turned into validated [`Settings`].
//! Nothing past that line sees an option that should have been checked.

mod fragment;
mod load;
mod settings;
mod size;

pub(crate) use load::load;
pub(crate) use settings::Settings;
pub(crate) use size::Size;

//! Everything that knows the stored format.

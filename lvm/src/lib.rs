//! Everything that knows LVM and device-mapper.

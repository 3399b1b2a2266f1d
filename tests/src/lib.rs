//! The test guest and the fixtures the loop-device tests share.

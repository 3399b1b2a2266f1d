//! The tag on a volume that says what its last backup is known under. It is the one change that is
//! made to a volume which is not ours, and it is what tells a volume from a copy of it that was set
//! back: a disk that was, has the tag of an earlier backup, or none.

use crate::error::LvmError;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::names::Tag;
use crate::record::Nonce;
use crate::tags;

/// What the tag begins with.
const PREFIX: &str = "thinmover.base=";

impl Volume {
    /// What the last backup of this volume is known under; `None` where nothing says so, or several
    /// tags do.
    pub fn base(&self) -> Option<Nonce> {
        let mut nonces = self.tagged(PREFIX);
        match (nonces.next(), nonces.next()) {
            (Some(nonce), None) => Nonce::parse(nonce),
            _ => None,
        }
    }
}

impl Lvm {
    /// Tags `volume` with what its last backup is known under, in place of any earlier such tag.
    ///
    /// # Errors
    /// [`LvmError::NotFound`] when it is gone, and what fails.
    pub fn set_base(&self, volume: &Volume, nonce: &Nonce) -> Result<(), LvmError> {
        tags::replace(self, volume, PREFIX, Some(&Tag::new(format!("{PREFIX}{nonce}"))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::thin;

    #[test]
    fn only_one_tag_of_the_right_form_says_anything() {
        let with = |tags: &[&str]| {
            let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
            Volume { tags, ..thin("data", 'd') }.base()
        };
        let (one, other) = ("a0".repeat(16), "b1".repeat(16));
        let tag = format!("{PREFIX}{one}");
        assert_eq!(with(&["other", &tag]), Nonce::parse(&one));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&["thinmover.base=short"]), None);
        assert_eq!(with(&[&tag, &format!("{PREFIX}{other}")]), None);
        assert_eq!(with(&[&format!("thinmover.owner={one}")]), None);
    }
}

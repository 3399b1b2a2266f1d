//! Names, UUIDs and tags that LVM would take, checked before a command is built from them.
//!
//! The rules are lvm(8)'s "VALID NAMES" and lvm2's `lib/misc/lvm-string.c` (`validate_name`,
//! `apply_lvname_restrictions`, `validate_tag`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// lvm2's NAME_LEN is 128 with the terminating zero; the dm name of a pair is held to the same.
const NAME_LENGTH_MAX: usize = 127;
/// TAG_MAX_LEN of lvm2 (`lib/metadata/metadata-exported.h`).
const TAG_LENGTH_MAX: usize = 1024;
/// A UUID's characters without its dashes (`ID_LEN`).
const UUID_LENGTH: usize = 32;
/// Where LVM puts the dashes: groups of 6-4-4-4-4-4-6.
const UUID_GROUPS: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];

/// Prefixes that LVM keeps for itself, however the name goes on.
const RESERVED_PREFIXES: [&str; 2] = ["snapshot", "pvmove"];
/// Parts that LVM's hidden volumes carry; no name of a visible one may contain them.
const RESERVED_PARTS: [&str; 15] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_iorig", "_imeta", "_mlog", "_mimage",
    "_pmspare", "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata",
];
/// As [`RESERVED_PARTS`], but only forbidden at the end.
const RESERVED_SUFFIXES: [&str; 2] = ["_vorigin", "_wcorig"];

/// Why a name, UUID or tag was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} cannot be used: {why}")]
pub struct NameError {
    what: &'static str,
    text: String,
    why: &'static str,
}

fn refuse(what: &'static str, text: &str, why: &'static str) -> NameError {
    NameError { what, text: text.chars().take(200).collect(), why }
}

fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    if text.is_empty() {
        Err(refuse(what, text, "it is empty"))
    } else if text.len() > NAME_LENGTH_MAX {
        Err(refuse(what, text, "it is longer than 127 characters"))
    } else if !text.bytes().all(allowed) {
        Err(refuse(what, text, "only the characters a-z A-Z 0-9 + _ . - are allowed"))
    } else if text.starts_with('-') {
        Err(refuse(what, text, "it begins with a hyphen"))
    } else if text == "." || text == ".." {
        Err(refuse(what, text, "it is a directory's own name"))
    } else {
        Ok(())
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` against the rules of this type.
            ///
            /// # Errors
            /// [`NameError`] says which rule it breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The text as LVM knows it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(
    /// The name of a volume group.
    VgName,
    |text: &str| check_name("volume group name", text)
);

text_type!(
    /// The name of a logical volume as a report may show it, hidden ones included. Whether a *new*
    /// volume may be called so is [`LvName::check_creatable`]'s question.
    LvName,
    |text: &str| check_name("volume name", text)
);

text_type!(
    /// The UUID of a logical volume or volume group, with LVM's dashes.
    LvmUuid,
    check_uuid
);

text_type!(
    /// A tag on a logical volume.
    Tag,
    |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-/=!:&#".contains(&byte);
        if text.is_empty() {
            Err(refuse("tag", text, "it is empty"))
        } else if text.len() >= TAG_LENGTH_MAX {
            Err(refuse("tag", text, "it is longer than 1023 characters"))
        } else if !text.bytes().all(allowed) {
            Err(refuse("tag", text, "only a-z A-Z 0-9 and _ + . - / = ! : & # are allowed"))
        } else if text.starts_with('-') {
            Err(refuse("tag", text, "it begins with a hyphen"))
        } else {
            Ok(())
        }
    }
);

fn check_uuid(text: &str) -> Result<(), NameError> {
    let wrong = || refuse("UUID", text, "it is not of LVM's form 6-4-4-4-4-4-6");
    let mut groups = text.split('-');
    for length in UUID_GROUPS {
        let group = groups.next().ok_or_else(wrong)?;
        // The alphabet of lvm2's lib/uuid/uuid.c: alphanumerics, '!' and '#'.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#".contains(&byte);
        if group.len() != length || !group.bytes().all(allowed) {
            return Err(wrong());
        }
    }
    groups.next().map_or(Ok(()), |_| Err(wrong()))
}

impl LvName {
    /// Whether LVM would let a new volume in `group` have this name.
    ///
    /// # Errors
    /// [`NameError`] names the reserved prefix or part, or that the device-mapper name of group
    /// and volume together would be too long.
    pub fn check_creatable(&self, group: &VgName) -> Result<(), NameError> {
        let name = self.as_str();
        let what = "volume name";
        if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            Err(refuse(what, name, "LVM reserves names that begin with \"snapshot\" or \"pvmove\""))
        } else if RESERVED_PARTS.iter().any(|part| name.contains(part))
            || RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            Err(refuse(what, name, "it contains a part that LVM reserves for hidden volumes"))
        } else if dm_name(group, self).len() > NAME_LENGTH_MAX {
            Err(refuse(what, name, "with its group's name it is longer than device-mapper allows"))
        } else {
            Ok(())
        }
    }
}

impl LvmUuid {
    /// Without its dashes, as it stands in a device-mapper UUID.
    fn compact(&self) -> String {
        let mut text = self.0.replace('-', "");
        text.truncate(UUID_LENGTH);
        text
    }
}

/// The name of a volume's device under `/dev/mapper`: hyphens inside the two names are doubled.
pub(crate) fn dm_name(group: &VgName, volume: &LvName) -> String {
    format!("{}-{}", group.0.replace('-', "--"), volume.0.replace('-', "--"))
}

/// The device-mapper UUID of a volume's own device.
pub(crate) fn dm_uuid(group: &LvmUuid, volume: &LvmUuid) -> String {
    format!("LVM-{}{}", group.compact(), volume.compact())
}

/// The device-mapper UUID of the thin pool target itself; the pool volume's own device is only a
/// linear cover over it while thin volumes are active.
pub(crate) fn dm_pool_uuid(group: &LvmUuid, pool: &LvmUuid) -> String {
    format!("{}-tpool", dm_uuid(group, pool))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vg(text: &str) -> VgName {
        VgName::new(text).unwrap()
    }

    #[test]
    fn names_that_lvm_takes_are_taken() {
        let long = "x".repeat(127);
        for name in ["a", "data-one", "0f3c2d1e-aaaa", "_x", "+x", ".x", "...", "a.b_c+d", &long] {
            assert!(LvName::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_lvm_would_not_take_are_refused() {
        let long = "x".repeat(128);
        for name in ["", ".", "..", "-a", "a b", "a/b", "a\n", "ä", "a;b", "$(a)", "a\0", &long] {
            assert!(LvName::new(name).is_err(), "{name}");
            assert!(VgName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn new_volumes_may_not_have_a_reserved_name() {
        for name in
            ["snapshot1", "snapshot", "pvmove0", "a_tdata", "a_tmeta0", "x_mlog", "l_vorigin"]
        {
            let name = LvName::new(name).unwrap();
            assert!(name.check_creatable(&vg("vg0")).is_err(), "{name}");
        }
        for name in ["my-snapshot", "thinmover-01234567", "a_vorigin_b", "tdata"] {
            let name = LvName::new(name).unwrap();
            assert!(name.check_creatable(&vg("vg0")).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_pair_of_names_too_long_for_device_mapper_is_refused() {
        let name = LvName::new("-".repeat(60).replacen('-', "a", 1)).unwrap();
        assert!(name.check_creatable(&vg("vg0")).is_ok());
        assert!(name.check_creatable(&vg("g-".repeat(4).as_str())).is_err());
    }

    #[test]
    fn hyphens_are_doubled_in_device_names() {
        let name = LvName::new("data-one").unwrap();
        assert_eq!(dm_name(&vg("my-vg"), &name), "my--vg-data--one");
    }

    #[test]
    fn device_uuids_are_both_uuids_without_dashes() {
        let group = LvmUuid::new("WVtSBK-EyvY-2rP5-XnYd-0HLR-YGIk-AETRzz").unwrap();
        let volume = LvmUuid::new("hpwiGE-wOp6-pxbc-4kKi-6ytd-Fy3X-xz5TGp").unwrap();
        assert_eq!(
            dm_pool_uuid(&group, &volume),
            "LVM-WVtSBKEyvY2rP5XnYd0HLRYGIkAETRzzhpwiGEwOp6pxbc4kKi6ytdFy3Xxz5TGp-tpool"
        );
    }

    #[test]
    fn only_uuids_of_lvms_form_are_taken() {
        for text in [
            "",
            "WVtSBK",
            "WVtSBKEyvY2rP5XnYd0HLRYGIkAETRzz",
            "WVtSBK-EyvY-2rP5-XnYd-0HLR-YGIk-AETRzz-",
            "WVtSBK-EyvY-2rP5-XnYd-0HLR-YGIk-AETRz\"",
        ] {
            assert!(LvmUuid::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_take_lvms_alphabet_only() {
        assert!(Tag::new("thinmover.owner=0123abcd").is_ok());
        for text in ["", "a b", "a\"b", "@a", "-a", "a,b", "{}", &"x".repeat(1024)] {
            assert!(Tag::new(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_check_panic(text in any::<String>()) {
            let _ = (VgName::new(&text), LvmUuid::new(&text), Tag::new(&text));
            if let Ok(name) = LvName::new(&text) {
                let _ = name.check_creatable(&vg("vg"));
            }
        }

        #[test]
        fn device_names_of_different_pairs_differ(
            a in "[a-z][a-z-]{0,5}", b in "[a-z][a-z-]{0,5}", c in "[a-z][a-z-]{0,5}", d in "[a-z][a-z-]{0,5}",
        ) {
            let pair = |group: &str, name: &str| dm_name(&vg(group), &LvName::new(name).unwrap());
            prop_assume!((&a, &b) != (&c, &d));
            prop_assert_ne!(pair(&a, &b), pair(&c, &d));
        }
    }
}

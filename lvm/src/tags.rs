//! Tags of one kind on a volume: at most one at a time, told by what it begins with.

use crate::error::LvmError;
use crate::host::Lvm;
use crate::inventory::Volume;
use crate::names::Tag;

impl Volume {
    /// What follows `prefix` in the volume's tags that begin with it.
    pub(crate) fn tagged<'v>(&'v self, prefix: &'v str) -> impl Iterator<Item = &'v str> {
        self.tags.iter().filter_map(move |tag| tag.strip_prefix(prefix))
    }
}

/// Puts `tag` on `volume`, or nothing, in place of all its tags that begin with `prefix`. Which these
/// are is what `volume` says at first, and if that is no longer so what is found.
///
/// # Errors
/// [`LvmError::NotFound`] when it is gone, and what fails.
pub(crate) fn replace(
    lvm: &Lvm,
    volume: &Volume,
    prefix: &str,
    tag: Option<&Tag>,
) -> Result<(), LvmError> {
    let mut volume = volume.clone();
    for last in [false, true] {
        let Some(off) = to_take_off(&volume, prefix, tag)? else { return Ok(()) };
        let result = lvm.commands().change_tags(&volume.vg, &volume.uuid, &off, tag);
        volume = lvm.reread(&volume.vg, &volume.uuid)?.ok_or_else(|| LvmError::gone(&volume))?;
        match result {
            _ if to_take_off(&volume, prefix, tag)?.is_none() => break,
            Err(error) => return Err(error.into()),
            Ok(()) if last => {
                return Err(LvmError::Unexpected {
                    volume: volume.alias(),
                    what: format!(
                        "lvchange reports success, but its tags are {}",
                        volume.tags.join(", ")
                    ),
                });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The tags to take off `volume`, perhaps none, when `tag` is put on; `None` where all is as it should
/// be.
fn to_take_off(
    volume: &Volume,
    prefix: &str,
    tag: Option<&Tag>,
) -> Result<Option<Vec<Tag>>, LvmError> {
    let is_wanted = |text: &String| tag.is_some_and(|tag| tag.as_str() == text.as_str());
    let of_kind = volume.tags.iter().filter(|text| text.starts_with(prefix));
    let (wanted, off): (Vec<_>, Vec<_>) = of_kind.partition(|text| is_wanted(text));
    if off.is_empty() && wanted.len() == tag.iter().count() {
        return Ok(None);
    }
    Ok(Some(off.into_iter().cloned().map(Tag::new).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::thin;

    #[test]
    fn what_goes_is_what_is_of_the_kind_and_not_wanted() {
        let off = |tags: &[&str], tag: Option<&str>| {
            let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
            let volume = Volume { tags, ..thin("data", 'd') };
            let tag = tag.map(|tag| Tag::new(tag.to_owned()).unwrap());
            let off = to_take_off(&volume, "k=", tag.as_ref()).unwrap();
            off.map(|off| off.iter().map(|tag| tag.as_str().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(off(&["other"], None), None);
        assert_eq!(off(&["other", "k=1"], Some("k=1")), None);
        assert_eq!(off(&["other"], Some("k=1")), Some(vec![]));
        assert_eq!(off(&["k=1", "k=2"], Some("k=1")), Some(vec!["k=2".to_owned()]));
        assert_eq!(off(&["k=1", "other"], None), Some(vec!["k=1".to_owned()]));
    }
}

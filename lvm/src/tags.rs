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
/// are is what `volume` says, so it must be as it is now.
///
/// # Errors
/// [`LvmError::NotFound`] when it is gone, and what fails.
pub(crate) fn replace(
    lvm: &Lvm,
    volume: &Volume,
    prefix: &str,
    tag: Option<&Tag>,
) -> Result<(), LvmError> {
    let is_wanted = |text: &String| tag.is_some_and(|tag| tag.as_str() == text.as_str());
    let of_kind = volume.tags.iter().filter(|text| text.starts_with(prefix));
    let off: Vec<Tag> =
        of_kind.filter(|text| !is_wanted(text)).cloned().map(Tag::new).collect::<Result<_, _>>()?;
    if off.is_empty() && tag.is_none_or(|tag| volume.tags.iter().any(|has| has == tag.as_str())) {
        return Ok(());
    }
    let result = lvm.commands().change_tags(&volume.vg, &volume.uuid, &off, tag);
    let now = lvm.reread(&volume.vg, &volume.uuid)?.ok_or_else(|| LvmError::gone(volume))?;
    let found: Vec<_> = now.tags.iter().filter(|text| text.starts_with(prefix)).collect();
    let is_done = found.iter().all(|text| is_wanted(text)) && found.len() == tag.iter().count();
    match result {
        _ if is_done => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(LvmError::Unexpected {
            volume: now.alias(),
            what: format!("lvchange reports success, but its tags are {}", now.tags.join(", ")),
        }),
    }
}

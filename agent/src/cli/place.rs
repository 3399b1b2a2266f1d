//! A SOURCE or TARGET on the command line. A path is meant from where the command line stands, and the
//! agent stands elsewhere.

use std::path;

use thinmover_lvm::is_path;

/// Makes a path absolute, and leaves the name of a volume as it is. Links are not followed: a backup
/// keeps the name that its source was given.
///
/// # Errors
/// When the working directory is gone, or has a name that is no text.
pub(super) fn place(spec: &str) -> Result<String, String> {
    if !is_path(spec) {
        return Ok(spec.to_owned());
    }
    let absolute = path::absolute(spec).map_err(|error| error.to_string())?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|path| format!("{} is no UTF-8 text", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_meant_from_here_and_a_name_is_no_path() {
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(place("./disk.img").unwrap(), format!("{here}/disk.img"));
        assert_eq!(place("../disk.img").unwrap(), format!("{here}/../disk.img"));
        for spec in ["/srv/disk.img", "/dev/vg0/data", "vg0/data", "data", "disk.img", ""] {
            assert_eq!(place(spec).unwrap(), spec);
        }
    }
}

//! Which keys a store accepts.

/// Whether `key` is made of parts of `a-z 0-9 . -`, none empty or beginning with a dot. So it can
/// name nothing outside a directory, and nothing hidden in it.
pub(super) fn is_valid_key(key: &str) -> bool {
    key.len() <= 1024
        && key.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        })
}

/// Whether `prefix` is empty or a valid key followed by a slash.
pub(super) fn is_valid_prefix(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix('/').is_some_and(is_valid_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_the_store() {
        for good in ["config", "a/b/c", "domain/00ff/gen/a.1-b"] {
            assert!(is_valid_key(good), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.tmp", "a\0", "A", "a b"]
        {
            assert!(!is_valid_key(bad), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_are_whole_folders() {
        assert!(is_valid_prefix("") && is_valid_prefix("a/") && is_valid_prefix("a/b/"));
        for bad in ["a", "/", "../", "a/../", "a//"] {
            assert!(!is_valid_prefix(bad), "{bad:?}");
        }
    }
}

//! `s3://bucket/prefix`

/// Longer prefixes leave too little of the 1,024 bytes that a key may have.
const PREFIX_BYTES_MAX: usize = 512;

/// A bucket, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) bucket: String,
    /// Empty, or without a slash at either end.
    pub(super) prefix: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("s3://").ok_or_else(|| HOW.to_owned())?;
        if rest.contains('@') {
            return Err(format!("it holds a user or password, which has no place there; {HOW}"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !is_bucket(bucket) {
            return Err(format!("{bucket:?} cannot be the name of a bucket; {HOW}"));
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return Err(format!(
                "{prefix:?} cannot be used as a prefix: its parts are made of letters, digits and \
                 ! - _ . * ' ( ), and are not empty, `.` or `..`"
            ));
        }
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(format!("the prefix is longer than {PREFIX_BYTES_MAX} bytes"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    pub(super) fn url(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }
}

const HOW: &str = "a bucket is written s3://bucket/prefix";

fn is_bucket(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (3..=255).contains(&name.len())
        && name.bytes().all(allowed)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && !name.contains("..")
}

fn is_part(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!-_.*'()".contains(&b);
    !matches!(part, "" | "." | "..") && part.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_and_a_prefix() {
        for (url, bucket, prefix, shown) in [
            ("s3://backup", "backup", "", "s3://backup"),
            ("s3://backup/", "backup", "", "s3://backup"),
            ("s3://b.c-1/edge/Site_7/", "b.c-1", "edge/Site_7", "s3://b.c-1/edge/Site_7"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix));
            assert_eq!(address.url(), shown);
        }
        for bad in [
            "s3://",
            "s3://ab",
            "s3:///prefix",
            "s3://key:secret@bucket/p",
            "s3://buc..ket",
            "s3://bucket//p",
            "s3://bucket/a/../b",
            "s3://bucket/a b",
            "s3://bucket/a?x",
            "s3://bucket/\u{e9}",
        ] {
            let error = Address::parse(bad).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }
}

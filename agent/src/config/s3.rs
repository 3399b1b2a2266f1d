//! `[repositories.NAME.s3]`: how a bucket is reached. The command line's `--s3-…` say the same.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use thinmover_repository::{ConditionalWrites, S3Encryption, S3Options};

use super::values::{absolute_path, request_time};

/// What is said of a bucket. No secret is among it: those stand in files of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Fragment {
    /// `https://host[:port]`; `http://…` for plain HTTP. AWS's own where there is none.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// Whether the bucket stands in the path and not in the host name.
    pub(crate) path_style: Option<bool>,
    /// Certificates that are trusted beside the system's.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(crate) ca_file: Option<PathBuf>,
    /// `http://host:port`
    pub(crate) proxy: Option<String>,
    /// The access key in AWS's format.
    #[serde(default, deserialize_with = "absolute_path")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// Which section of it.
    pub(crate) profile: Option<String>,
    pub(crate) sse: Option<Sse>,
    pub(crate) sse_kms_key_id: Option<String>,
    #[serde(default, deserialize_with = "absolute_path")]
    pub(crate) sse_customer_key_file: Option<PathBuf>,
    pub(crate) conditional_writes: Option<Conditions>,
    /// How long an attempt of a request may take.
    #[serde(default, deserialize_with = "request_time")]
    pub(crate) attempt_timeout: Option<Duration>,
    /// How long after its first attempt a request is tried again.
    #[serde(default, deserialize_with = "request_time")]
    pub(crate) retry_time: Option<Duration>,
}

/// `sse`: encryption by the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
pub(crate) enum Sse {
    /// With keys of the store
    #[serde(rename = "aes256")]
    #[value(name = "aes256")]
    Aes256,
    /// With a key of its key management
    #[serde(rename = "aws:kms")]
    #[value(name = "aws:kms")]
    Kms,
    /// With the key in a file, sent along with every request
    #[serde(rename = "customer-key")]
    #[value(name = "customer-key")]
    CustomerKey,
}

/// `conditional_writes`: whether the store's create-if-absent is relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conditions {
    /// Once a probe has not disproved it
    Auto,
    /// Without a probe
    Trusted,
    /// Never
    No,
}

impl S3Fragment {
    /// Lays `over` over this one: each key it has wins.
    pub(super) fn merge(under: Option<Self>, over: Option<Self>) -> Option<Self> {
        let Some(over) = over else { return under };
        let under = under.unwrap_or_default();
        Some(Self {
            endpoint: over.endpoint.or(under.endpoint),
            region: over.region.or(under.region),
            path_style: over.path_style.or(under.path_style),
            ca_file: over.ca_file.or(under.ca_file),
            proxy: over.proxy.or(under.proxy),
            credentials_file: over.credentials_file.or(under.credentials_file),
            profile: over.profile.or(under.profile),
            sse: over.sse.or(under.sse),
            sse_kms_key_id: over.sse_kms_key_id.or(under.sse_kms_key_id),
            sse_customer_key_file: over.sse_customer_key_file.or(under.sse_customer_key_file),
            conditional_writes: over.conditional_writes.or(under.conditional_writes),
            attempt_timeout: over.attempt_timeout.or(under.attempt_timeout),
            retry_time: over.retry_time.or(under.retry_time),
        })
    }

    /// Checks it and fills in the defaults.
    ///
    /// # Errors
    /// What is wrong, as text.
    pub(crate) fn options(self) -> Result<S3Options, String> {
        let defaults = S3Options::default();
        let encryption = match self.sse {
            Some(Sse::Kms) => Some(S3Encryption::Kms { key_id: self.sse_kms_key_id }),
            _ if self.sse_kms_key_id.is_some() => {
                return Err("a KMS key id goes with sse \"aws:kms\"".to_owned());
            }
            Some(Sse::Aes256) => Some(S3Encryption::Aes256),
            Some(Sse::CustomerKey) => {
                let file = self.sse_customer_key_file.clone();
                let file = file.ok_or("sse \"customer-key\" needs the file with the key")?;
                Some(S3Encryption::CustomerKey { file })
            }
            None => None,
        };
        if self.sse_customer_key_file.is_some() && self.sse != Some(Sse::CustomerKey) {
            return Err("a customer key file goes with sse \"customer-key\"".to_owned());
        }
        let options = S3Options {
            endpoint: self.endpoint,
            region: self.region,
            path_style: self.path_style,
            ca_file: self.ca_file,
            proxy: self.proxy,
            encryption,
            credentials_file: self.credentials_file,
            profile: self.profile,
            conditional_writes: match self.conditional_writes {
                None | Some(Conditions::Auto) => ConditionalWrites::Auto,
                Some(Conditions::Trusted) => ConditionalWrites::Trusted,
                Some(Conditions::No) => ConditionalWrites::No,
            },
            attempt_timeout: self.attempt_timeout.unwrap_or(defaults.attempt_timeout),
            retry_time: self.retry_time.unwrap_or(defaults.retry_time),
        };
        options.check()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<S3Options, String> {
        toml::from_str::<S3Fragment>(text).unwrap().options()
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(options("").unwrap(), S3Options::default());
        let said = options(
            "endpoint = \"https://s3.example\"\nsse = \"aws:kms\"\nsse_kms_key_id = \"k\"\n\
             conditional_writes = \"trusted\"\nattempt_timeout = \"90s\"",
        )
        .unwrap();
        assert_eq!(said.encryption, Some(S3Encryption::Kms { key_id: Some("k".into()) }));
        assert_eq!(said.conditional_writes, ConditionalWrites::Trusted);
        assert_eq!(said.attempt_timeout, Duration::from_secs(90));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (text, says) in [
            ("sse_kms_key_id = \"k\"", "aws:kms"),
            ("sse = \"customer-key\"", "needs the file"),
            ("sse = \"aes256\"\nsse_customer_key_file = \"/k\"", "customer-key"),
            ("endpoint = \"s3.example\"", "https://"),
            ("proxy = \"http://user:pass@proxy\"", "no place there"),
        ] {
            let error = options(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("pass@"), "{text}: {error}");
        }
    }
}

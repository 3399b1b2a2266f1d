//! How a bucket is reached.

use std::path::PathBuf;
use std::time::Duration;

/// What is to be known of a bucket beside its address. Secrets are named by the files that hold
/// them, never given here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// `https://host[:port]`, or `http://…` for plain HTTP; AWS's own where there is none.
    pub endpoint: Option<String>,
    /// The region that requests are signed for; `us-east-1` where there is none.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host name. By default so where an
    /// endpoint is given or the bucket's name has a dot.
    pub path_style: Option<bool>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `http://host:port` of a proxy.
    pub proxy: Option<String>,
    /// How the store is to encrypt what it keeps.
    pub encryption: Option<S3Encryption>,
    /// The access key in AWS's format; read again when it changes.
    pub credentials_file: Option<PathBuf>,
    /// Which section of that file; `default` where there is none.
    pub profile: Option<String>,
    /// Whether create-if-absent is relied on.
    pub conditional_writes: ConditionalWrites,
    /// How long one attempt of a request may take, and a second more for every 64 KiB it moves.
    pub attempt_timeout: Duration,
    /// How long after the first attempt of a request another may begin.
    pub retry_time: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            proxy: None,
            encryption: None,
            credentials_file: None,
            profile: None,
            conditional_writes: ConditionalWrites::Auto,
            attempt_timeout: Duration::from_secs(30),
            retry_time: Duration::from_secs(180),
        }
    }
}

/// Encryption by the store, on top of the repository's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Encryption {
    /// With keys of the store (SSE-S3).
    Aes256,
    /// With a key of its key management (SSE-KMS).
    Kms {
        /// Which one; the bucket's where there is none.
        key_id: Option<String>,
    },
    /// With a key that goes along with every request (SSE-C).
    CustomerKey {
        /// Holds 32 bytes in base64.
        file: PathBuf,
    },
}

/// Whether a store's create-if-absent is relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalWrites {
    /// Once a probe has not disproved it.
    #[default]
    Auto,
    /// Without a probe: the administrator knows.
    Trusted,
    /// Never: objects are created unconditionally.
    No,
}

impl S3Options {
    /// Checks what can be checked without the files; opening a store does so, too.
    ///
    /// # Errors
    /// What is wrong, as text.
    pub fn check(&self) -> Result<(), String> {
        if let Some(endpoint) = &self.endpoint {
            check_server("endpoint", endpoint)?;
        }
        if let Some(proxy) = &self.proxy {
            check_server("proxy", proxy)?;
        }
        let is_region = |region: &String| {
            !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if let Some(region) = self.region.as_ref().filter(|region| !is_region(region)) {
            return Err(format!("{region:?} is not a region such as eu-central-1"));
        }
        if self.is_plain() && matches!(self.encryption, Some(S3Encryption::CustomerKey { .. })) {
            return Err(
                "a customer key is not sent over plain HTTP: use an https:// endpoint".into()
            );
        }
        Ok(())
    }

    /// Whether requests leave this host unencrypted.
    fn is_plain(&self) -> bool {
        let host = self.endpoint.as_ref().and_then(|endpoint| endpoint.strip_prefix("http://"));
        host.is_some_and(|host| {
            !["127.0.0.1", "localhost", "[::1]"].iter().any(|local| {
                host.strip_prefix(local)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            })
        })
    }
}

fn check_server(name: &str, url: &str) -> Result<(), String> {
    if url.contains('@') {
        // Not shown: what stands before the @ may be a password.
        return Err(format!("{name} holds a user or password, which has no place there"));
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty())
    else {
        return Err(format!(
            "{name} {url:?} is to begin with https:// (or http://, for plain HTTP) and a host"
        ));
    };
    if rest.contains(['?', '#', '%', ' ', '\\']) || rest.chars().any(char::is_control) {
        return Err(format!("{name} {url:?} is to be a host and port"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_option_is_said() {
        let endpoint = |endpoint: &str| S3Options {
            endpoint: Some(endpoint.to_owned()),
            ..S3Options::default()
        };
        for good in ["https://s3.example", "http://127.0.0.1:9000/", "https://[::1]:9000"] {
            assert_eq!(endpoint(good).check(), Ok(()), "{good}");
        }
        for (bad, says) in [
            ("s3.example", "https://"),
            ("https://", "https://"),
            ("https://key:secret@s3.example", "no place there"),
            ("key:secret@s3.example", "no place there"),
            ("socks5://key:secret@s3.example", "no place there"),
            ("https://s3.example/?x", "host and port"),
        ] {
            let error = endpoint(bad).check().unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{bad}: {error}");
        }
        let region = S3Options { region: Some("eu central".into()), ..S3Options::default() };
        assert!(region.check().unwrap_err().contains("eu-central-1"));
    }

    #[test]
    fn a_customer_key_does_not_go_over_an_open_line() {
        let file = PathBuf::from("/k");
        let encryption = Some(S3Encryption::CustomerKey { file });
        for (endpoint, allowed) in [
            ("https://s3.example", true),
            ("http://127.0.0.1:9000", true),
            ("http://s3.example", false),
            ("http://localhost.example", false),
        ] {
            let endpoint = Some(endpoint.to_owned());
            let encryption = encryption.clone();
            let options = S3Options { endpoint, encryption, ..S3Options::default() };
            assert_eq!(options.check().is_ok(), allowed, "{options:?}");
        }
    }
}

//! From options to a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ClientOptions, RetryConfig};

use super::address::Address;
use super::attempt::{WatchedConnector, innermost};
use super::client::{Client, Limits};
use super::conditional::Conditions;
use super::credentials::{FileCredentials, read_line};
use super::options::{S3Encryption, S3Options};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses. Less than servers keep them: what is sent down one
/// that was closed meanwhile is in doubt.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) fn connect(address: Address, options: &S3Options) -> Result<Client, String> {
    options.check()?;
    let Some(file) = &options.credentials_file else {
        return Err("no credentials are named: a bucket needs the file that holds the access key \
                    (`credentials_file` in the configuration, --s3-credentials-file, or the \
                    systemd credential thinmover.s3-credentials)"
            .to_owned());
    };
    let credentials = FileCredentials::new(file, options.profile.as_deref())?;
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&address.bucket)
        .with_region(options.region.as_deref().unwrap_or("us-east-1"))
        .with_credentials(Arc::new(credentials))
        .with_client_options(ClientOptions::new().with_allow_http(is_plain(options)))
        .with_http_connector(WatchedConnector(http_client(options)?))
        .with_disable_bulk_delete(true)
        // Attempts are counted by this module, see `retry`.
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    let builder = encrypted(builder, options.encryption.as_ref())?;
    let builder = reached(builder, &address, options);
    let s3 = builder.build().map_err(|error| innermost(&error))?;
    let place = match &options.endpoint {
        Some(endpoint) => format!("{} ({endpoint})", address.url()),
        None => address.url(),
    };
    let limits = Limits { attempt: options.attempt_timeout, retry: options.retry_time };
    let conditions = Conditions::new(options.conditional_writes);
    Client::new(s3, (address.url(), place, address.prefix), limits, conditions)
        .map_err(|error| format!("threads for it cannot be started: {error}"))
}

/// Where the bucket stands: in the path, or in the host name.
fn reached(builder: AmazonS3Builder, address: &Address, options: &S3Options) -> AmazonS3Builder {
    let endpoint = options.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'));
    let is_in_path =
        options.path_style.unwrap_or(endpoint.is_some() || address.bucket.contains('.'));
    let builder = builder.with_virtual_hosted_style_request(!is_in_path);
    match endpoint.map(|endpoint| (endpoint, endpoint.split_once("://"))) {
        None => builder,
        Some((_, Some((scheme, host)))) if !is_in_path => {
            builder.with_endpoint(format!("{scheme}://{}.{host}", address.bucket))
        }
        Some((endpoint, _)) => builder.with_endpoint(endpoint),
    }
}

fn is_plain(options: &S3Options) -> bool {
    options.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"))
}

/// A client of our own and not the library's: that follows redirects, and takes the session token and
/// a customer key along to wherever they lead.
fn http_client(options: &S3Options) -> Result<reqwest::Client, String> {
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("thinmover/", env!("CARGO_PKG_VERSION")))
        .https_only(!is_plain(options))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT);
    if let Some(proxy) = &options.proxy {
        client = client.proxy(reqwest::Proxy::all(proxy).map_err(|error| innermost(&error))?);
    }
    if let Some(file) = &options.ca_file {
        client = client.tls_certs_merge(certificates(file)?);
    }
    if is_plain(options) && !options.proxy.as_ref().is_some_and(|url| url.starts_with("https://")) {
        // No certificate is asked for, and this host may have none.
        client = client.tls_certs_only([]);
    }
    client.build().map_err(|error| match innermost(&error) {
        // Of rustls-platform-verifier, which has no kind for it.
        reason if reason.contains("No CA certificates") => {
            "this host has no CA certificates: install ca-certificates, or name the file that holds \
             the server's (`ca_file` in the configuration, --s3-ca-file)"
                .to_owned()
        }
        reason => reason,
    })
}

fn certificates(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let shown = file.display();
    let text =
        std::fs::read(file).map_err(|error| format!("CA file {shown} cannot be read: {error}"))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&text)
        .map_err(|error| format!("CA file {shown}: {}", innermost(&error)))?;
    if certificates.is_empty() {
        return Err(format!("CA file {shown} holds no certificate in PEM format"));
    }
    Ok(certificates)
}

fn encrypted(
    builder: AmazonS3Builder,
    encryption: Option<&S3Encryption>,
) -> Result<AmazonS3Builder, String> {
    let kind = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
    let kind = kind.map_err(|error| innermost(&error))?;
    match encryption {
        None => Ok(builder),
        Some(S3Encryption::Aes256) => Ok(builder.with_config(kind, "AES256")),
        Some(S3Encryption::Kms { key_id: None }) => Ok(builder.with_config(kind, "aws:kms")),
        Some(S3Encryption::Kms { key_id: Some(id) }) => Ok(builder.with_sse_kms_encryption(id)),
        Some(S3Encryption::CustomerKey { file }) => {
            let shown = file.display();
            let key = read_line(file)
                .map_err(|error| format!("customer key file {shown} cannot be read: {error}"))?;
            // 32 bytes are 43 digits and one sign of padding.
            let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
            if !key
                .strip_suffix('=')
                .is_some_and(|key| key.len() == 43 && key.bytes().all(is_digit))
            {
                return Err(format!(
                    "customer key file {shown} is to hold 32 bytes in base64 on its first line \
                     (`openssl rand -base64 32`)"
                ));
            }
            Ok(builder.with_ssec_encryption(key.as_str()))
        }
    }
}

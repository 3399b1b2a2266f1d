//! `--s3-…`: how a bucket is reached that is named by its URL. Secrets stand in files.

use std::path::PathBuf;

use crate::config::{Conditions, S3Fragment, Sse};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "S3, with a URL")]
pub(super) struct S3Args {
    /// https://HOST[:PORT] of the store, http://… for plain HTTP; AWS's own without it
    #[arg(long, value_name = "URL", hide_short_help = true)]
    s3_endpoint: Option<String>,
    /// Region of the bucket [default: us-east-1]
    #[arg(long, value_name = "REGION", hide_short_help = true)]
    s3_region: Option<String>,
    /// File with the access key, in the format of ~/.aws/credentials
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    s3_credentials_file: Option<PathBuf>,
    /// Section of that file [default: default]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    s3_profile: Option<String>,
    /// Whether the bucket stands in the path, not in the host name [default: true with an endpoint]
    #[arg(long, value_name = "true|false", hide_short_help = true)]
    s3_path_style: Option<bool>,
    /// File with certificates (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    s3_ca_file: Option<PathBuf>,
    /// Proxy to go through, http://HOST:PORT
    #[arg(long, value_name = "URL", hide_short_help = true)]
    s3_proxy: Option<String>,
    /// How the store is to encrypt what it keeps, on top of the repository's encryption
    #[arg(long, value_enum, hide_short_help = true)]
    s3_sse: Option<Sse>,
    /// Key of its key management, with --s3-sse aws:kms
    #[arg(long, value_name = "ID", hide_short_help = true)]
    s3_sse_kms_key_id: Option<String>,
    /// File with 32 bytes in base64, with --s3-sse customer-key
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    s3_sse_customer_key_file: Option<PathBuf>,
    /// Whether the store's create-if-absent is relied on [default: auto]
    #[arg(long, value_enum, hide_short_help = true)]
    s3_conditional_writes: Option<Conditions>,
}

impl S3Args {
    /// As a configuration would say it.
    pub(super) fn fragment(&self) -> S3Fragment {
        S3Fragment {
            endpoint: self.s3_endpoint.clone(),
            region: self.s3_region.clone(),
            path_style: self.s3_path_style,
            ca_file: self.s3_ca_file.clone(),
            proxy: self.s3_proxy.clone(),
            credentials_file: self.s3_credentials_file.clone(),
            profile: self.s3_profile.clone(),
            sse: self.s3_sse,
            sse_kms_key_id: self.s3_sse_kms_key_id.clone(),
            sse_customer_key_file: self.s3_sse_customer_key_file.clone(),
            conditional_writes: self.s3_conditional_writes,
            ..S3Fragment::default()
        }
    }

    /// Whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        self.fragment() != S3Fragment::default()
    }
}

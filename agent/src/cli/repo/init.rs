//! `thinmover repo init`

use clap::ValueEnum;
use thinmover_repository::{Encryption, InitOptions, Repository};

use crate::cli::invocation::Invocation;
use crate::cli::output::Done;
use crate::cli::password;
use crate::cli::s3::S3Args;
use crate::failure::Result;
use crate::repositories;
use crate::views::RepositoryStatus;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Where, e.g. file:///srv/backup or s3://bucket/prefix, or a configured name
    url: String,
    #[command(flatten)]
    s3: S3Args,
    /// How what is stored is encrypted and authenticated
    #[arg(long, value_enum, default_value_t)]
    encryption: EncryptionArg,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum EncryptionArg {
    /// Fastest where the processor has AES instructions
    #[default]
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
    /// For processors without them
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let location = repositories::locate_new(&invocation.settings, &args.url);
    let (store, password_file) = invocation.store(location, &args.s3)?;
    let passphrase = password::read_new(password_file)?;
    let encryption = match args.encryption {
        EncryptionArg::Aes256Gcm => Encryption::Aes256Gcm,
        EncryptionArg::ChaCha20Poly1305 => Encryption::ChaCha20Poly1305,
    };
    let options = InitOptions { encryption, ..InitOptions::default() };
    let repository = Repository::init(store, &options, &passphrase)?;
    Ok(invocation.answer(&RepositoryStatus::new(&repository)?, &[]))
}

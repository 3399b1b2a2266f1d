//! `thinmover repo init`

use clap::ValueEnum;
use thinmover_repository::{Encryption, InitOptions, Repository};

use crate::cli::invocation::Invocation;
use crate::cli::output::Done;
use crate::cli::password;
use crate::engine::io_engine;
use crate::failure::Result;
use crate::views::RepositoryStatus;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Where, e.g. file:///srv/backup
    url: String,
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
    let store = thinmover_repository::open_store(&args.url, &io_engine(&invocation.settings)?)?;
    let passphrase = password::read_new(invocation.password_file.as_deref())?;
    let encryption = match args.encryption {
        EncryptionArg::Aes256Gcm => Encryption::Aes256Gcm,
        EncryptionArg::ChaCha20Poly1305 => Encryption::ChaCha20Poly1305,
    };
    let options = InitOptions { encryption, ..InitOptions::default() };
    let repository = Repository::init(store, &options, &passphrase)?;
    Ok(invocation.answer(&RepositoryStatus::new(&repository)?, &[]))
}

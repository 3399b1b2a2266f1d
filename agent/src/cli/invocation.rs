//! What every subcommand shares: the global options, the settings, and the way to the repository
//! and to this host's LVM.

use std::path::PathBuf;

use clap::Args;
use thinmover_repository::Repository;

use super::output::{self, Done, Report};
use super::password;
use super::progress::ProgressMode;
use crate::config::{self, Settings};
use crate::failure::{Code, Failure, Result};
use crate::jobs::Engine;

/// Options that stand before or after any subcommand.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Do the job in this process, without the agent
    #[arg(long, global = true)]
    standalone: bool,
    /// Configuration to use instead of /etc/thinmover and /usr/lib/thinmover
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File whose first line is the repository's passphrase
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How to show progress on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    progress: ProgressMode,
}

/// Which repository a command works with.
#[derive(Debug, Args)]
pub(super) struct RepositoryArgs {
    /// Repository: a configured name, or a URL such as file:///srv/backup
    #[arg(long, value_name = "NAME|URL")]
    repo: Option<String>,
}

/// One run of the command line.
pub(super) struct Invocation {
    pub(super) settings: Settings,
    pub(super) json: bool,
    pub(super) progress: ProgressMode,
    pub(super) password_file: Option<PathBuf>,
    standalone: bool,
}

impl Invocation {
    /// Loads the configuration.
    pub(super) fn new(global: GlobalArgs) -> Result<Self> {
        Ok(Self {
            settings: config::load(global.config.as_deref())?,
            json: global.json,
            progress: global.progress,
            password_file: global.password_file,
            standalone: global.standalone,
        })
    }

    /// The job engine in this process.
    ///
    /// # Errors
    /// `NoDaemon` without `--standalone`: never a silent standalone.
    pub(super) fn engine(&self) -> Result<Engine> {
        if !self.standalone {
            return Err(Failure::new(
                Code::NoDaemon,
                "the thinmover agent does not answer on /run/thinmover/api.sock",
            )
            .hint("start it, or add --standalone to do the job in this process"));
        }
        Engine::new(&self.settings)
    }

    /// Opens the repository that is named, or the configured default.
    pub(super) fn repository(&self, args: &RepositoryArgs) -> Result<Repository> {
        let (url, configured) = self.locate(args.repo.as_deref())?;
        let store = thinmover_repository::open_store(&url)?;
        let password_file = self.password_file.as_deref().or(configured);
        Ok(Repository::open(store, &password::read(password_file)?)?)
    }

    /// The URL of the repository that is named, or of the configured default, and the password
    /// file configured with it.
    fn locate(&self, repo: Option<&str>) -> Result<(String, Option<&std::path::Path>)> {
        let usage = |message: String| {
            Failure::new(Code::Usage, message)
                .hint("name it by --repo file:///path, or configure it under [repositories.NAME]")
        };
        match repo.or(self.settings.default_repository.as_deref()) {
            None => Err(usage("no repository is named and none is configured as default".into())),
            Some(url) if url.contains("://") => Ok((url.to_owned(), None)),
            Some(name) => {
                let configured = self.settings.repositories.get(name).ok_or_else(|| {
                    usage(format!("`{name}` is neither a configured repository nor a URL"))
                })?;
                Ok((configured.url.clone(), configured.password_file.as_deref()))
            }
        }
    }

    /// Prints the answer and the warnings.
    pub(super) fn answer(&self, report: &impl Report, warnings: &[String]) -> Done {
        output::print(report, self.json);
        for warning in warnings {
            output::print_warning(warning);
        }
        if warnings.is_empty() { Done::Clean } else { Done::WithWarnings }
    }
}

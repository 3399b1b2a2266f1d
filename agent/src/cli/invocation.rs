//! What every subcommand shares: the global options, the settings, and the way to the repository
//! and to this host's LVM.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use thinmover_repository::{Passphrase, Repository, Store};
use zeroize::Zeroizing;

use super::catalog::Catalog;
use super::output::{self, Done, Report};
use super::password;
use super::progress::ProgressMode;
use super::s3::S3Args;
use super::service::Service;
use crate::config::{self, Settings};
use crate::engine::{Engine, io_engine};
use crate::failure::{Code, Failure, Result};
use crate::http::Client;
use crate::repositories::{self, Location};

/// Options that stand before or after any subcommand.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Do the job in this process, without the agent
    #[arg(long, global = true)]
    pub(super) standalone: bool,
    /// Configuration to use instead of /etc/thinmover and /usr/lib/thinmover
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// File whose first line is the repository's passphrase
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How to show progress on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    progress: ProgressMode,
}

/// Which repository a command works with.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RepositoryArgs {
    /// Repository: a configured name, or a URL such as file:///srv/backup or s3://bucket/prefix
    #[arg(long, value_name = "NAME|URL")]
    pub(super) repo: Option<String>,
    #[command(flatten)]
    pub(super) s3: S3Args,
}

/// A repository and its passphrase.
pub(super) struct Locked<'s> {
    settings: &'s Settings,
    store: Arc<dyn Store>,
    passphrase: Passphrase,
}

impl Locked<'_> {
    /// Opens it. Nobody is asked any more, but deriving the key takes long.
    pub(super) fn open(self) -> Result<Repository> {
        repositories::unlock(self.settings, self.store, &self.passphrase)
    }
}

/// One run of the command line.
pub(super) struct Invocation {
    pub(super) settings: Settings,
    pub(super) json: bool,
    pub(super) progress: ProgressMode,
    pub(super) password_file: Option<PathBuf>,
    pub(super) standalone: bool,
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

    /// Who does the work: the agent, or under `--standalone` this process.
    pub(super) fn service(&self) -> Result<Service> {
        if self.standalone {
            Ok(Service::Here(Box::new(self.engine()?)))
        } else {
            Ok(Service::Agent(self.agent()))
        }
    }

    /// The way to the agent.
    pub(super) fn agent(&self) -> Client {
        Client::new(self.settings.socket())
    }

    /// The job engine in this process.
    pub(super) fn engine(&self) -> Result<Engine> {
        Engine::new(&self.settings)
    }

    /// Where backups are looked up.
    pub(super) fn catalog(&self, args: &RepositoryArgs) -> Result<Catalog> {
        let is_url = args.repo.as_deref().is_some_and(repositories::is_url);
        if self.standalone || is_url {
            let state_dir = self.settings.state_dir.clone();
            Ok(Catalog::Here { repository: Box::new(self.repository(args)?), state_dir })
        } else {
            repositories::locate(&self.settings, args.repo.as_deref())?;
            Ok(Catalog::Agent { agent: self.agent(), repository: args.repo.clone() })
        }
    }

    /// Opens the repository that is named, or the configured default.
    pub(super) fn repository(&self, args: &RepositoryArgs) -> Result<Repository> {
        self.locked(args)?.open()
    }

    /// The store at a place, reached as the command line says, and where its passphrase stands.
    pub(super) fn store<'a>(
        &'a self,
        mut location: Location<'a>,
        s3: &S3Args,
    ) -> Result<(Arc<dyn Store>, Option<&'a Path>)> {
        if s3.is_given() {
            if location.is_configured {
                return Err(Failure::new(Code::Usage, "the options --s3-… go with a URL")
                    .hint("what is configured has them under [repositories.NAME.s3]"));
            }
            location.s3 = s3.fragment().options().map_err(|reason| {
                Failure::new(Code::Usage, format!("the options --s3-…: {reason}"))
            })?;
        }
        let password_file = self.password_file.as_deref().or(location.password_file);
        Ok((repositories::open_store(&location, &io_engine(&self.settings)?)?, password_file))
    }

    /// As [`repository`](Self::repository), with its passphrase at hand and not opened yet.
    pub(super) fn locked(&self, args: &RepositoryArgs) -> Result<Locked<'_>> {
        let location = repositories::locate(&self.settings, args.repo.as_deref())?;
        let (store, password_file) = self.store(location, &args.s3)?;
        let passphrase = password::read(password_file)?;
        Ok(Locked { settings: &self.settings, store, passphrase })
    }

    /// The passphrase that goes to the agent with a job: where a file was named for it, and for a
    /// repository that the agent cannot know. With a configured one the agent has its own.
    ///
    /// # Errors
    /// `Usage` when no such repository is configured, nor any as default, and for options of a
    /// bucket, which the agent has of its own.
    pub(super) fn passphrase_to_send(
        &self,
        args: &RepositoryArgs,
    ) -> Result<Option<Zeroizing<String>>> {
        if args.s3.is_given() {
            let message = "the options --s3-… are not for the agent, which does this job";
            return Err(Failure::new(Code::Usage, message).hint(
                "configure the bucket under [repositories.NAME], or do the job here with \
                 --standalone",
            ));
        }
        let repo = args.repo.as_deref();
        repositories::locate(&self.settings, repo)?;
        let file = self.password_file.as_deref();
        if file.is_some() || repo.is_some_and(repositories::is_url) {
            password::read_text(file).map(Some)
        } else {
            Ok(None)
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

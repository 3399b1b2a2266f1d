//! Running an upload or a download from the command line: by the agent, whose job outlives this
//! process, or under `--standalone` in this process.

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::follow::follow;
use super::invocation::{Invocation, RepositoryArgs};
use super::progress::Display;
use super::service::{Service, understand};
use super::signals;
use crate::engine::{Context, Scope};
use crate::failure::{Code, Failure, Result};
use crate::http::Client;
use crate::jobs::Kind;
use crate::jobs::spec::{Plan, Work};
use crate::stream::Progress;

/// Runs jobs of one kind on one repository.
pub(super) struct Worker<'a> {
    invocation: &'a Invocation,
    kind: Kind,
    service: Service,
    repository: RepositoryArgs,
    passphrase: Option<zeroize::Zeroizing<String>>,
}

impl<'a> Worker<'a> {
    /// Asks for the passphrase where one is needed, once for all jobs.
    pub(super) fn new(
        invocation: &'a Invocation,
        kind: Kind,
        repository: &RepositoryArgs,
    ) -> Result<Self> {
        let service = invocation.service()?;
        let repository = repository.clone();
        let passphrase = match &service {
            Service::Here(_) => None,
            Service::Agent(_) => invocation.passphrase_to_send(&repository)?,
        };
        Ok(Self { invocation, kind, service, repository, passphrase })
    }

    /// Runs a job to its end and returns its report.
    pub(super) fn run<R: DeserializeOwned>(&self, spec: &impl Serialize) -> Result<R> {
        let spec = self.spec(spec)?;
        let progress = Progress::default();
        let report = match &self.service {
            Service::Agent(agent) => {
                let id = self.submit_to(agent, spec)?;
                signals::explain_on_signals(&id);
                let _display = Display::start(self.invocation.progress, &progress);
                follow(agent, &id, &progress)?
            }
            Service::Here(engine) => {
                let plan = Plan::new(self.kind, &spec)?;
                let locked = self.invocation.locked(&self.repository)?;
                // Not before: who is asked for a passphrase can end this by Ctrl-C.
                let cancel = signals::cancel_on_signals()?;
                let repository = locked.open()?;
                cancel.check()?;
                let context = Context {
                    id: Uuid::new_v4().to_string(),
                    scope: Scope::Everything,
                    progress: progress.clone(),
                    cancel,
                    reached: &|_| Ok(()),
                };
                let _display = Display::start(self.invocation.progress, &progress);
                let report = match &plan.work {
                    Work::Upload(spec) => to_value(engine.upload(&repository, spec, &context)?),
                    Work::Download(spec) => {
                        to_value(engine.download(&repository, spec, &context)?)
                    }
                };
                report?
            }
        };
        understand(report)
    }

    /// Hands a job to the agent and returns its id.
    ///
    /// # Errors
    /// `Usage` under `--standalone`, where the job would end with this process.
    pub(super) fn submit(&self, spec: &impl Serialize) -> Result<String> {
        match &self.service {
            Service::Agent(agent) => self.submit_to(agent, self.spec(spec)?),
            Service::Here(_) => Err(Failure::new(
                Code::Usage,
                "--detach needs the agent: with --standalone the job ends with this process",
            )),
        }
    }

    fn spec(&self, spec: &impl Serialize) -> Result<Map<String, Value>> {
        match to_value(spec)? {
            Value::Object(mut spec) => {
                if let Some(repository) = &self.repository.repo {
                    spec.insert("repository".into(), repository.as_str().into());
                }
                Ok(spec)
            }
            _ => Ok(Map::new()),
        }
    }

    fn submit_to(&self, agent: &Client, spec: Map<String, Value>) -> Result<String> {
        let id = Uuid::new_v4().to_string();
        let mut body = json!({ "spec": spec });
        if let Some(passphrase) = &self.passphrase {
            body["credentials"] = json!({ "passphrase": passphrase.as_str() });
        }
        let path = format!("/v1/{}s/{id}", self.kind.as_str());
        agent.call(Method::PUT, &path, Some(&body))?;
        Ok(id)
    }
}

fn to_value(report: impl Serialize) -> Result<Value> {
    serde_json::to_value(report).map_err(|error| Failure::from_error(Code::Failed, &error))
}

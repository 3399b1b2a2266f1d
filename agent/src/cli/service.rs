//! Who does what a command asks for: the agent, over its socket, or under `--standalone` the
//! engine in this process. What comes back is the same.

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::engine::{Engine, Scope, Warned};
use crate::failure::{Code, Failure, Result};
use crate::http::Client;
use crate::views::{Pools, Snapshot, Snapshots, Volumes};

/// The doer.
pub(super) enum Service {
    Here(Box<Engine>),
    Agent(Client),
}

#[derive(Deserialize)]
struct MadeSnapshot {
    snapshot: Snapshot,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    warnings: Vec<String>,
}

impl Service {
    pub(super) fn pools(&self) -> Result<Pools> {
        match self {
            Self::Here(engine) => Ok(Pools::new(&engine.inventory()?)),
            Self::Agent(agent) => get(agent, "/v1/pools"),
        }
    }

    pub(super) fn volumes(&self) -> Result<Volumes> {
        match self {
            Self::Here(engine) => Volumes::read(engine),
            Self::Agent(agent) => get(agent, "/v1/volumes"),
        }
    }

    pub(super) fn snapshots(&self) -> Result<Snapshots> {
        match self {
            Self::Here(engine) => Snapshots::read(engine),
            Self::Agent(agent) => get(agent, "/v1/snapshots"),
        }
    }

    pub(super) fn create_snapshot(
        &self,
        origin: &str,
        name: Option<&str>,
    ) -> Result<Warned<Snapshot>> {
        match self {
            Self::Here(engine) => {
                let (made, warnings) = engine.create_snapshot(origin, name, &Scope::Everything)?;
                Ok((Snapshot::new(&made), warnings))
            }
            Self::Agent(agent) => {
                let path = format!("/v1/snapshots/{}", Uuid::new_v4());
                let spec = json!({"spec": {"source": {"volume": origin}, "name": name}});
                let made = agent.call(Method::PUT, &path, Some(&spec))?;
                let MadeSnapshot { snapshot, warnings } = understand(made)?;
                Ok((snapshot, warnings))
            }
        }
    }

    pub(super) fn delete_snapshot(&self, spec: &str) -> Result<Warned<()>> {
        match self {
            Self::Here(engine) => engine.delete_snapshot(spec),
            Self::Agent(agent) => {
                let path = format!("/v1/snapshots/{}", encode(spec));
                let Done { warnings } = understand(agent.call(Method::DELETE, &path, None)?)?;
                Ok(((), warnings))
            }
        }
    }
}

/// Asks the agent for a document.
pub(super) fn get<T: DeserializeOwned>(agent: &Client, path: &str) -> Result<T> {
    understand(agent.call(Method::GET, path, None)?)
}

/// Reads a document of the agent's.
pub(super) fn understand<T: DeserializeOwned>(document: Value) -> Result<T> {
    serde_json::from_value(document).map_err(|error| {
        Failure::new(Code::Failed, format!("the agent's answer cannot be understood: {error}"))
            .hint("is it of another version? `thinmover status` and `thinmover --version` tell")
    })
}

/// A name as a part of a URL's path or query.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

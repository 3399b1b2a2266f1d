//! The engine with the settings of now.

use std::sync::{Arc, PoisonError, RwLock};

use super::Engine;

/// The agent's engine; a reload of the configuration puts another one in its place. Jobs that run
/// keep the one they began with.
pub(crate) struct CurrentEngine(RwLock<Arc<Engine>>);

impl CurrentEngine {
    pub(crate) fn new(engine: Engine) -> Self {
        Self(RwLock::new(Arc::new(engine)))
    }

    pub(crate) fn get(&self) -> Arc<Engine> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, engine: Engine) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
    }
}

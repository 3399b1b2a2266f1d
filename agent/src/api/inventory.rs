//! `/v1/pools` and `/v1/volumes`

use super::request::Request;
use super::{Shared, ok};
use crate::access::Right;
use crate::failure::Result;
use crate::http::Answer;
use crate::views::{Pools, Volumes};

pub(super) fn pools(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "listing pools")?;
    ok(&Pools::new(&shared.engine.get().inventory()?))
}

pub(super) fn volumes(shared: &Shared, request: &Request) -> Result<Answer> {
    request.caller.require(Right::Read, "listing volumes")?;
    ok(&Volumes::read(&shared.engine.get())?)
}

//! The routes of `heirloom gateway`: any version in front, one version behind.

use super::backend::Backend;
use super::route::{Destination, Route, RouteTable};
use crate::conn::Config;

/// All requests lead to this backend.
#[must_use]
pub fn routes(config: Config, backend: Backend) -> RouteTable {
    RouteTable::new(config).with(Route::below("/", Destination::backend(backend)))
}

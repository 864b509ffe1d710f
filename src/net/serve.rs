//! The routes of `heirloom serve`: echo on any path, a chat at `/chat`, and the
//! lab page at `/`.

use std::sync::Arc;

use super::lab::Lab;
use super::route::{Destination, Route, RouteTable};
use crate::conn::Config;

/// The path of the chat, and its topic.
const CHAT: &str = "/chat";

/// Echo and chat.
#[must_use]
pub fn routes(config: Config) -> RouteTable {
    routes_with(config, [], None)
}

/// Echo and chat with these subprotocols, and the lab page if there is one.
#[must_use]
pub fn routes_with(
    config: Config,
    subprotocols: impl Into<Arc<[String]>>,
    lab: Option<Lab>,
) -> RouteTable {
    let subprotocols = subprotocols.into();
    let echo = lab.map_or(Destination::Echo, Destination::Lab);
    let chat = Route::exact(CHAT, Destination::topic(CHAT));
    RouteTable::new(config)
        .with(chat.with_subprotocols(Arc::clone(&subprotocols)))
        .with(Route::below("/", echo).with_subprotocols(subprotocols))
}

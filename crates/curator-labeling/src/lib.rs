//! The labelling session: a store of events that are never lost, a deck of cards, leases, undo, the HTTP
//! routes and the page. `swipe-labeler` gives it a fixed deck, `active-labeler` one that learns.

mod deck;
mod error;
mod routes;
mod session;
mod store;

pub use curator_core::dataset::Label;
pub use deck::{Answer, Card, Deck, ListDeck, Panel, Picture, browser_picture};
pub use error::{Error, Result};
pub use routes::router;
pub use session::Session;
pub use store::{Event, Store, TRUTH};

//! The labelling session: a store of events that are never lost, a deck of pictures, leases, undo, agreement,
//! the HTTP routes and the page. `swipe-labeler` gives it a [`Queue`], `active-labeler` a deck that learns.

mod agreement;
mod args;
mod consensus;
mod deck;
mod error;
mod lease;
mod ledger;
mod names;
mod order;
mod picture;
mod queue;
mod routes;
mod session;
mod store;

pub use agreement::{Agreement, Pair};
pub use args::TogetherArgs;
pub use consensus::{Rule, Verdict};
pub use curator_core::dataset::Label;
pub use deck::{Answer, Around, Deck, Free, Panel, Pick, encoded, hash};
pub use error::{Error, Result};
pub use ledger::Tally;
pub use order::Order;
pub use picture::{Picture, file as picture_file, shown};
pub use queue::Queue;
pub use routes::router;
pub use session::{
    Asker, Dealt, Given, Overview, PersonView, Progress, Session, Settings, Stored, Surroundings,
    View,
};
pub use store::{Event, Kind, Merged, Recorded, Store, TRUTH, Verified, Writer};

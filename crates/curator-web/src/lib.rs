//! What the web pages share: starting and stopping a server, the access token, the link people open,
//! headers that keep a page to itself, and errors as JSON.
//!
//! A router given to [`serve`] is reached only through the printed link: its token is exchanged for an
//! `HttpOnly`, `SameSite=Strict` cookie, and requests with a foreign `Host` or `Origin` are refused.

mod access;
mod error;
mod reply;
mod server;

pub use access::Access;
pub use error::{Error, Result};
pub use reply::{Problem, asset};
pub use server::{ServeOptions, serve};

//! What `doctor` checks of the catalogue and the network.

use curator_core::doctor::Check;

use crate::catalogue;

/// Whether the catalogue is there, and where newer ones are kept.
pub(crate) fn checks() -> Vec<Check> {
    let (layers, date) = catalogue::built_in();
    let snapshot = Check::good("catalogue", format!("{layers} layers built in, of {date}"));
    let cache = match catalogue::cache_directory() {
        Some(path) => {
            Check::good("cache", format!("newer catalogues are kept in `{}`", path.display()))
        }
        None => Check::limited(
            "cache",
            "neither XDG_CACHE_HOME nor HOME is set",
            "set one of them: the service's catalogue is kept there",
        ),
    };
    vec![snapshot, cache]
}

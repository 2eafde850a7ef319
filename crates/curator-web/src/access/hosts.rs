//! The names a server answers to.

use std::net::IpAddr;

/// The names a server answers to in `Host` headers, whatever the port: a tunnel keeps the port it was given.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Names besides those of loopback.
    pub names: Vec<String>,
    /// Whether any number is accepted as well: DNS rebinding needs a name.
    pub numbers: bool,
}

impl Hosts {
    pub(super) fn has(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let number: Option<IpAddr> = name.parse().ok();
        name.eq_ignore_ascii_case("localhost")
            || number.is_some_and(|ip| self.numbers || ip.is_loopback())
            || self.names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

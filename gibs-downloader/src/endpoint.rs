//! The address of a tile service.

use reqwest::Url;

use crate::{Error, error::Result};

/// The official service, `best` quality, EPSG:4326.
pub(crate) const OFFICIAL: &str = "https://gibs.earthdata.nasa.gov/wmts/epsg4326/best";

/// The path that services with the layout of GIBS have in EPSG:4326.
const PATH: &str = "/wmts/epsg4326/best";

/// A service with the URL layout of GIBS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: Url,
}

impl Endpoint {
    /// Parses an address; one without a path gets that of GIBS.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when it is no HTTP address.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Endpoint { endpoint: text.into(), reason };
        let mut base = Url::parse(text.trim()).map_err(|e| refuse(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(refuse("it must begin with http:// or https:// and a host".into()));
        }
        base.set_query(None);
        base.set_fragment(None);
        let path = match base.path().trim_end_matches('/') {
            "" => PATH.to_string(),
            path => path.to_string(),
        };
        base.set_path(&path);
        Ok(Self { base })
    }

    /// Whether it is the service that the snapshot describes.
    pub(crate) fn is_official(&self) -> bool {
        self.base.as_str() == OFFICIAL
    }

    /// Whether it is this machine: no proxy stands between.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Its host, without port: where the pictures of a directory come from.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// The URL of its WMTS capabilities.
    pub(crate) fn capabilities(&self) -> String {
        format!("{}/1.0.0/WMTSCapabilities.xml", self.base)
    }

    /// The URL that lists every time of a layer from some day to another.
    pub(crate) fn domains(&self, layer: &str, matrix_set: &str, from: &str, to: &str) -> String {
        format!("{}/1.0.0/{layer}/default/{matrix_set}/all/{from}--{to}.xml", self.base)
    }

    /// The template of a layer's tiles: the one given by the capabilities, moved to this host, or
    /// the usual one.
    pub(crate) fn template(
        &self,
        layer: &str,
        given: Option<&str>,
        timed: bool,
        extension: &str,
    ) -> String {
        let time = if timed { "/{Time}" } else { "" };
        let usual = || {
            let base = &self.base;
            format!(
                "{base}/{layer}/default{time}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{extension}"
            )
        };
        given.and_then(|template| self.moved_here(template)).unwrap_or_else(usual)
    }

    /// The address of a document that the service's capabilities name, at this service.
    pub(crate) fn moved(&self, address: &str) -> String {
        self.moved_here(address).unwrap_or_else(|| address.into())
    }

    /// A template with this service's scheme, host and port, so that a mirror is really used.
    fn moved_here(&self, template: &str) -> Option<String> {
        let (_, rest) = template.split_once("://")?;
        let (_, path) = rest.split_once('/')?;
        let origin = self.base.origin().ascii_serialization();
        Some(format!("{origin}/{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_host_gets_the_path_of_gibs() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8080/").unwrap();
        let capabilities = "http://127.0.0.1:8080/wmts/epsg4326/best/1.0.0/WMTSCapabilities.xml";
        assert_eq!(endpoint.capabilities(), capabilities);
        assert!(endpoint.is_loopback() && !endpoint.is_official());
        assert!(Endpoint::parse(&format!("{OFFICIAL}/")).unwrap().is_official());
        assert!(Endpoint::parse("http://[::1]:80").unwrap().is_loopback());
    }

    #[test]
    fn templates_are_those_of_the_capabilities_at_the_endpoint() {
        let endpoint = Endpoint::parse("http://mirror:81/x").unwrap();
        let given = "https://gibs.earthdata.nasa.gov/wmts/epsg4326/best/L/default/{Time}/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.jpeg";
        assert_eq!(
            endpoint.template("L", Some(given), true, "jpeg"),
            given.replace("https://gibs.earthdata.nasa.gov", "http://mirror:81")
        );
        assert_eq!(
            endpoint.template("L", None, false, "png"),
            "http://mirror:81/x/L/default/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"
        );
    }

    #[test]
    fn no_address_is_refused() {
        for bad in ["", "gibs", "ftp://host/x", "http://"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}

//! The address of a service.

use curator_core::Projection;
use reqwest::Url;

use crate::{Error, error::Result};

/// The official service, `best` quality, EPSG:4326.
pub(crate) const OFFICIAL: &str = "https://gibs.earthdata.nasa.gov/wmts/epsg4326/best";

/// The path that services with the layout of GIBS have in EPSG:4326.
const PATH: &str = "/wmts/epsg4326/best";

/// How a service's addresses are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As GIBS makes them.
    Gibs,
    /// As the service's own capabilities say.
    Wmts,
    /// Every tile or picture has its own.
    Other,
}

/// Where tiles come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    base: Url,
    kind: Kind,
}

impl Endpoint {
    /// Parses the address of a service with the URL layout of GIBS; one without a path gets that of GIBS.
    ///
    /// # Errors
    /// [`Error::Endpoint`] when it is no HTTP address.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut base = http(text)?;
        base.set_query(None);
        base.set_fragment(None);
        let path = match base.path().trim_end_matches('/') {
            "" => PATH.to_string(),
            path => path.to_string(),
        };
        base.set_path(&path);
        Ok(Self { base, kind: Kind::Gibs })
    }

    /// A WMTS service, by the address of its capabilities, or of what they lie under.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub(crate) fn wmts(text: &str) -> Result<Self> {
        Ok(Self { base: http(text)?, kind: Kind::Wmts })
    }

    /// A service whose tiles or pictures have addresses of their own.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub(crate) fn other(text: &str) -> Result<Self> {
        Ok(Self { base: http(text)?, kind: Kind::Other })
    }

    /// A file or folder of this machine.
    pub(crate) fn local(path: &std::path::Path) -> Result<Self> {
        let refuse = |reason: &str| Error::Endpoint {
            endpoint: path.display().to_string(),
            reason: reason.into(),
        };
        let path = path.canonicalize().map_err(curator_core::Error::io("read", path))?;
        let base = Url::from_file_path(&path).map_err(|()| refuse("it is no path"))?;
        Ok(Self { base, kind: Kind::Other })
    }

    /// The same service in another projection, where its address says the projection.
    pub(crate) fn in_projection(&self, projection: Projection) -> Self {
        let mut base = self.base.clone();
        if self.kind == Kind::Gibs {
            let segments = base.path().split('/').map(|segment| match epsg(segment) {
                Some(_) => format!("epsg{}", projection.epsg()),
                None => segment.to_string(),
            });
            let path = segments.collect::<Vec<_>>().join("/");
            base.set_path(&path);
        }
        Self { base, kind: self.kind }
    }

    /// The projection that its address says; EPSG:4326 where it says none.
    pub(crate) fn projection(&self) -> Projection {
        self.base.path().split('/').find_map(epsg).unwrap_or_default()
    }

    /// Whether it is the service that the snapshot describes.
    pub(crate) fn is_official(&self) -> bool {
        self.kind == Kind::Gibs
            && self.in_projection(Projection::Geographic).base.as_str() == OFFICIAL
    }

    /// Whether tiles are named and filed as at GIBS.
    pub(crate) fn is_gibs(&self) -> bool {
        self.kind == Kind::Gibs
    }

    /// Whether it is this machine: no proxy stands between.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.base.scheme() == "file" || host == "localhost" || loopback
    }

    /// Its host, without port.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or("localhost")
    }

    /// What the pictures of a directory come from: the host, and for services other than GIBS the path,
    /// which may be one of many services there.
    pub(crate) fn name(&self) -> String {
        match (self.kind, self.base.scheme()) {
            (Kind::Gibs, _) => self.host().into(),
            (_, "file") => "files".into(),
            _ => format!("{}{}", self.host(), self.base.path().trim_end_matches('/')),
        }
    }

    /// The address itself.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of its WMTS capabilities.
    pub(crate) fn capabilities(&self) -> String {
        let base = self.base.as_str().trim_end_matches('/');
        if self.kind == Kind::Gibs {
            return format!("{base}/1.0.0/WMTSCapabilities.xml");
        }
        let query = self.base.query().unwrap_or_default().to_ascii_lowercase();
        if self.base.path().ends_with(".xml") || query.contains("request=getcapabilities") {
            return base.into();
        }
        match self.base.query() {
            Some(_) => format!("{base}&SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities"),
            None if self.base.path().ends_with(".cgi") => {
                format!("{base}?SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities")
            }
            None => format!("{base}/1.0.0/WMTSCapabilities.xml"),
        }
    }

    /// The URL that lists every time of a layer from some day to another.
    pub(crate) fn domains(&self, layer: &str, matrix_set: &str, from: &str, to: &str) -> String {
        let base = self.base.as_str().trim_end_matches("/1.0.0/WMTSCapabilities.xml");
        format!("{base}/1.0.0/{layer}/default/{matrix_set}/all/{from}--{to}.xml")
    }

    /// The template of a layer's tiles: the one given by the capabilities, at GIBS moved to this host, or
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
        let given = given.and_then(|template| match self.kind {
            Kind::Gibs => self.moved_here(template),
            _ => Some(template.to_string()),
        });
        given.unwrap_or_else(usual)
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

/// The projection of a path's segment such as `epsg3413`.
fn epsg(segment: &str) -> Option<Projection> {
    Projection::from_epsg(segment.strip_prefix("epsg")?.parse().ok()?)
}

fn http(text: &str) -> Result<Url> {
    let refuse = |reason: String| Error::Endpoint { endpoint: text.into(), reason };
    let base = Url::parse(text.trim()).map_err(|e| refuse(e.to_string()))?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err(refuse("it must begin with http:// or https:// and a host".into()));
    }
    Ok(base)
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
    fn every_projection_has_its_address() {
        let arctic = Endpoint::parse(OFFICIAL).unwrap().in_projection(Projection::Arctic);
        assert!(arctic.is_official() && arctic.projection() == Projection::Arctic);
        assert!(arctic.capabilities().contains("/wmts/epsg3413/best/1.0.0/"));
        let other = Endpoint::parse("http://mirror/tiles").unwrap();
        assert_eq!(other.in_projection(Projection::Arctic), other);
    }

    #[test]
    fn the_capabilities_of_any_wmts_are_found() {
        for (given, expected) in [
            ("https://h/a/1.0.0/WMTSCapabilities.xml", "https://h/a/1.0.0/WMTSCapabilities.xml"),
            ("https://h/a/", "https://h/a/1.0.0/WMTSCapabilities.xml"),
            (
                "https://h/w?map=m",
                "https://h/w?map=m&SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetCapabilities",
            ),
            ("https://h/w?Request=GetCapabilities", "https://h/w?Request=GetCapabilities"),
        ] {
            assert_eq!(Endpoint::wmts(given).unwrap().capabilities(), expected);
        }
        assert_eq!(Endpoint::wmts("https://h:81/a/").unwrap().name(), "h/a");
    }

    #[test]
    fn no_address_is_refused() {
        for bad in ["", "gibs", "ftp://host/x", "http://"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}

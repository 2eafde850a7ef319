//! What can go wrong with one request, and whether asking again may help.

use std::time::Duration;

use serde::Deserialize;

/// Why a request did not bring a usable tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// No connection, or one that broke.
    #[error("connection failed: {0}")]
    Connection(String),
    /// Nothing came for too long.
    #[error("no answer for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The other side cannot prove that it is the service, or does not speak TLS.
    #[error("no secure connection: {0}")]
    Tls(String),
    /// The way leads to another host.
    #[error("HTTP {code} leads to `{to}`, which is elsewhere and is not followed")]
    Redirect {
        /// The status code.
        code: u16,
        /// Where to.
        to: String,
    },
    /// The service refused with a status.
    #[error("HTTP {code}{}", .exception.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Status {
        /// The status code.
        code: u16,
        /// The XML exception in the body, if there was one.
        exception: Option<Exception>,
        /// How long the service asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// XML where an image was expected, with a status that promised one.
    #[error("XML instead of an image: {0}")]
    Exception(Exception),
    /// An empty body.
    #[error("the body is empty")]
    Empty,
    /// A body of another kind than the layer's.
    #[error("{found} where {expected} was expected")]
    Kind {
        /// The layer's media type.
        expected: String,
        /// What came.
        found: String,
    },
    /// An image that cannot be decoded, or not to its end.
    #[error("damaged image: {0}")]
    Damaged(String),
    /// An image of another size than a tile.
    #[error("an image of {}×{} pixels is no tile of {}×{}", found.0, found.1, expected.0, expected.1)]
    Size {
        /// Width and height of what came.
        found: (u32, u32),
        /// Those of a tile.
        expected: (u32, u32),
    },
    /// A body too large for a tile.
    #[error("the body is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    /// Headers that name a layer or time that cannot be a name.
    #[error("the header `{name}` is `{value}`")]
    Header {
        /// The header.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Trouble {
    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Stalled(_) | Self::Empty | Self::Damaged(_) => true,
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Exception(exception) => exception.code == "NoApplicableCode",
            Self::Tls(_) | Self::Redirect { .. } => false,
            Self::Kind { .. } | Self::Size { .. } | Self::TooLarge(_) | Self::Header { .. } => {
                false
            }
        }
    }

    /// Whether it is the service rather than the tile: many of these in a row mean that it is down.
    pub(crate) fn is_the_service(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Stalled(_) | Self::Tls(_) | Self::Redirect { .. } => true,
            Self::Status { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    /// One word for the digest and for `failures.jsonl`.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Connection(_) => "connection".into(),
            Self::Stalled(_) => "stalled".into(),
            Self::Tls(_) => "tls".into(),
            Self::Redirect { .. } => "redirect".into(),
            Self::Status { code, .. } => format!("http_{code}"),
            Self::Exception(_) => "xml".into(),
            Self::Empty => "empty_body".into(),
            Self::Kind { .. } => "wrong_type".into(),
            Self::Damaged(_) => "damaged".into(),
            Self::Size { .. } => "wrong_size".into(),
            Self::TooLarge(_) => "too_large".into(),
            Self::Header { .. } => "bad_header".into(),
        }
    }

    /// How long the service asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// An `ows:ExceptionReport`, or other XML that came in place of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    /// Such as `InvalidParameterValue`; empty for other XML.
    pub(crate) code: String,
    /// The parameter that is wrong, such as `TIME`.
    pub(crate) locator: String,
    /// What the service says.
    pub(crate) text: String,
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.code, &self.locator, &self.text];
        let parts: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        f.write_str(&parts.join(", "))
    }
}

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "Exception", default)]
    exceptions: Vec<ExceptionElement>,
}

#[derive(Deserialize)]
struct ExceptionElement {
    #[serde(rename = "@exceptionCode", default)]
    code: String,
    #[serde(rename = "@locator", default)]
    locator: String,
    #[serde(rename = "ExceptionText", default)]
    text: Vec<String>,
}

/// Characters of foreign text that are shown.
const SHOWN: usize = 200;

impl Exception {
    /// Reads a body as XML; `None` when it does not begin like XML.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
        if !text.starts_with(b"<") {
            return None;
        }
        let text = &*String::from_utf8_lossy(text);
        let report: Option<Report> = quick_xml::de::from_str(text).ok();
        let first = report.and_then(|r| r.exceptions.into_iter().next());
        Some(match first {
            Some(first) => Self {
                code: first.code,
                locator: first.locator,
                text: shortened(&first.text.join(" ")),
            },
            None => Self { code: String::new(), locator: String::new(), text: shortened(text) },
        })
    }
}

/// Foreign text on one line, without control characters, cut to a readable length.
fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exception_reports_are_read_and_other_xml_is_shown() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
            <ows:ExceptionReport xmlns:ows="http://www.opengis.net/ows/1.1" version="1.1.0">
            <ows:Exception exceptionCode="InvalidParameterValue" locator="TIME">
            <ows:ExceptionText>Invalid time format</ows:ExceptionText></ows:Exception></ows:ExceptionReport>"#;
        let exception = Exception::read(xml).unwrap();
        assert_eq!(exception.to_string(), "InvalidParameterValue, TIME, Invalid time format");
        assert_eq!(Exception::read(b" <html>\n<p>sorry").unwrap().text, "<html> <p>sorry");
        assert_eq!(Exception::read(b"\xff\xd8\xff"), None);
        assert!(Exception::read("<".repeat(9999).as_bytes()).unwrap().text.len() < 300);
    }

    #[test]
    fn what_may_pass_is_asked_again() {
        let status = |code| Trouble::Status { code, exception: None, retry_after: None };
        assert!([408, 429, 500, 502, 503, 504].map(status).iter().all(Trouble::is_transient));
        assert!(![400, 401, 403, 404, 501].map(status).iter().any(Trouble::is_transient));
    }
}

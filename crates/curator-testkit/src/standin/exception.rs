//! Errors as OGC services report them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Text that can stand inside an XML element or attribute.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An answer that is no XML.
pub(super) fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

/// 400: a parameter whose value is not known.
pub(super) fn invalid(locator: &str, value: &str) -> Response {
    bad("InvalidParameterValue", locator, &format!("{locator} `{value}` is not known"))
}

/// 400 with a code.
pub(super) fn bad(code: &str, locator: &str, text: &str) -> Response {
    with_status(StatusCode::BAD_REQUEST, code, locator, text)
}

/// An exception report with a status.
pub(super) fn with_status(status: StatusCode, code: &str, locator: &str, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], report(code, locator, text)).into_response()
}

/// An `ows:ExceptionReport` (OGC 06-121r3, clause 8).
pub(super) fn report(code: &str, locator: &str, text: &str) -> String {
    let (locator, text) = (escaped(locator), escaped(text));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ows:ExceptionReport \
         xmlns:ows=\"http://www.opengis.net/ows/1.1\" version=\"1.1.0\" xml:lang=\"en\">\
         <ows:Exception exceptionCode=\"{code}\" locator=\"{locator}\"><ows:ExceptionText>{text}\
         </ows:ExceptionText></ows:Exception></ows:ExceptionReport>"
    )
}

//! What every request passes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Access;
use crate::Problem;

/// What a page may load: only itself, and pictures made in the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Lets pass who may, and says to browsers what a page of ours may do.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let secure = access.shared.secure;
    harden(pass(access, request, next).await, secure)
}

async fn pass(access: Access, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(str::to_string);
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
    if !access.shared.hosts.has(host.as_deref().unwrap_or_default()) {
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "this server has another name")
            .into_response();
    }
    if !headers.contains_key(header::HOST)
        && let Some(host) = host.and_then(|host| HeaderValue::from_str(&host).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let Some(origin) = access.invited(request.headers()) else {
        return admitted(access, request, next).await;
    };
    let mut response = if *request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else {
        admitted(access, request, next).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// What an invited origin asks before it asks.
fn preflight(headers: &HeaderMap) -> Response {
    let mut answer = vec![
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    if headers.contains_key("access-control-request-private-network") {
        let name = header::HeaderName::from_static("access-control-allow-private-network");
        answer.push((name, "true"));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .extend(answer.into_iter().map(|(n, v)| (n, HeaderValue::from_static(v))));
    response
}

async fn admitted(access: Access, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !origin_is_ours(headers, request.method()) && access.invited(headers).is_none() {
        return Problem::new(StatusCode::FORBIDDEN, "requests come from the page only")
            .into_response();
    }
    let query = request.uri().query().unwrap_or_default();
    let given = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if let Some(token) = given.filter(|_| *request.method() == Method::GET) {
        access.look();
        if let Some(link) = access.read(|links| links.by_token(token).cloned()) {
            return access.admit(&link, headers, request.uri().path());
        }
        return refuse(&access, &request);
    }
    let Some(visitor) = access.visitor(headers) else { return refuse(&access, &request) };
    if let Some(limit) = &access.shared.requests {
        if limit.len() > 10_000 {
            limit.retain_recent();
        }
        if limit.check_key(&visitor.client).is_err() {
            return slow_down();
        }
    }
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(access);
    next.run(request).await
}

/// Wrong links are slowed down; right ones never are, whoever else comes from the same address.
fn refuse(access: &Access, request: &Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip());
    let wrong = &access.shared.wrong;
    if wrong.len() > 10_000 {
        wrong.retain_recent();
    }
    if wrong.check_key(&peer).is_err() {
        return slow_down();
    }
    let mut problem = Problem::new(StatusCode::UNAUTHORIZED, "this link does not open the page");
    problem.hint = Some(
        "open the whole link that the program printed, with its token; it may have been revoked"
            .into(),
    );
    problem.into_response()
}

fn slow_down() -> Response {
    let mut response =
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; wait a second")
            .into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn harden(mut response: Response, secure: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        if secure || name != "cross-origin-opener-policy" {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Access {
    /// The origin of a request, when it is one that was let in besides our own.
    fn invited(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.shared
            .origins
            .iter()
            .any(|own| own.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }
}

/// Requests that change something must come from the page itself.
fn origin_is_ours(headers: &HeaderMap, method: &Method) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let text = |name| headers.get(name).and_then(|h| h.to_str().ok());
    // HTTP/2 has no `Host`; the server puts the authority there.
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
        }
        (Some(_), None) => false,
    }
}

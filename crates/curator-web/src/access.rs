//! Who may use a page: the holder of the link, from the page itself.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;

use crate::Problem;

/// What a page may load: only itself, and pictures made in the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The secret of one server, and the names it answers to.
#[derive(Debug, Clone)]
pub struct Access {
    token: String,
    /// Names in `Host` headers that are accepted, with their port; any when the server is shared.
    hosts: Option<Vec<String>>,
}

impl Access {
    /// A fresh secret of 256 bits. `port` is where the server listens; `shared` accepts every `Host`,
    /// because the names under which others reach this computer are not known.
    #[must_use]
    pub fn new(port: u16, shared: bool) -> Self {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let hosts = names.iter().map(|name| format!("{name}:{port}")).collect();
        Self { token: URL_SAFE_NO_PAD.encode(bytes), hosts: (!shared).then_some(hosts) }
    }

    /// The secret, as it stands in the link.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Guards every route of a router.
    pub fn protect(self, router: axum::Router) -> axum::Router {
        router.layer(middleware::from_fn_with_state(self, guard))
    }

    /// Requests with a foreign `Host` are DNS rebinding; a tunnel keeps the port it was given, so any
    /// port is accepted for loopback names.
    fn host_is_ours(&self, headers: &HeaderMap) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        let name = |host: &str| host.rsplit_once(':').map_or(host, |(name, _)| name).to_string();
        hosts.iter().any(|ours| name(ours) == name(host))
    }

    /// Requests that change something must come from the page itself.
    fn origin_is_ours(headers: &HeaderMap, method: &Method) -> bool {
        if matches!(*method, Method::GET | Method::HEAD) {
            return true;
        }
        let text = |name| headers.get(name).and_then(|h| h.to_str().ok());
        match (text(header::ORIGIN), text(header::HOST)) {
            (None, _) => true,
            (Some(origin), Some(host)) => {
                origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
            }
            (Some(_), None) => false,
        }
    }

    fn is_token(&self, text: &str) -> bool {
        // Compared without an early end, so that time tells nothing.
        let differences =
            text.bytes().zip(self.token.bytes()).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
        text.len() == self.token.len() && differences == 0
    }

    /// Cookies are shared between the ports of a host, so the name has the beginning of the secret's
    /// digest: two servers do not log each other out.
    fn cookie_name(&self) -> String {
        format!("curator_{}", &curator_core::digest::of_bytes(self.token.as_bytes())[..8])
    }
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !access.host_is_ours(headers) {
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "this server has another name")
            .into_response();
    }
    if !Access::origin_is_ours(headers, request.method()) {
        return Problem::new(StatusCode::FORBIDDEN, "requests come from the page only")
            .into_response();
    }
    let query = request.uri().query().unwrap_or_default();
    let given = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if let Some(token) = given {
        return if access.is_token(token) {
            admit(&access, request.uri().path())
        } else {
            refuse()
        };
    }
    let name = access.cookie_name();
    let cookies = headers.get(header::COOKIE).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let known = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(key, value)| key == name && access.is_token(value));
    if !known {
        return refuse();
    }
    harden(next.run(request).await)
}

fn refuse() -> Response {
    let mut problem = Problem::new(StatusCode::UNAUTHORIZED, "this link is not complete");
    problem.hint = Some("open the whole link that the program printed, with its token".into());
    harden(problem.into_response())
}

/// Exchanges the token for a cookie and leads to the address without it.
fn admit(access: &Access, path: &str) -> Response {
    // A path that begins with two slashes would lead to another host.
    let path = format!("/{}", path.trim_start_matches(['/', '\\']));
    let mut response = Redirect::to(&path).into_response();
    let cookie = format!(
        "{}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000",
        access.cookie_name(),
        access.token
    );
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    harden(response)
}

fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    fn page(access: &Access) -> axum::Router {
        access.clone().protect(
            axum::Router::new().route("/", get(|| async { "in" }).post(|| async { "done" })),
        )
    }

    async fn ask(access: &Access, request: axum::http::request::Builder) -> Response {
        page(access).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn request(uri: &str) -> axum::http::request::Builder {
        Request::builder().uri(uri).header(header::HOST, "127.0.0.1:8000")
    }

    #[tokio::test]
    async fn the_link_is_exchanged_for_a_cookie_that_opens_the_page() {
        let access = Access::new(8000, false);
        assert_eq!(ask(&access, request("/")).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&access, request("/?token=wrong")).await.status(), StatusCode::UNAUTHORIZED);
        let entered = ask(&access, request(&format!("/?token={}", access.token()))).await;
        assert_eq!(entered.status(), StatusCode::SEE_OTHER);
        assert_eq!(entered.headers()[header::LOCATION], "/");
        let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap().to_string();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
        let value = cookie.split(';').next().unwrap();
        let inside = ask(&access, request("/").header(header::COOKIE, value)).await;
        assert_eq!(inside.status(), StatusCode::OK);
        assert!(inside.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    }

    #[tokio::test]
    async fn foreign_hosts_and_origins_are_refused() {
        let access = Access::new(8000, false);
        let cookie = format!("{}={}", access.cookie_name(), access.token());
        let foreign = Request::builder().uri("/").header(header::HOST, "evil.example:8000");
        let reply = ask(&access, foreign.header(header::COOKIE, &cookie)).await;
        assert_eq!(reply.status(), StatusCode::MISDIRECTED_REQUEST);
        let post = |origin: &str| {
            request("/")
                .method("POST")
                .header(header::ORIGIN, origin)
                .header(header::COOKIE, &cookie)
        };
        assert_eq!(ask(&access, post("http://evil.example")).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(ask(&access, post("http://127.0.0.1:8000")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn the_redirect_stays_here() {
        let access = Access::new(8000, false);
        let reply =
            ask(&access, request(&format!("//evil.example?token={}", access.token()))).await;
        if let Some(to) = reply.headers().get(header::LOCATION) {
            assert!(!to.to_str().unwrap().starts_with("//"));
        }
    }
}

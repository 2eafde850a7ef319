//! Who may use a page: the holder of a link, from the page itself.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::links::{self, Link, Links, Role};
use crate::{Problem, Result};

/// What a page may load: only itself, and pictures made in the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Wrong links a minute from one address.
const WRONG_LINKS: u32 = 30;
/// How often the file of links is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who sends a request; handlers take it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// What the link allows.
    pub role: Role,
    /// The browser: random, in its cookie, the same on the next day.
    pub client: String,
}

impl Visitor {
    /// # Errors
    /// 403 when the link does not allow what is asked.
    pub fn must_be(&self, needed: Role) -> Result<(), Problem> {
        if self.role.may(needed) {
            Ok(())
        } else {
            let mut problem = Problem::new(StatusCode::FORBIDDEN, "this link does not allow that");
            problem.hint = Some(format!("ask for a link for a {}", needed.name()));
            Err(problem)
        }
    }
}

/// The links of one server, and the names it answers to.
#[derive(Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

struct Shared {
    links: RwLock<Links>,
    /// Where the links are kept.
    file: Option<(PathBuf, Mutex<Seen>)>,
    hosts: Hosts,
    secure: bool,
    requests: Option<DefaultKeyedRateLimiter<String>>,
    wrong: DefaultKeyedRateLimiter<IpAddr>,
}

/// The time of the file that was read, and when it was looked at.
type Seen = (Option<SystemTime>, Instant);

/// The names a server answers to in `Host` headers, whatever the port: a tunnel keeps the port it was given.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Names besides those of loopback.
    pub names: Vec<String>,
    /// Whether any number is accepted as well: DNS rebinding needs a name.
    pub numbers: bool,
}

impl Hosts {
    fn has(&self, host: &str) -> bool {
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

/// How an [`Access`] is set up.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// The directory whose `access.json` keeps the links; in memory when `None`.
    pub directory: Option<PathBuf>,
    /// The names it answers to.
    pub hosts: Hosts,
    /// Whether it is reached through TLS only.
    pub secure: bool,
    /// Requests a second of one browser, with four seconds' worth at once; no limit when `None`.
    pub rate: Option<NonZeroU32>,
}

impl Access {
    /// Opens or makes the links.
    ///
    /// # Errors
    /// When the file of links cannot be read or written.
    pub fn open(options: AccessOptions) -> Result<Self> {
        let links = match &options.directory {
            Some(directory) => Links::read(directory)?,
            None => Links::fresh(),
        };
        let minute = NonZeroU32::new(WRONG_LINKS).unwrap_or(NonZeroU32::MIN);
        let rate = |rate: NonZeroU32| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(3));
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        };
        let file = options.directory.map(|directory| {
            let seen = (links::modified(&directory), Instant::now());
            (directory, Mutex::new(seen))
        });
        Ok(Self {
            shared: Arc::new(Shared {
                links: RwLock::new(links),
                file,
                hosts: options.hosts,
                secure: options.secure,
                requests: options.rate.map(rate),
                wrong: RateLimiter::keyed(Quota::per_minute(minute)),
            }),
        })
    }

    /// The token of a role's lasting link.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn token(&self, role: Role) -> Result<String> {
        self.change(|links| links.lasting(role).token)
    }

    /// Makes a link.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn add(&self, role: Role, hours: Option<u32>) -> Result<Link> {
        self.change(|links| links.add(role, hours))
    }

    /// Revokes a link; whether there was one. Who came through it is out at once.
    ///
    /// # Errors
    /// When the file of links cannot be written.
    pub fn revoke(&self, id: &str) -> Result<bool> {
        self.change(|links| links.revoke(id))
    }

    /// Every link.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.look();
        self.read(|links| links.all().to_vec())
    }

    /// The secret that cookies are signed with, for other signatures of the same server.
    #[must_use]
    pub fn secret(&self) -> String {
        self.read(|links| links.secret().to_string())
    }

    /// Guards every route of a router.
    pub fn protect(self, router: axum::Router) -> axum::Router {
        router.layer(middleware::from_fn_with_state(self, guard))
    }

    fn read<T>(&self, look: impl FnOnce(&Links) -> T) -> T {
        // Links are replaced as a whole, so a panic elsewhere leaves them whole.
        look(&self.shared.links.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Links) -> T) -> Result<T> {
        self.look_now();
        let mut links = self.shared.links.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = links.clone();
        let result = change(&mut changed);
        if let Some((directory, seen)) = &self.shared.file {
            changed.write(directory)?;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = (links::modified(directory), Instant::now());
        }
        *links = changed;
        Ok(result)
    }

    /// Takes up what another process changed in the file of links, looking once a second.
    fn look(&self) {
        if let Some((_, seen)) = &self.shared.file
            && seen.lock().unwrap_or_else(PoisonError::into_inner).1.elapsed() >= LOOK_EVERY
        {
            self.look_now();
        }
    }

    fn look_now(&self) {
        let Some((directory, seen)) = &self.shared.file else { return };
        let modified = links::modified(directory);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.1 = Instant::now();
            if seen.0 == modified {
                return;
            }
            seen.0 = modified;
        }
        match Links::read(directory) {
            Ok(fresh) => {
                *self.shared.links.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
            Err(error) => tracing::warn!("links are as they were: {error}"),
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

    /// Cookies are shared between the ports of a host, so the name has the beginning of the secret's
    /// digest: two servers do not log each other out.
    fn cookie_name(&self) -> String {
        let secret = self.secret();
        format!("curator_{}", &curator_core::digest::of_bytes(secret.as_bytes())[..8])
    }

    /// The browser of a cookie of ours, whether or not its link is good, and the link's id.
    fn known(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let name = self.cookie_name();
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let value = cookies
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)?
            .1;
        let mut parts = value.split('.');
        let (link, client, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let secret = self.secret();
        links::is_signed(secret.as_bytes(), &["cookie", link, client], signature)
            .then(|| (link.into(), client.into()))
    }

    fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        self.look();
        let (link, client) = self.known(headers)?;
        let role = self.read(|links| links.by_id(&link).map(|link| link.role))?;
        Some(Visitor { role, client })
    }

    /// Exchanges a token for a cookie and leads to the address without it. A browser that is known stays
    /// the same person under another link.
    fn admit(&self, link: &Link, headers: &HeaderMap, path: &str) -> Response {
        // A path that begins with two slashes would lead to another host.
        let path = format!("/{}", path.trim_start_matches(['/', '\\']));
        let client = self.known(headers).map_or_else(|| links::random(12), |(_, client)| client);
        let signature = self.read(|links| links.sign(&["cookie", &link.id, &client]));
        let secure = if self.shared.secure { "; Secure" } else { "" };
        // Lax, not Strict: a link that is clicked in a message would otherwise arrive without its cookie.
        // What changes anything is a POST, which a foreign page cannot send with it.
        let cookie = format!(
            "{}={}.{client}.{signature}; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000{secure}",
            self.cookie_name(),
            link.id
        );
        let mut response = Redirect::to(&path).into_response();
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
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
    let headers = request.headers();
    if !Access::origin_is_ours(headers, request.method()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Extension;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    fn access() -> Access {
        Access::open(AccessOptions::default()).unwrap()
    }

    fn page(access: &Access) -> axum::Router {
        let say = |Extension(visitor): Extension<Visitor>| async move { visitor.role.name() };
        access.clone().protect(axum::Router::new().route("/", get(say).post(say)))
    }

    async fn ask(access: &Access, request: axum::http::request::Builder) -> Response {
        page(access).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn request(uri: &str) -> axum::http::request::Builder {
        Request::builder().uri(uri).header(header::HOST, "127.0.0.1:8000")
    }

    async fn enter(access: &Access, role: Role) -> String {
        let token = access.token(role).unwrap();
        let entered = ask(access, request(&format!("/?token={token}"))).await;
        let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_string()
    }

    #[tokio::test]
    async fn the_link_is_exchanged_for_a_cookie_that_opens_the_page() {
        let access = access();
        assert_eq!(ask(&access, request("/")).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&access, request("/?token=wrong")).await.status(), StatusCode::UNAUTHORIZED);
        let token = access.token(Role::Owner).unwrap();
        let entered = ask(&access, request(&format!("/?token={token}"))).await;
        assert_eq!(entered.status(), StatusCode::SEE_OTHER);
        assert_eq!(entered.headers()[header::LOCATION], "/");
        assert_eq!(entered.headers()[header::REFERRER_POLICY], "no-referrer");
        let cookie = entered.headers()[header::SET_COOKIE].to_str().unwrap().to_string();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
        assert!(!cookie.contains(&token), "the cookie does not give the link away");
        let value = cookie.split(';').next().unwrap();
        let inside = ask(&access, request("/").header(header::COOKIE, value)).await;
        assert_eq!(inside.status(), StatusCode::OK);
        assert!(inside.headers().contains_key(header::CONTENT_SECURITY_POLICY));
    }

    #[tokio::test]
    async fn foreign_hosts_and_origins_are_refused() {
        let access = access();
        let cookie = enter(&access, Role::Owner).await;
        for host in ["evil.example:8000", "127.0.0.1.evil.example", "192.0.2.1:8000", ""] {
            let foreign = Request::builder().uri("/").header(header::HOST, host);
            let reply = ask(&access, foreign.header(header::COOKIE, &cookie)).await;
            assert_eq!(reply.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
        for host in ["localhost:9", "[::1]:8000", "127.0.0.1"] {
            let ours = Request::builder().uri("/").header(header::HOST, host);
            let reply = ask(&access, ours.header(header::COOKIE, &cookie)).await;
            assert_eq!(reply.status(), StatusCode::OK, "{host}");
        }
        let post = |origin: &str| {
            request("/")
                .method("POST")
                .header(header::ORIGIN, origin)
                .header(header::COOKIE, &cookie)
        };
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8001"] {
            assert_eq!(ask(&access, post(origin)).await.status(), StatusCode::FORBIDDEN);
        }
        assert_eq!(ask(&access, post("http://127.0.0.1:8000")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn the_redirect_stays_here() {
        let access = access();
        let token = access.token(Role::Owner).unwrap();
        let reply = ask(&access, request(&format!("//evil.example?token={token}"))).await;
        if let Some(to) = reply.headers().get(header::LOCATION) {
            assert!(!to.to_str().unwrap().starts_with("//"));
        }
    }

    #[tokio::test]
    async fn cookies_cannot_be_forged_and_end_with_their_link() {
        let access = access();
        let cookie = enter(&access, Role::Viewer).await;
        let (name, value) = cookie.split_once('=').unwrap();
        let owner = access.add(Role::Owner, None).unwrap();
        let parts: Vec<&str> = value.split('.').collect();
        let forged = format!("{name}={}.{}.{}", owner.id, parts[1], parts[2]);
        let reply = ask(&access, request("/").header(header::COOKIE, forged)).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        let link = access.links().iter().find(|l| l.role == Role::Viewer).unwrap().id.clone();
        assert!(access.revoke(&link).unwrap());
        let reply = ask(&access, request("/").header(header::COOKIE, &cookie)).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        // The same browser under another link is the same person.
        let token = access.token(Role::Labeller).unwrap();
        let again =
            ask(&access, request(&format!("/?token={token}")).header(header::COOKIE, &cookie))
                .await;
        let again = again.headers()[header::SET_COOKIE].to_str().unwrap().to_string();
        assert_eq!(again.split('.').nth(1), cookie.split('.').nth(1));
    }

    #[tokio::test]
    async fn wrong_links_and_floods_are_slowed_down() {
        let options = AccessOptions { rate: NonZeroU32::new(5), ..AccessOptions::default() };
        let access = Access::open(options).unwrap();
        let mut last = StatusCode::OK;
        for _ in 0..=WRONG_LINKS {
            last = ask(&access, request("/?token=wrong")).await.status();
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
        let cookie = enter(&access, Role::Owner).await;
        let mut replies = Vec::new();
        for _ in 0..30 {
            replies.push(ask(&access, request("/").header(header::COOKIE, &cookie)).await.status());
        }
        assert!(replies.contains(&StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(replies[0], StatusCode::OK);
    }

    #[tokio::test]
    async fn links_revoked_by_another_process_are_out() {
        let dir = tempfile::tempdir().unwrap();
        let options =
            AccessOptions { directory: Some(dir.path().into()), ..AccessOptions::default() };
        let access = Access::open(options).unwrap();
        let cookie = enter(&access, Role::Labeller).await;
        let mut other = Links::read(dir.path()).unwrap();
        let id = other.all()[0].id.clone();
        std::thread::sleep(Duration::from_millis(20));
        assert!(other.revoke(&id));
        other.write(dir.path()).unwrap();
        access.look_now();
        let reply = ask(&access, request("/").header(header::COOKIE, &cookie)).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
    }
}

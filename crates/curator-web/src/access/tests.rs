use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;

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
        request("/").method("POST").header(header::ORIGIN, origin).header(header::COOKIE, &cookie)
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
        ask(&access, request(&format!("/?token={token}")).header(header::COOKIE, &cookie)).await;
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
    let options = AccessOptions { directory: Some(dir.path().into()), ..AccessOptions::default() };
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

#[tokio::test]
async fn an_invited_origin_asks_with_a_token_and_no_other_does() {
    let own = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";
    let origins = vec![own.to_string()];
    let access = Access::open(AccessOptions { origins, ..AccessOptions::default() }).unwrap();
    let token = format!("Bearer {}", access.token(Role::Viewer).unwrap());
    let from = |method: &str, origin: &str| {
        request("/").method(method.to_uppercase().as_str()).header(header::ORIGIN, origin)
    };
    let allowed = |reply: &Response| {
        reply
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .map(|v| v.to_str().unwrap().to_string())
    };
    for method in ["get", "post"] {
        let reply = ask(&access, from(method, own).header(header::AUTHORIZATION, &token)).await;
        assert_eq!((reply.status(), allowed(&reply)), (StatusCode::OK, Some(own.to_string())));
        // Its origin alone opens nothing, and neither does a wrong token.
        let reply = ask(&access, from(method, own)).await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        let wrong = from(method, own).header(header::AUTHORIZATION, "Bearer wrong");
        assert_eq!(ask(&access, wrong).await.status(), StatusCode::UNAUTHORIZED);
    }
    let reply = ask(&access, from("options", own)).await;
    assert_eq!((reply.status(), allowed(&reply)), (StatusCode::NO_CONTENT, Some(own.to_string())));
    assert!(!reply.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    for other in ["https://evil.example", "null", "chrome-extension://other", ""] {
        let reply = ask(&access, from("options", other)).await;
        assert_eq!(allowed(&reply), None, "{other}");
        let reply = ask(&access, from("post", other).header(header::AUTHORIZATION, &token)).await;
        assert_eq!((reply.status(), allowed(&reply)), (StatusCode::FORBIDDEN, None), "{other}");
        // A foreign page may send a GET, but is told nothing.
        let reply = ask(&access, from("get", other).header(header::AUTHORIZATION, &token)).await;
        assert_eq!(allowed(&reply), None, "{other}");
    }
    // Programs that are no browsers have no origin.
    let reply = ask(&access, request("/").header(header::AUTHORIZATION, &token)).await;
    assert_eq!(reply.status(), StatusCode::OK);
}

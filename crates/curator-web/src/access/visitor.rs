//! Who sends a request: a browser, by the cookie that it got for a link.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::Access;
use crate::links::{self, Link, Role};
use crate::{Problem, Result};

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

impl Access {
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

    /// By cookie, or, of what is no browser and of add-ons, by the token itself.
    pub(super) fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        self.look();
        let bearer = headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        if let Some(token) = bearer.and_then(|text| text.strip_prefix("Bearer ")) {
            let link = self.read(|links| links.by_token(token).cloned())?;
            return Some(Visitor { role: link.role, client: format!("link-{}", link.id) });
        }
        let (link, client) = self.known(headers)?;
        let role = self.read(|links| links.by_id(&link).map(|link| link.role))?;
        Some(Visitor { role, client })
    }

    /// Exchanges a token for a cookie and leads to the address without it. A browser that is known stays
    /// the same person under another link.
    pub(super) fn admit(&self, link: &Link, headers: &HeaderMap, path: &str) -> Response {
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

//! What pages send, and what of it is accepted.

use std::time::Duration;

use curator_core::dataset::Label;
use curator_web::Problem;
use serde::Deserialize;

use crate::session::Given;
use crate::store::Kind;

/// Longest name of a person.
const MAX_NAME: usize = 60;
/// Most answers in one request.
const MAX_ANSWERS: usize = 256;
/// Longest id of a tile and name of a class, in bytes.
const MAX_TEXT: usize = 4096;

#[derive(Deserialize)]
pub(super) struct Wanted {
    pub(super) who: String,
    pub(super) tab: String,
    pub(super) n: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Tab {
    pub(super) who: String,
    pub(super) tab: String,
}

#[derive(Deserialize)]
pub(super) struct Answers {
    pub(super) who: String,
    pub(super) tab: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    tile: String,
    token: String,
    label: String,
    #[serde(default)]
    class: String,
    #[serde(default)]
    flag: bool,
    milliseconds: Option<i64>,
    /// Milliseconds since it was given.
    #[serde(default)]
    ago: u64,
    key: String,
}

impl Answers {
    /// The answers, with their keys.
    pub(super) fn given(self) -> Result<(Vec<String>, Vec<Given>), Problem> {
        if self.answers.is_empty() || self.answers.len() > MAX_ANSWERS {
            return Err(Problem::bad_request(format!("1 to {MAX_ANSWERS} answers at a time")));
        }
        let given = self.answers.into_iter().map(Answer::given).collect::<Result<Vec<_>, _>>()?;
        Ok((given.iter().map(|given| given.key.clone()).collect(), given))
    }
}

impl Answer {
    fn given(self) -> Result<Given, Problem> {
        let (kind, label) = match self.label.as_str() {
            "skip" => (Kind::Skip, Label::Unsure),
            label => (Kind::Answer, label.parse().map_err(Problem::bad_request)?),
        };
        if self.tile.len() > MAX_TEXT || self.class.len() > MAX_TEXT {
            return Err(Problem::bad_request("a name is too long"));
        }
        Ok(Given {
            tile: self.tile,
            token: self.token,
            kind,
            label,
            class: self.class,
            flag: self.flag,
            milliseconds: self.milliseconds,
            ago: Duration::from_millis(self.ago),
            key: key(&self.key)?,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Undo {
    pub(super) who: String,
    pub(super) tab: String,
    pub(super) key: String,
    /// The key of the answer; the newest when `None`.
    pub(super) of: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Settlement {
    pub(super) who: String,
    pub(super) tab: String,
    #[serde(flatten)]
    answer: Answer,
}

impl Settlement {
    pub(super) fn given(self) -> Result<Given, Problem> {
        self.answer.given()
    }
}

/// A person's name, without spaces around it.
pub(super) fn name(who: &str) -> Result<String, Problem> {
    let who = who.trim();
    if who.is_empty() || who.chars().count() > MAX_NAME || who.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("a name has 1 to {MAX_NAME} characters")));
    }
    Ok(who.into())
}

/// A key that a page chose.
pub(super) fn key(key: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if (8..=64).contains(&key.len()) && key.bytes().all(plain) {
        Ok(key.into())
    } else {
        Err(Problem::bad_request("a key has 8 to 64 letters, digits and hyphens"))
    }
}

//! Checks of an installation, as `doctor` shows them.

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Good,
    /// Works, but slower or with less than it could.
    Limited,
    /// Does not work.
    Broken,
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `libtorch`, `CUDA`, `disk`.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do when it is not good.
    pub hint: Option<String>,
}

impl Check {
    /// A check that found what it should.
    #[must_use]
    pub fn good(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.into(), health: Health::Good, found: found.into(), hint: None }
    }

    /// A check that found less than it could.
    #[must_use]
    pub fn limited(name: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        let (found, hint) = (found.into(), Some(hint.into()));
        Self { name: name.into(), health: Health::Limited, found, hint }
    }

    /// A check that failed.
    #[must_use]
    pub fn broken(name: &str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        let (found, hint) = (found.into(), Some(hint.into()));
        Self { name: name.into(), health: Health::Broken, found, hint }
    }
}

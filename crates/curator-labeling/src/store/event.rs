//! What is recorded.

use curator_core::dataset::Label;

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Somebody judged a tile.
    #[default]
    Answer,
    /// Somebody could not judge it: the picture cannot be shown.
    Skip,
    /// The owner decided what people disagreed about; counts before every answer.
    Settle,
}

impl Kind {
    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Skip => "skip",
            Self::Settle => "settle",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Answer, Self::Skip, Self::Settle].into_iter().find(|kind| kind.name() == name)
    }
}

/// An answer to be recorded, or one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number in the order of recording; 0 before it is recorded.
    pub seq: i64,
    /// Unique key; an event of a key that is there already is not recorded again.
    pub key: String,
    /// What it is.
    pub kind: Kind,
    /// The tile.
    pub tile_id: String,
    /// The recipe that made its pixels.
    pub variant: String,
    /// Digest of its pixels.
    pub content_id: String,
    /// What was said; of skips it means nothing.
    pub label: Label,
    /// Which of several classes, for positives; otherwise empty.
    pub class: String,
    /// Marked for another look.
    pub flag: bool,
    /// Who said it.
    pub who: String,
    /// The browser it came from; empty for programs.
    pub client: String,
    /// When, RFC 3339.
    pub at: String,
    /// How long it took.
    pub milliseconds: Option<i64>,
    /// Why it was asked, or why it was skipped.
    pub reason: String,
}

impl Event {
    /// An answer without more than what must be known.
    #[must_use]
    pub fn answer(key: &str, tile_id: &str, label: Label, who: &str, at: &str) -> Self {
        Self {
            seq: 0,
            key: key.into(),
            kind: Kind::Answer,
            tile_id: tile_id.into(),
            variant: String::new(),
            content_id: String::new(),
            label,
            class: String::new(),
            flag: false,
            who: who.into(),
            client: String::new(),
            at: at.into(),
            milliseconds: None,
            reason: String::new(),
        }
    }

    /// Whether two events say the same: one that is sent again may differ in nothing of this.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        (self.kind, &self.tile_id, self.label, &self.class, &self.client)
            == (other.kind, &other.tile_id, other.label, &other.class, &other.client)
    }
}

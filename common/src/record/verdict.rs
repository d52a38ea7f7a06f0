use serde::{Deserialize, Serialize};

/// What is to happen to a manifest, and why: the key `verdict` of a plan's manifest records.
///
/// `{"action":"keep","untag":[],"reasons":[{"rule":"in-use","why":"prod/shop/Deployment/web runs 1.2"}]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is to be done.
    pub action: Action,
    /// The tags to take away, where `action` is [`Action::Untag`].
    #[serde(default)]
    pub untag: Vec<String>,
    /// All reasons that apply.
    pub reasons: Vec<Reason>,
}

/// What is to be done with a manifest. An unknown action is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It stays.
    Keep,
    /// It stays, some of its tags go.
    Untag,
    /// It goes, and all of its tags with it.
    Delete,
}

/// One reason: the rule, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule's name, as a flag or a hold is called: `in-use`, `keep-newest`, `delete-rest`.
    pub rule: String,
    /// Why it applies.
    pub why: String,
}

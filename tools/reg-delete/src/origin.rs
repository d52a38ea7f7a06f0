//! What a journal remembers of the plan that led to it: without it a resumption would know other names, and be younger than the plan.
//!
//! Owns what of a plan goes into the header of a run, and how several of these become one. Pure.

use chrono::{DateTime, Utc};
use common::inventory::Alias;
use common::record::{Header, Policy};
use common::reference::Host;

/// The names that decided, and the age of what was decided on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Origin {
    pub(crate) aliases: Vec<Alias>,
    /// The hosts that are no other name of any.
    pub(crate) strangers: Vec<Host>,
    /// When the oldest listing or inventory was taken.
    pub(crate) plan_time: Option<DateTime<Utc>>,
}

impl Origin {
    /// Adds another: all names count, and the oldest time.
    pub(crate) fn add(&mut self, other: &Self) {
        let new = |alias: &&Alias| !self.aliases.contains(alias);
        let aliases: Vec<Alias> = other.aliases.iter().filter(new).cloned().collect();
        self.aliases.extend(aliases);
        let strangers: Vec<Host> = other.strangers.iter().filter(|host| !self.strangers.contains(host)).cloned().collect();
        self.strangers.extend(strangers);
        self.plan_time = self.plan_time.into_iter().chain(other.plan_time).min();
    }

    /// Puts it into the header of a run.
    pub(crate) fn write_into(&self, header: &mut Header) {
        header.plan_time = self.plan_time;
        if !self.aliases.is_empty() || !self.strangers.is_empty() {
            header.policy = Some(Policy {
                alias: self.aliases.iter().map(Alias::to_string).collect(),
                not_alias: self.strangers.iter().map(Host::to_string).collect(),
                ..Policy::default()
            });
        }
    }
}

//! The names of all rules, holds and keeps, and sets of them.

use std::fmt;

/// Writes down each rule once, with its name in a record.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// Why something stays or goes. The order is that in which reasons are told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        /// All rules, in the order in which reasons are told.
        pub const ALL: [Rule; [$($name),*].len()] = [$(Rule::$rule),*];

        impl Rule {
            /// The rule's name in a record.
            pub fn name(self) -> &'static str {
                match self {
                    $(Rule::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    // Holds: never deleted.
    Frozen = "frozen",
    Filtered = "filtered",
    InUse = "in-use",
    InUseOtherName = "in-use-other-name",
    KeepList = "keep-list",
    ChildInUse = "child-in-use",
    ChildOfKept = "child-of-kept",
    ReferrerOfKept = "referrer-of-kept",
    NewerThanInventory = "newer-than-inventory",
    NoDate = "no-date",
    NoVersion = "no-version",
    Last = "last",
    // Keep rules.
    KeepNewest = "keep-newest",
    KeepAroundInUse = "keep-around-in-use",
    KeepWithin = "keep-within",
    // Why a delete rule does not reach it.
    AlsoTagged = "also-tagged",
    NotSelected = "not-selected",
    /// No rule speaks of it.
    Unmatched = "no-rule",
    // Delete rules.
    DeleteOlderThan = "delete-older-than",
    DeleteUnusedRepositories = "delete-unused-repositories",
    DeleteUntagged = "delete-untagged",
    DeleteRest = "delete-rest",
    Dependent = "dependent",
}

impl Rule {
    /// Whether it is a delete rule.
    pub fn deletes(self) -> bool {
        self >= Rule::DeleteOlderThan
    }

    /// Whether it holds or keeps, or says that a delete rule does not reach so far.
    pub fn keeps(self) -> bool {
        self < Rule::Unmatched
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of rules.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules(u32);

impl Rules {
    pub fn add(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u8;
    }

    pub fn add_if(&mut self, rule: Rule, applies: bool) {
        if applies {
            self.add(rule);
        }
    }

    pub fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u8))
    }

    pub fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }

    pub fn keeps(self) -> bool {
        self.iter().any(Rule::keeps)
    }

    pub fn deletes(self) -> bool {
        self.iter().any(Rule::deletes)
    }

    pub fn iter(self) -> impl Iterator<Item = Rule> {
        ALL.into_iter().filter(move |rule| self.has(*rule))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter().map(Rule::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Rule::*;
    use super::*;

    #[test]
    fn every_rule_is_in_its_place() {
        for (index, rule) in ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, index);
        }
        let mut rules = Rules::default();
        rules.add(KeepNewest);
        rules.add(DeleteRest);
        assert!(rules.keeps() && rules.deletes() && rules.has(KeepNewest) && !rules.has(InUse));
        assert!(!Unmatched.keeps() && !Unmatched.deletes());
    }
}

//! Says in words why a manifest stays or goes. Pure; only asked for what is written or told.

use std::collections::HashSet;

use common::cli::count;
use common::inventory::UseEntry;
use common::record::{Action, Field, Reason, Verdict};

use crate::decide::Decided;
use crate::policy::Order;
use crate::rule::Rule;

impl Decided<'_> {
    /// The verdict of the manifest at a place, as the plan tells it: with all reasons that apply.
    pub fn verdict(&self, place: usize) -> Verdict {
        let decision = &self.verdicts[place];
        let applies = |rule: &Rule| match decision.action {
            Action::Keep => !rule.deletes(),
            Action::Untag => true,
            Action::Delete => rule.deletes(),
        };
        let mut reasons = Vec::new();
        for rule in decision.rules.iter().filter(applies) {
            reasons.extend(self.why(place, rule).into_iter().map(|why| Reason { rule: rule.name().to_owned(), why }));
        }
        Verdict { action: decision.action, untag: decision.untag.iter().map(|tag| tag.to_string()).collect(), reasons }
    }

    /// The sentences of one rule: one for each use, one for any other rule.
    fn why(&self, place: usize, rule: Rule) -> Vec<String> {
        let entry = &self.repository.entries[place];
        let edges = self.graph.edges(place);
        let policy = self.world.policy;
        let age = || {
            self.verdicts[place]
                .age
                .map_or_else(|| "at an unknown time".to_owned(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        };
        let named = |places: &[usize]| places.iter().map(|place| self.name(*place)).collect::<Vec<_>>().join(", ");
        let staying =
            |places: &[usize]| places.iter().copied().filter(|place| self.verdicts[*place].action != Action::Delete).collect::<Vec<_>>();
        let one = match rule {
            Rule::Frozen => {
                let cause = self.repository.complete.as_ref().err().map_or("", String::as_str);
                format!("the repository could not be listed whole ({cause}): look into it with reg-check")
            }
            Rule::Filtered if edges.absent_child => "a child of this index did not come: a filter dropped it".to_owned(),
            Rule::Filtered if !edges.children.is_empty() => {
                "a manifest that this index leads to did not come: a filter dropped it".to_owned()
            }
            Rule::Filtered if edges.absent_above => "what it belongs to did not come: a filter dropped it".to_owned(),
            Rule::Filtered => "what is in use here did not come, so what was before it is not known: a filter dropped it".to_owned(),
            Rule::InUse | Rule::InUseOtherName => {
                let mut told = HashSet::new();
                let uses = self.holders.get(&place).into_iter().flatten().filter(|(held_by, _)| *held_by == rule);
                return uses.map(|(_, used)| self.use_in_words(place, used)).filter(|words| told.insert(words.clone())).collect();
            }
            Rule::KeepList => {
                let kept = self.world.kept;
                let line = kept.digest(&entry.digest).or_else(|| entry.tags.iter().find_map(|tag| kept.tag(tag))).or_else(|| kept.whole());
                format!("the keep list names {}", line.unwrap_or_default())
            }
            Rule::ChildInUse => "a manifest that it leads to is in use, or named in the keep list".to_owned(),
            Rule::ChildOfKept => format!("belongs to {}", named(&staying(&edges.parents))),
            Rule::ReferrerOfKept => format!("is about {}", named(&staying(&edges.subjects))),
            Rule::NewerThanInventory => {
                let taken =
                    self.world.inventory.time().map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default();
                format!("came at {}, after the inventory was taken at {taken}", age())
            }
            Rule::NoDate => "has no date that can be true, and what has no date is not old".to_owned(),
            Rule::NoVersion => "has no tag that is a version, and the newest are found by version".to_owned(),
            Rule::Last if entry.own_tags().next().is_none() => {
                "leads to the newest of what is tagged here, all of which would go though the repository is in use".to_owned()
            }
            Rule::Last => "everything tagged in this repository, which is in use, would go; this is the newest".to_owned(),
            Rule::KeepNewest => {
                let rank = self.ranking.iter().position(|ranked| *ranked == place).map_or(0, |rank| rank + 1);
                let by = if policy.order == Order::Time { "" } else { " by version" };
                format!("number {rank} of the newest {}{by}", policy.newest())
            }
            Rule::KeepAroundInUse => match self.windows.get(&place) {
                Some((_, 0)) | None => "is in use".to_owned(),
                Some((anchor, distance)) => format!("number {distance} before {}, which is in use", self.name(*anchor)),
            },
            Rule::KeepWithin => format!("came at {}, within {}", age(), policy.keep_within.unwrap_or_default()),
            Rule::AlsoTagged => format!("also tagged {}", self.unselected_tags(place).collect::<Vec<_>>().join(", ")),
            Rule::NotSelected if !self.world.is_selected => "the rules are not about this repository".to_owned(),
            Rule::NotSelected if self.counts_as_untagged(place) => "has no tag, and the rules are about tags".to_owned(),
            Rule::NotSelected => "the rules are about none of its tags".to_owned(),
            Rule::Unmatched => "no rule deletes it".to_owned(),
            Rule::DeleteOlderThan => format!("came at {}, more than {} ago", age(), policy.delete_older_than.unwrap_or_default()),
            Rule::DeleteUnusedRepositories => "nobody uses this repository".to_owned(),
            Rule::DeleteUntagged if !entry.tags.is_empty() => "what it is about is gone".to_owned(),
            Rule::DeleteUntagged => "has no tag".to_owned(),
            Rule::DeleteRest => "no rule keeps it".to_owned(),
            Rule::Dependent => format!("goes with {}", named(&edges.above().collect::<Vec<_>>())),
        };
        vec![one]
    }

    /// A manifest for people: its tags, or the front of its digest.
    fn name(&self, place: usize) -> String {
        let entry = &self.repository.entries[place];
        let tags: Vec<&str> = entry.own_tags().collect();
        if tags.is_empty() { entry.digest.short() } else { tags.join(", ") }
    }

    /// `prod/shop/Deployment/web runs 1.2`
    fn use_in_words(&self, place: usize, used: &UseEntry) -> String {
        let entry = &self.repository.entries[place];
        let record = &used.record;
        let named = self.named.get(&std::ptr::from_ref(used));
        let names_here = named.is_some();
        let by_tag = record.tag.as_deref().filter(|tag| names_here && entry.tags.iter().any(|known| **known == **tag));
        let what = match by_tag {
            Some(tag) => tag.to_owned(),
            None if record.config_digest.is_some() && record.config_digest == entry.config => {
                format!("the image with config {}", record.config_digest.as_ref().map(common::digest::Digest::short).unwrap_or_default())
            }
            None => entry.digest.short(),
        };
        // Finished ones stay until somebody removes them, and hold the image: nobody can tell from the outside whether they are needed.
        let has_finished = record.pods > 0 && record.finished_pods >= record.pods;
        let verb = match record.field {
            Some(Field::History) => "may roll back to",
            Some(Field::Node) => "has in its cache",
            _ if has_finished => "ran",
            _ => "runs",
        };
        let pods = match record.pods {
            all if has_finished => format!(" in {}", count(all, "finished pod")),
            0 | 1 => String::new(),
            all => format!(" in {}", count(all, "pod")),
        };
        let foreign = if named == Some(&Rule::InUse) { String::new() } else { format!(", as {}", record.image) };
        format!("{} {verb} {what}{pods}{foreign}", used.record.user())
    }
}

//! Gives each manifest of one repository its verdict. No input, no output, no clock: everything that is decided is decided here.
//!
//! The unit is the manifest, by digest, in one repository; deleting it takes all of its tags with it. A manifest is *held*
//! (never deleted, whatever the rules), else *kept* by any keep rule, else *deleted* by a delete rule that selects every tag of
//! it; what no rule matches stays. A *dependent*, which has a parent or a subject, has no age and takes no place: it goes with
//! all that it depends on, and stays with any.
//!
//! Every step can only add to what stays when records are missing: what is named and did not come holds what it may be part of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::graph::{Graph, Node};
use common::inventory::{Inventory, Kept, RepositoryUses, UseEntry};
use common::record::Action;

use crate::entry::Entry;
use crate::policy::{Order, Policy, first_plausible_date};
use crate::rule::{Rule, Rules};
use crate::version::Version;

/// What is decided on: one repository, whole.
#[derive(Debug)]
pub struct Repository<'a> {
    /// Its manifests, each digest once.
    pub entries: &'a [Entry],
    /// Whether the listing could read all of it; why not.
    pub complete: Result<(), String>,
    /// Whether all came that the listing wrote, or a filter dropped some.
    pub all_came: bool,
}

/// What is known of the world beside the listing.
#[derive(Debug)]
pub struct World<'a> {
    pub policy: &'a Policy,
    pub now: DateTime<Utc>,
    pub inventory: &'a Inventory,
    pub uses: &'a RepositoryUses<'a>,
    pub kept: &'a Kept<'a>,
    /// Whether the rules are about this repository.
    pub is_selected: bool,
}

/// The verdicts of one repository, and what is needed to explain them.
#[derive(Debug)]
pub struct Decided<'a> {
    pub repository: &'a Repository<'a>,
    pub world: &'a World<'a>,
    pub graph: Graph,
    /// By place.
    pub verdicts: Vec<Decision>,
    /// The uses that hold a manifest directly, by place.
    pub holders: BTreeMap<usize, Vec<(Rule, &'a UseEntry)>>,
    /// The order of the places that count, newest first.
    pub ranking: Vec<usize>,
    /// For what a window keeps: the place of the one in use, and how many before it.
    pub windows: BTreeMap<usize, (usize, usize)>,
    /// The uses that name this repository, and under which name.
    pub named: HashMap<*const UseEntry, Rule>,
    /// For an index, the uses of its children that did not come or are missing.
    absent_children_in_use: BTreeMap<usize, Vec<&'a UseEntry>>,
    /// How many in use have no place in the order, so that nothing before them could be kept.
    pub undated_in_use: usize,
}

/// One manifest's verdict.
#[derive(Debug, Clone)]
pub struct Decision {
    pub action: Action,
    pub rules: Rules,
    /// The tags that go, where the action is [`Action::Untag`].
    pub untag: Vec<Box<str>>,
    /// When it came to be, if that is known.
    pub age: Option<DateTime<Utc>>,
}

/// Where a manifest stands in the total order: newest last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing<'a> {
    first: Option<Key>,
    second: Option<Key>,
    tag: Option<&'a str>,
    digest: &'a Digest,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Time(DateTime<Utc>),
    Version(Version),
}

/// Decides one repository.
pub fn decide<'a>(repository: &'a Repository<'a>, world: &'a World<'a>) -> Decided<'a> {
    let entries = repository.entries;
    let graph = Graph::new(entries.iter().map(|entry| Node {
        digest: &entry.digest,
        children: &entry.children,
        parents: &entry.parents,
        subjects: &entry.subjects,
        missing: &entry.missing,
    }));
    let verdicts = entries
        .iter()
        .map(|entry| Decision { action: Action::Keep, rules: Rules::default(), untag: Vec::new(), age: age(entry, world.now) })
        .collect();
    let named = |uses: &[&'a UseEntry], rule| uses.iter().map(move |used| (std::ptr::from_ref(*used), rule)).collect::<Vec<_>>();
    let own_names_last = [named(&world.uses.other_name, Rule::InUseOtherName), named(&world.uses.own, Rule::InUse)];
    let mut decided = Decided {
        repository,
        world,
        graph,
        verdicts,
        holders: BTreeMap::new(),
        ranking: Vec::new(),
        windows: BTreeMap::new(),
        named: own_names_last.into_iter().flatten().collect(),
        absent_children_in_use: BTreeMap::new(),
        undated_in_use: 0,
    };
    decided.find_uses();
    decided.hold();
    decided.rank();
    decided.keep();
    decided.delete();
    decided.settle();
    decided.untag();
    decided
}

/// The later of built and pushed; a date that cannot be true is none. What was pushed after this run began is younger than
/// anything that could be asked, however long ago it was built.
fn age(entry: &Entry, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let plausible = |time: &DateTime<Utc>| *time >= first_plausible_date() && *time <= now;
    if entry.pushed.is_some_and(|pushed| pushed > now) {
        return None;
    }
    entry.created.filter(plausible).max(entry.pushed.filter(plausible))
}

impl<'a> Decided<'a> {
    fn policy(&self) -> &'a Policy {
        self.world.policy
    }

    pub fn is_in_use(&self) -> bool {
        !self.world.uses.is_empty()
    }

    pub fn is_dependent(&self, place: usize) -> bool {
        self.graph.edges(place).is_dependent()
    }

    /// Without a tag, or pointing at nothing that is left.
    pub fn counts_as_untagged(&self, place: usize) -> bool {
        let entry = &self.repository.entries[place];
        entry.tags.is_empty() || (!self.is_dependent(place) && entry.has_lost_all_above())
    }

    fn some_tag_selected(&self, place: usize) -> bool {
        let entry = &self.repository.entries[place];
        entry.tags.iter().any(|tag| self.policy().tags.selects(tag))
    }

    /// Whether the rules are about it at all.
    fn is_selected(&self, place: usize) -> bool {
        let by_tags = if self.counts_as_untagged(place) { self.policy().tags.is_empty() } else { self.some_tag_selected(place) };
        self.world.is_selected && by_tags
    }

    /// Its tags that the rules are not about, so that they keep it.
    pub fn unselected_tags(&self, place: usize) -> impl Iterator<Item = &'a str> {
        let tags = &self.policy().tags;
        self.repository.entries[place].own_tags().filter(move |tag| !tags.selects(tag))
    }

    /// Whether it takes a place in a count.
    fn takes_place(&self, place: usize) -> bool {
        let entry = &self.repository.entries[place];
        self.is_selected(place) && !self.is_dependent(place) && !self.counts_as_untagged(place) && !entry.is_build_cache
    }

    /// Whether the count rules cover this repository.
    fn counts_here(&self) -> bool {
        !self.policy().delete_unused_repositories || self.is_in_use()
    }

    fn counting(&self) -> bool {
        self.counts_here() && (self.policy().newest() > 0 || self.policy().around().is_some_and(|number| number > 0))
    }

    /// Finds the uses of each manifest: by tag where they name this repository, by content wherever they are.
    fn find_uses(&mut self) {
        let world = self.world;
        let mut by_tag: HashMap<&str, Vec<(Rule, &'a UseEntry)>> = HashMap::new();
        for (rule, uses) in [(Rule::InUse, &world.uses.own), (Rule::InUseOtherName, &world.uses.other_name)] {
            for entry in uses {
                if let Some(tag) = &entry.record.tag {
                    by_tag.entry(tag.as_str()).or_default().push((rule, entry));
                }
            }
        }
        for (place, entry) in self.repository.entries.iter().enumerate() {
            let mut holders: Vec<(Rule, &'a UseEntry)> =
                entry.tags.iter().filter_map(|tag| by_tag.get(tag.as_ref())).flatten().copied().collect();
            let mut known: HashSet<*const UseEntry> = holders.iter().map(|(_, holder)| std::ptr::from_ref(*holder)).collect();
            for digest in std::iter::once(&entry.digest).chain(&entry.config) {
                let further = world.inventory.of_content(digest).filter(|holder| known.insert(std::ptr::from_ref(*holder)));
                holders.extend(further.map(|holder| (self.named.get(&std::ptr::from_ref(holder)).copied().unwrap_or(Rule::InUse), holder)));
            }
            // A child that the registry does not have may run all the same, from the cache of a node.
            let of_children =
                entry.children.iter().filter(|child| self.graph.place(child).is_none()).flat_map(|child| world.inventory.of_content(child));
            for holder in of_children {
                self.absent_children_in_use.entry(place).or_default().push(holder);
            }
            for (rule, _) in &holders {
                self.verdicts[place].rules.add(*rule);
            }
            if !holders.is_empty() {
                self.holders.insert(place, holders);
            }
        }
    }

    /// What is held, except for what is held because another one stays.
    fn hold(&mut self) {
        let frozen = self.repository.complete.is_err();
        let lost_place = self.has_lost_a_place();
        let inventory_time = self.world.inventory.time();
        let policy = self.policy();
        let asks_age_of_all =
            inventory_time.is_some() || policy.kept_since(self.world.now).is_some() || policy.deleted_before(self.world.now).is_some();
        let whole = self.world.kept.whole().is_some();
        // A child that did not come may be in use, and would hold every index that leads to it.
        let mut torn: Vec<bool> = (0..self.verdicts.len()).map(|place| self.graph.edges(place).absent_child).collect();
        self.graph.mark_parents(&mut torn);
        for (place, torn) in torn.into_iter().enumerate() {
            let entry = &self.repository.entries[place];
            let edges = self.graph.edges(place);
            let listed = entry.tags.iter().filter(|tag| self.world.kept.tag(tag).is_some()).count() > 0;
            let pinned = self.world.kept.digest(&entry.digest).is_some();
            let counted = self.counting() && self.takes_place(place);
            let age = self.verdicts[place].age;
            let needs_date = asks_age_of_all || (counted && policy.order == Order::Time);
            let dependent = edges.is_dependent();
            let no_version = counted && policy.order == Order::Version && highest_version(entry).is_none();
            let filtered = lost_place || torn || edges.absent_above;
            let rules = &mut self.verdicts[place].rules;
            rules.add_if(Rule::Frozen, frozen);
            rules.add_if(Rule::Filtered, filtered);
            rules.add_if(Rule::KeepList, whole || listed || pinned);
            rules.add_if(Rule::NoDate, !dependent && needs_date && age.is_none());
            rules.add_if(Rule::NoVersion, !dependent && no_version);
            rules.add_if(Rule::NewerThanInventory, !dependent && age > inventory_time && inventory_time.is_some());
        }
    }

    /// Whether a use leads to a manifest that did not come, so that its place in the count is lost, and with it what was kept
    /// before it.
    fn has_lost_a_place(&self) -> bool {
        if self.policy().around().is_none_or(|number| number == 0) || !self.is_in_use() {
            return false;
        }
        if self.repository.all_came {
            return false;
        }
        let entries = self.repository.entries;
        let tags: HashSet<&str> = entries.iter().flat_map(|entry| &entry.tags).map(AsRef::as_ref).collect();
        // Several manifests may share a config, so that one which is here does not tell that all are.
        let is_here = |entry: &UseEntry| {
            entry.record.tag.as_ref().is_none_or(|tag| tags.contains(tag.as_str()))
                && entry.manifests().all(|digest| self.graph.place(digest).is_some())
                && entry.record.config_digest.is_none()
        };
        // An index that lacks a child may be the place of a use that only the child would tell.
        let torn = (0..entries.len()).any(|place| self.graph.edges(place).absent_child);
        let leads_away = || {
            let mut reached: Vec<bool> = (0..self.verdicts.len()).map(|place| self.holders.contains_key(&place)).collect();
            self.graph.mark_parents(&mut reached);
            reached.iter().enumerate().any(|(place, reached)| *reached && self.graph.edges(place).absent_above)
        };
        torn || !self.world.uses.iter().all(is_here) || leads_away()
    }

    /// Puts what takes a place in order, newest first.
    fn rank(&mut self) {
        let order = self.policy().order;
        let has_key = |place: usize| match order {
            Order::Time => self.verdicts[place].age.is_some(),
            Order::Version => highest_version(&self.repository.entries[place]).is_some(),
        };
        let mut ranking: Vec<usize> = (0..self.verdicts.len()).filter(|place| self.takes_place(*place) && has_key(*place)).collect();
        ranking.sort_by_cached_key(|place| Reverse(self.standing(*place)));
        self.ranking = ranking;
    }

    /// Total and stable: time, then version, then tag, then digest; or version first.
    fn standing(&self, place: usize) -> Standing<'a> {
        let entry = &self.repository.entries[place];
        let time = self.verdicts[place].age.map(Key::Time);
        let version = highest_version(entry).map(Key::Version);
        let (first, second) = if self.policy().order == Order::Time { (time, version) } else { (version, time) };
        Standing { first, second, tag: entry.tags.iter().map(AsRef::as_ref).max(), digest: &entry.digest }
    }

    /// The keep rules.
    fn keep(&mut self) {
        if self.counts_here() {
            for place in self.ranking.iter().take(self.policy().newest()) {
                self.verdicts[*place].rules.add(Rule::KeepNewest);
            }
            if let Some(around) = self.policy().around() {
                self.keep_around(around);
            }
        }
        if let Some(since) = self.policy().kept_since(self.world.now) {
            for place in 0..self.verdicts.len() {
                let young = self.verdicts[place].age.is_some_and(|age| age > since);
                if young && !self.is_dependent(place) && self.is_selected(place) {
                    self.verdicts[place].rules.add(Rule::KeepWithin);
                }
            }
        }
    }

    /// Each tagged digest that a use of this repository leads to (a platform's digest through its index), and so many before it.
    fn keep_around(&mut self, around: usize) {
        let names_here = |holder: &UseEntry| self.named.contains_key(&std::ptr::from_ref(holder));
        let mut anchors = vec![false; self.verdicts.len()];
        for (place, holders) in &self.holders {
            anchors[*place] = holders.iter().any(|(_, holder)| names_here(holder));
        }
        for (place, holders) in &self.absent_children_in_use {
            anchors[*place] |= holders.iter().any(|holder| names_here(holder));
        }
        self.graph.mark_parents(&mut anchors);
        let mut nearest = None;
        for (rank, place) in self.ranking.iter().enumerate() {
            if anchors[*place] {
                nearest = Some((rank, *place));
            }
            if let Some((anchor_rank, anchor)) = nearest.filter(|(anchor_rank, _)| rank - anchor_rank <= around) {
                self.verdicts[*place].rules.add(Rule::KeepAroundInUse);
                self.windows.insert(*place, (anchor, rank - anchor_rank));
            }
        }
        self.undated_in_use =
            (0..anchors.len()).filter(|place| anchors[*place] && self.takes_place(*place) && !self.windows.contains_key(place)).count();
    }

    /// The delete rules, and why they may not reach.
    fn delete(&mut self) {
        let policy = self.policy();
        let before = policy.deleted_before(self.world.now);
        for place in 0..self.verdicts.len() {
            let selected = self.is_selected(place);
            let untagged = self.counts_as_untagged(place);
            let kept_by_tag = self.unselected_tags(place).next().is_some();
            let dependent = self.is_dependent(place);
            let in_use = self.is_in_use();
            let verdict = &mut self.verdicts[place];
            let old = before.is_some_and(|before| verdict.age.is_some_and(|age| age <= before));
            let rules = &mut verdict.rules;
            if dependent {
                rules.add_if(Rule::NotSelected, !self.world.is_selected);
                rules.add_if(Rule::AlsoTagged, self.world.is_selected && kept_by_tag);
            } else if selected {
                rules.add_if(Rule::DeleteOlderThan, old);
                rules.add_if(Rule::DeleteUnusedRepositories, policy.delete_unused_repositories && !in_use);
                rules.add_if(Rule::DeleteUntagged, policy.delete_untagged && untagged);
                rules.add_if(Rule::DeleteRest, policy.delete_rest);
                rules.add_if(Rule::AlsoTagged, kept_by_tag && rules.deletes());
            } else {
                rules.add(Rule::NotSelected);
            }
        }
    }

    /// Settles what stays because something else stays, and what goes.
    fn settle(&mut self) {
        let count = self.verdicts.len();
        // What is used or named by hand holds the indexes that lead to it.
        let mut used: Vec<bool> = self
            .verdicts
            .iter()
            .map(|verdict| [Rule::InUse, Rule::InUseOtherName, Rule::KeepList].iter().any(|rule| verdict.rules.has(*rule)))
            .collect();
        for place in self.absent_children_in_use.keys() {
            used[*place] = true;
        }
        self.graph.mark_parents(&mut used);
        for place in 0..count {
            let child_used =
                self.absent_children_in_use.contains_key(&place) || self.graph.edges(place).children.iter().any(|child| used[*child]);
            self.verdicts[place].rules.add_if(Rule::ChildInUse, child_used);
        }
        let mut stays = self.staying(|rules| rules);
        self.hold_the_last(&mut stays);
        self.hold_what_hangs_in_the_air(&mut stays);
        for place in 0..count {
            let edges = self.graph.edges(place);
            let (below_kept, about_kept) =
                (edges.parents.iter().any(|parent| stays[*parent]), edges.subjects.iter().any(|subject| stays[*subject]));
            let goes_with = self.is_dependent(place) && !stays[place];
            let rules = &mut self.verdicts[place].rules;
            rules.add_if(Rule::ChildOfKept, below_kept);
            rules.add_if(Rule::ReferrerOfKept, about_kept);
            rules.add_if(Rule::Dependent, goes_with);
            rules.add_if(Rule::Unmatched, stays[place] && !rules.keeps());
            self.verdicts[place].action = if stays[place] { Action::Keep } else { Action::Delete };
        }
    }

    /// What stays by the rules that `count` leaves, and what stays because of that.
    fn staying(&self, count: impl Fn(Rules) -> Rules) -> Vec<bool> {
        let stays =
            |(place, verdict): (usize, &Decision)| count(verdict.rules).keeps() || (!self.is_dependent(place) && !verdict.rules.deletes());
        let mut stays: Vec<bool> = self.verdicts.iter().enumerate().map(stays).collect();
        self.graph.mark_dependents(&mut stays);
        stays
    }

    /// A repository in use is never emptied: if all that is tagged would go, the newest stays. What stays only because a filter
    /// dropped something does not count, or a filter could make the newest go.
    fn hold_the_last(&mut self, stays: &mut [bool]) {
        let would_stay = self.staying(|rules| rules.without(Rule::Filtered));
        let tagged = |place: &usize| self.repository.entries[*place].own_tags().next().is_some();
        let candidates: Vec<usize> = (0..stays.len()).filter(tagged).collect();
        if !self.is_in_use() || candidates.iter().any(|place| would_stay[*place]) {
            return;
        }
        let newest =
            candidates.into_iter().max_by_key(|place| (self.takes_place(*place), !self.is_dependent(*place), self.standing(*place)));
        if let Some(newest) = newest {
            let mut held = vec![false; stays.len()];
            held[newest] = true;
            self.graph.mark_parents(&mut held);
            for (place, held) in held.into_iter().enumerate() {
                stays[place] |= held;
                self.verdicts[place].rules.add_if(Rule::Last, held);
            }
            self.graph.mark_dependents(stays);
        }
    }

    /// A dependent goes with something that goes. Where a hostile listing has manifests depend on each other in a circle, no
    /// rule ever spoke of them, and they stay.
    fn hold_what_hangs_in_the_air(&mut self, stays: &mut [bool]) {
        let mut goes: Vec<bool> = (0..stays.len()).map(|place| !stays[place] && !self.is_dependent(place)).collect();
        self.graph.mark_dependents(&mut goes);
        let mut changed = false;
        for place in 0..stays.len() {
            if !stays[place] && !goes[place] {
                self.verdicts[place].rules.add(Rule::Filtered);
                stays[place] = true;
                changed = true;
            }
        }
        if changed {
            self.graph.mark_dependents(stays);
        }
    }

    /// Takes expired tags off what stays, where that was asked for: never one that a use or the keep list names, nor the last.
    fn untag(&mut self) {
        if !self.policy().untag {
            return;
        }
        for place in 0..self.verdicts.len() {
            // The tags that the rules are not about, and a use of another tag, are what may stand beside an expired tag.
            let expired =
                self.verdicts[place].action == Action::Keep
                    && self.verdicts[place].rules.deletes()
                    && self.verdicts[place].rules.iter().filter(|rule| rule.keeps()).all(|rule| {
                        matches!(rule, Rule::AlsoTagged | Rule::InUse | Rule::InUseOtherName | Rule::ChildInUse | Rule::KeepList)
                    });
            if !expired || self.world.kept.whole().is_some() || self.world.kept.digest(&self.repository.entries[place].digest).is_some() {
                continue;
            }
            let entry = &self.repository.entries[place];
            let named_by_use = |tag: &str| self.world.uses.iter().any(|used| used.record.tag.as_deref() == Some(tag));
            let goes = |tag: &str| {
                self.policy().tags.selects(tag)
                    && !common::reference::is_referrer_tag(tag)
                    && !named_by_use(tag)
                    && self.world.kept.tag(tag).is_none()
            };
            let mut untag: Vec<Box<str>> = entry.tags.iter().filter(|tag| goes(tag)).cloned().collect();
            if untag.len() == entry.own_tags().count() {
                let last = (0..untag.len()).max_by_key(|index| (Version::of_tag(&untag[*index]), untag[*index].clone()));
                last.map(|last| untag.remove(last));
            }
            if !untag.is_empty() {
                self.verdicts[place].action = Action::Untag;
                self.verdicts[place].untag = untag;
            }
        }
    }
}

/// The highest version among the tags.
pub fn highest_version(entry: &Entry) -> Option<Version> {
    entry.tags.iter().filter_map(|tag| Version::of_tag(tag)).max()
}

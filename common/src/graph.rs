//! How the manifests of one repository hang together: indexes and their children, subjects and their referrers.
//!
//! Every edge is known from either end, because a filter between the tools may drop one of the two records: an index names
//! its children, and a child names its parents. What is named, did not come, and is not known to be missing in the registry,
//! is *absent*: nothing may be decided as if it did not exist. Pure.

use std::collections::HashMap;

use crate::digest::Digest;

/// What a graph is built of: one manifest's digest and the digests that it names.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The manifest.
    pub digest: &'a Digest,
    /// The manifests that it names as an index.
    pub children: &'a [Digest],
    /// The indexes that name it.
    pub parents: &'a [Digest],
    /// The manifests that it is about.
    pub subjects: &'a [Digest],
    /// Those of its children and subjects that the registry does not have.
    pub missing: &'a [Digest],
}

/// One manifest's neighbours, by their places in the list that the graph was built of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edges {
    /// Manifests that it names as an index.
    pub children: Vec<usize>,
    /// Indexes that name it.
    pub parents: Vec<usize>,
    /// Manifests that it is about.
    pub subjects: Vec<usize>,
    /// Manifests that are about it.
    pub referrers: Vec<usize>,
    /// Whether it names a child that did not come and is not known to be missing.
    pub absent_child: bool,
    /// Whether a parent or a subject of it did not come and is not known to be missing.
    pub absent_above: bool,
}

impl Edges {
    /// Whether a parent or a subject of it is (or may be) there: it goes and stays with these.
    #[must_use]
    pub fn is_dependent(&self) -> bool {
        self.absent_above || !self.parents.is_empty() || !self.subjects.is_empty()
    }

    /// What stays because this one stays: children and referrers.
    pub fn dependents(&self) -> impl Iterator<Item = usize> {
        self.children.iter().chain(&self.referrers).copied()
    }

    /// What it depends on: parents and subjects.
    pub fn above(&self) -> impl Iterator<Item = usize> {
        self.parents.iter().chain(&self.subjects).copied()
    }
}

/// The manifests of one repository and how they hang together.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    edges: Vec<Edges>,
    places: HashMap<Digest, usize>,
}

impl Graph {
    /// Builds the graph. A digest that comes twice is one node, at its first place.
    pub fn new<'a>(nodes: impl ExactSizeIterator<Item = Node<'a>> + Clone) -> Self {
        let mut places = HashMap::with_capacity(nodes.len());
        for (place, node) in nodes.clone().enumerate() {
            places.entry(node.digest.clone()).or_insert(place);
        }
        let mut edges = vec![Edges::default(); nodes.len()];
        for (place, node) in nodes.enumerate() {
            let place = places.get(node.digest).copied().unwrap_or(place);
            for child in node.children {
                match places.get(child) {
                    Some(child) if *child != place => {
                        connect(&mut edges, place, *child, |edges| &mut edges.children, |edges| &mut edges.parents)
                    }
                    Some(_) => {}
                    None => edges[place].absent_child |= !node.missing.contains(child),
                }
            }
            for parent in node.parents {
                match places.get(parent) {
                    Some(parent) if *parent != place => {
                        connect(&mut edges, *parent, place, |edges| &mut edges.children, |edges| &mut edges.parents)
                    }
                    Some(_) => {}
                    None => edges[place].absent_above |= !node.missing.contains(parent),
                }
            }
            for subject in node.subjects {
                match places.get(subject) {
                    Some(subject) if *subject != place => {
                        connect(&mut edges, *subject, place, |edges| &mut edges.referrers, |edges| &mut edges.subjects)
                    }
                    Some(_) => {}
                    None => edges[place].absent_above |= !node.missing.contains(subject),
                }
            }
        }
        for edges in &mut edges {
            for list in [&mut edges.children, &mut edges.parents, &mut edges.subjects, &mut edges.referrers] {
                list.sort_unstable();
                list.dedup();
            }
        }
        Self { edges, places }
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The neighbours of the manifest at a place; none for a place that is not there.
    #[must_use]
    pub fn edges(&self, place: usize) -> &Edges {
        const NONE: &Edges = &Edges {
            children: Vec::new(),
            parents: Vec::new(),
            subjects: Vec::new(),
            referrers: Vec::new(),
            absent_child: false,
            absent_above: false,
        };
        self.edges.get(place).unwrap_or(NONE)
    }

    /// Where a manifest stands.
    #[must_use]
    pub fn place(&self, digest: &Digest) -> Option<usize> {
        self.places.get(digest).copied()
    }

    /// Marks what stays because the marked ones stay: their children and referrers, at any depth.
    pub fn mark_dependents(&self, marked: &mut [bool]) {
        self.spread(marked, |edges| [&edges.children, &edges.referrers]);
    }

    /// Marks the indexes that name a marked one, at any depth.
    pub fn mark_parents(&self, marked: &mut [bool]) {
        self.spread(marked, |edges| [&edges.parents, &[]]);
    }

    /// A circle, which only a hostile listing can hold, does no harm: each place is visited once.
    fn spread(&self, marked: &mut [bool], neighbours: for<'a> fn(&'a Edges) -> [&'a [usize]; 2]) {
        let mut open: Vec<usize> = (0..marked.len()).filter(|place| marked[*place]).collect();
        while let Some(place) = open.pop() {
            for next in neighbours(self.edges(place)).into_iter().flatten() {
                if !marked[*next] {
                    marked[*next] = true;
                    open.push(*next);
                }
            }
        }
    }

    /// An order in which each manifest stands before its children and its referrers: the order of deletion; the reverse is the
    /// order of putting back. Within that, by digest. What hangs together in a circle, which only a
    /// hostile listing can do, comes last.
    #[must_use]
    pub fn top_down(&self, digests: &[Digest]) -> Vec<usize> {
        use std::cmp::Reverse;
        use std::collections::BinaryHeap;

        let mut waiting: Vec<usize> = self.edges.iter().map(|edges| edges.above().count()).collect();
        let mut ready: BinaryHeap<_> =
            (0..self.len()).filter(|place| waiting[*place] == 0).map(|place| Reverse((digests.get(place), place))).collect();
        let mut order = Vec::with_capacity(self.len());
        let mut done = vec![false; self.len()];
        while let Some(Reverse((_, place))) = ready.pop() {
            done[place] = true;
            order.push(place);
            for next in self.edges[place].dependents() {
                waiting[next] -= 1;
                if waiting[next] == 0 {
                    ready.push(Reverse((digests.get(next), next)));
                }
            }
        }
        order.extend((0..self.len()).filter(|place| !done[*place]));
        order
    }
}

/// Writes an edge at both of its ends.
fn connect(
    edges: &mut [Edges],
    above: usize,
    below: usize,
    down: fn(&mut Edges) -> &mut Vec<usize>,
    up: fn(&mut Edges) -> &mut Vec<usize>,
) {
    down(&mut edges[above]).push(below);
    up(&mut edges[below]).push(above);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    struct Fixture {
        digest: Digest,
        children: Vec<Digest>,
        parents: Vec<Digest>,
        subjects: Vec<Digest>,
        missing: Vec<Digest>,
    }

    fn fixture(name: &str, children: &[&str], parents: &[&str], subjects: &[&str], missing: &[&str]) -> Fixture {
        let digests = |names: &[&str]| names.iter().map(|name| digest(name)).collect();
        Fixture {
            digest: digest(name),
            children: digests(children),
            parents: digests(parents),
            subjects: digests(subjects),
            missing: digests(missing),
        }
    }

    fn graph(fixtures: &[Fixture]) -> Graph {
        Graph::new(fixtures.iter().map(|f| Node {
            digest: &f.digest,
            children: &f.children,
            parents: &f.parents,
            subjects: &f.subjects,
            missing: &f.missing,
        }))
    }

    #[test]
    fn an_edge_is_known_from_either_end() {
        let from_above = graph(&[fixture("index", &["child"], &[], &[], &[]), fixture("child", &[], &[], &[], &[])]);
        let from_below = graph(&[fixture("index", &[], &[], &[], &[]), fixture("child", &[], &["index"], &[], &[])]);
        for graph in [from_above, from_below] {
            assert_eq!((graph.edges(0).children.as_slice(), graph.edges(1).parents.as_slice()), (&[1][..], &[0][..]));
            assert!(graph.edges(1).is_dependent() && !graph.edges(0).is_dependent());
        }
    }

    #[test]
    fn what_did_not_come_is_absent_unless_it_is_missing() {
        let graph = graph(&[
            fixture("a", &["gone"], &[], &[], &["gone"]),
            fixture("b", &["dropped"], &[], &[], &[]),
            fixture("c", &[], &["dropped"], &[], &[]),
            fixture("d", &[], &[], &["gone"], &["gone"]),
            fixture("e", &[], &[], &["dropped"], &[]),
        ]);
        let flags: Vec<_> = (0..5).map(|place| (graph.edges(place).absent_child, graph.edges(place).absent_above)).collect();
        assert_eq!(flags, [(false, false), (true, false), (false, true), (false, false), (false, true)]);
        assert!(!graph.edges(3).is_dependent(), "a referrer of a subject that is gone depends on nothing");
    }

    #[test]
    fn deletion_goes_from_the_top() {
        let fixtures = [
            fixture("signature", &[], &[], &["child"], &[]),
            fixture("child", &[], &[], &[], &[]),
            fixture("inner", &["child"], &[], &[], &[]),
            fixture("outer", &["inner"], &[], &[], &[]),
        ];
        let digests: Vec<_> = fixtures.iter().map(|fixture| fixture.digest.clone()).collect();
        assert_eq!(graph(&fixtures).top_down(&digests), [3, 2, 1, 0]);
    }

    #[test]
    fn circles_end() {
        let fixtures = [fixture("a", &["b"], &[], &[], &[]), fixture("b", &["a"], &[], &[], &[]), fixture("c", &["c"], &[], &[], &[])];
        let digests: Vec<_> = fixtures.iter().map(|fixture| fixture.digest.clone()).collect();
        let graph = graph(&fixtures);
        assert_eq!(graph.top_down(&digests).len(), 3);
        let mut marked = vec![true, false, false];
        graph.mark_dependents(&mut marked);
        assert_eq!(marked, [true, true, false]);
    }
}

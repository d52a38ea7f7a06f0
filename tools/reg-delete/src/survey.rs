//! What a registry says of a repository before the first deletion in it: where its tags point now, and whether what is used by
//! digest is there.
//!
//! Owns which questions are asked and what their answers hold. It only reads. Any answer but a digest or MANIFEST_UNKNOWN is an
//! error, because then it is not known what must stay.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Context as _;
use common::digest::Digest;
use common::manifest::{Child, DOCKER_MANIFEST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, Manifest, OCI_MANIFEST};
use common::reference::{Tag, Target};
use common::registry::tags::TagList;
use common::registry::{Error, Head, Registry};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::work::{Place, Work};

/// A digest that somebody uses, and who.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) digest: Digest,
    pub(crate) user: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// What must stay, and why.
    pub(crate) held: HashMap<Digest, String>,
    /// What is used by digest and is there: indexes that name it stay, too.
    pub(crate) used: HashSet<Digest>,
    /// The tags of what is to lose some of them.
    pub(crate) tags: HashMap<Digest, BTreeSet<Tag>>,
    /// The registry knows nothing of the repository but perhaps the name.
    pub(crate) ghost: bool,
}

/// Asks a registry about one repository, a few questions at a time.
pub(crate) async fn survey(registry: &Registry, work: &Work, asked: &[Asked], jobs: usize) -> anyhow::Result<Survey> {
    let surveyor = Surveyor { registry, place: &work.place, jobs };
    // A name in the list that can be no tag cannot be pulled by either, so it holds nothing.
    let list = registry.tags(&work.place.repository).await?;
    surveyor.list_is_true(work, &list).await?;
    let tags: Vec<(Tag, Option<Head>)> = stream::iter(list.tags)
        .map(|tag| async move {
            let head = look(registry, &work.place, &Target::Tag(tag.clone()), list.ghost).await?;
            Ok::<_, Error>((tag, head))
        })
        .buffer_unordered(jobs)
        .try_collect()
        .await?;
    let mut survey = Survey { held: by_tags(work, &tags), ghost: list.ghost, ..Survey::default() };
    let mut roots: Vec<Root> = Vec::new();
    let goes: HashSet<&Digest> = work.deletes.iter().map(|doomed| &doomed.digest).collect();
    for (tag, head) in tags {
        if let Some(head) = head
            && !goes.contains(&head.digest)
        {
            if work.untags.iter().any(|untag| untag.digest == head.digest) {
                survey.tags.entry(head.digest.clone()).or_default().insert(tag.clone());
            }
            roots.push(Root {
                why: format!("{}, which the tag {tag} names and the plan does not take, names it", head.digest.short()),
                head,
            });
        }
    }
    let used: Vec<(&Asked, Option<Head>)> = stream::iter(asked)
        .map(|asked| async move {
            let head = look(registry, &work.place, &Target::Digest(asked.digest.clone()), list.ghost).await?;
            Ok::<_, Error>((asked, head))
        })
        .buffer_unordered(jobs)
        .try_collect()
        .await?;
    for (asked, head) in used {
        if let Some(head) = head {
            survey.used.insert(head.digest.clone());
            survey.held.entry(head.digest.clone()).or_insert_with(|| format!("in use by its digest: {}", asked.user));
            roots.push(Root { why: format!("{}, which {} uses by digest, names it", head.digest.short(), asked.user), head });
        }
    }
    surveyor.hold_children(roots, &mut survey.held).await?;
    Ok(survey)
}

/// A manifest of which all children are held.
struct Root {
    head: Head,
    why: String,
}

struct Surveyor<'a> {
    registry: &'a Registry,
    place: &'a Place,
    jobs: usize,
}

impl Surveyor<'_> {
    /// Asks for the tags of the plan that the list lacks. If one answers the list was cut or is made up, and what else it lacks may
    /// hold what is to go. Gone is fine. Manifests that answer prove nothing: without tags they are in no list.
    async fn list_is_true(&self, work: &Work, list: &TagList) -> anyhow::Result<()> {
        let own = work.deletes.iter().flat_map(|doomed| &doomed.tags).chain(work.untags.iter().flat_map(|untag| &untag.tags));
        let lacking: BTreeSet<&Tag> = own.filter(|tag| list.tags.binary_search(tag).is_err()).collect();
        let mut answers = stream::iter(lacking)
            .map(|tag| async move { (tag, look(self.registry, self.place, &Target::Tag(tag.clone()), list.ghost).await) })
            .buffer_unordered(self.jobs);
        while let Some((tag, answer)) = answers.next().await {
            anyhow::ensure!(
                answer?.is_none(),
                "{}: the registry's list of tags lacks {tag}, which is there: what else it lacks is not known, so nothing is deleted; run it again",
                self.place
            );
        }
        Ok(())
    }

    /// Holds the children of these, at any depth.
    async fn hold_children(&self, roots: Vec<Root>, held: &mut HashMap<Digest, String>) -> anyhow::Result<()> {
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut open: Vec<(Digest, String)> = Vec::new();
        for root in roots {
            if may_have_children(Some(&root.head.media_type)) && seen.insert(root.head.digest.clone()) {
                open.push((root.head.digest, root.why));
            }
        }
        while !open.is_empty() {
            let read: Vec<(Vec<Child>, String)> = stream::iter(std::mem::take(&mut open))
                .map(|(digest, why)| async move { Ok::<_, anyhow::Error>((self.children(&digest).await?, why)) })
                .buffer_unordered(self.jobs)
                .try_collect()
                .await?;
            for (children, why) in read {
                for child in children {
                    held.entry(child.digest.clone()).or_insert_with(|| why.clone());
                    if may_have_children(child.media_type.as_deref()) && seen.insert(child.digest.clone()) {
                        open.push((child.digest, why.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// The manifests that one names; none where it is gone by now.
    async fn children(&self, digest: &Digest) -> anyhow::Result<Vec<Child>> {
        match self.registry.manifest(&self.place.repository, &Target::Digest(digest.clone())).await {
            // What cannot be read may name anything.
            Ok(manifest) => Ok(Manifest::parse(&manifest.bytes, Some(&manifest.media_type))
                .with_context(|| format!("{}@{digest}: what it names cannot be read, so it is not known what must stay", self.place))?
                .children),
            Err(error) if error.is_manifest_unknown() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A manifest's digest; nothing where there is no such manifest.
pub(crate) async fn look(registry: &Registry, place: &Place, target: &Target, ghost: bool) -> Result<Option<Head>, Error> {
    match registry.head(&place.repository, target).await {
        Ok(head) => Ok(Some(head)),
        Err(error) if error.is_manifest_unknown() => Ok(None),
        // Registries that forget a repository with its last manifest say so of everything in it.
        Err(error) if ghost && error.is_name_unknown() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the tags say, where they point now: a manifest that another tag than its own names, or an own tag that moved on.
fn by_tags(work: &Work, tags: &[(Tag, Option<Head>)]) -> HashMap<Digest, String> {
    let mut held = HashMap::new();
    let now: HashMap<&Tag, &Digest> = tags.iter().filter_map(|(tag, head)| Some((tag, &head.as_ref()?.digest))).collect();
    let mut names: HashMap<&Digest, Vec<&Tag>> = HashMap::new();
    for (tag, digest) in &now {
        names.entry(digest).or_default().push(tag);
    }
    for doomed in &work.deletes {
        let mut others: Vec<&&Tag> = names.get(&doomed.digest).into_iter().flatten().filter(|tag| !doomed.tags.contains(**tag)).collect();
        others.sort();
        if let Some(tag) = others.first() {
            held.insert(doomed.digest.clone(), format!("the tag {tag} names it now, which the plan did not know"));
        } else if let Some((tag, digest)) =
            doomed.tags.iter().find_map(|tag| now.get(tag).filter(|digest| ***digest != doomed.digest).map(|digest| (tag, digest)))
        {
            held.insert(doomed.digest.clone(), moved(tag, digest));
        }
    }
    held
}

/// Why a manifest whose tag names another one now is left alone.
pub(crate) fn moved(tag: &Tag, digest: &Digest) -> String {
    format!("its tag {tag} names {} now: the plan is out of date", digest.short())
}

/// Whether a manifest of this type may name others. What is not known to be without children is looked at.
fn may_have_children(media_type: Option<&str>) -> bool {
    !matches!(media_type, Some(OCI_MANIFEST | DOCKER_MANIFEST | DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, doomed, work};

    fn at(tag: &str, name: Option<&str>) -> (Tag, Option<Head>) {
        let head = name.map(|name| Head { digest: digest(name), media_type: String::new(), size: 0 });
        (tag.parse().unwrap(), head)
    }

    #[test]
    fn tags_that_point_elsewhere_than_planned_hold() {
        for (tags, held) in [
            (vec![at("1", Some("image")), at("2", Some("image"))], false),
            (vec![at("1", Some("image"))], false),
            (vec![], false),
            (vec![at("1", None)], false),
            (vec![at("1", Some("image")), at("9", Some("image"))], true),
            (vec![at("9", Some("image"))], true),
            (vec![at("1", Some("other"))], true),
            (vec![at("1", Some("image")), at("9", Some("other"))], false),
        ] {
            let work = work(vec![doomed("image").tagged("1").tagged("2"), doomed("stranger")]);
            assert_eq!(by_tags(&work, &tags).contains_key(&digest("image")), held, "{tags:?}");
        }
    }

    #[test]
    fn only_known_leaves_are_not_looked_into() {
        assert!(may_have_children(None));
        assert!(may_have_children(Some("application/vnd.oci.image.index.v1+json")));
        assert!(may_have_children(Some("application/json")));
        assert!(!may_have_children(Some("application/vnd.oci.image.manifest.v1+json")));
    }
}

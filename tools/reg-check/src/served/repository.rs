//! One repository: what is asked for, in which order. What it means is put together in `found`.
//!
//! First every tag, then every digest that a tag or somebody names, in this repository: what the registry answers by one name it may
//! not by the other. Then, level by level, the children of indexes; then configs and layers, each once in the whole registry as long as the
//! answer is good; at last what runs, and what is about something else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use common::check::Depth;
use common::digest::Digest;
use common::manifest::Child;
use common::record::{self, Problem};
use common::reference::{Repository, Tag, Target};
use common::registry::{Presence, Served};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::OnceCell;

use super::asker::{Asker, Blob, Look};
use super::fault::Lack;
use super::found::{Fault, Found};
use super::manifest::{self, Info};
use crate::draft::Weight;
use crate::wish::{DigestWish, NamedBy, Running, TagWish, Wish};

/// The largest config that is read, as large as the largest manifest; a larger one is looked at as layers are.
const LARGEST_CONFIG: u64 = 4 << 20;

/// What is to be looked at in one repository.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) repository: Repository,
    pub(crate) wish: Wish,
}

/// Looks at a repository.
pub(crate) async fn check(asker: &Asker, plan: Plan) -> Found {
    let Plan { repository, mut wish } = plan;
    let reading = Reading {
        asker,
        repository: &repository,
        found: RefCell::default(),
        manifests: RefCell::default(),
        blobs: RefCell::default(),
        unknown: RefCell::default(),
        descended: RefCell::default(),
        lost: RefCell::default(),
    };
    {
        let named = &mut reading.found.borrow_mut().named;
        named.0.extend(wish.tags.iter().filter(|(_, wish)| wish.named).map(|(tag, _)| tag.clone()));
        named.1.extend(wish.digests.iter().filter(|(_, wish)| wish.named).map(|(digest, _)| digest.clone()));
    }
    if let Some(by) = wish.list {
        reading.list(&mut wish, by).await;
    }
    reading.tags(wish.tags).await;
    let images = wish.digests.iter().filter(|(_, wish)| wish.image).map(|(digest, _)| digest.clone());
    reading.found.borrow_mut().images.extend(images);
    let mut wanted = wish.digests;
    // A tag that leads elsewhere now is no name of what it led to when it was listed.
    for (digest, wish) in &mut wanted {
        wish.listed_as.retain(|tag| reading.found.borrow().tags.get(tag).is_some_and(|now| now.as_ref().is_none_or(|now| now == digest)));
    }
    for digest in reading.found.borrow().tags.values().flatten() {
        wanted.entry(digest.clone()).or_default().image = true;
    }
    let quiet = reading.entries(wanted).await;
    reading.descend().await;
    reading.say_what_no_index_says(quiet);
    reading.running(&wish.running).await;
    reading.blobs().await;
    reading.referrers().await;
    reading.say_unknown_repository();
    reading.found.into_inner()
}

struct Reading<'a> {
    asker: &'a Asker,
    repository: &'a Repository,
    found: RefCell<Found>,
    /// Manifests as this repository has them, each asked for once.
    manifests: RefCell<HashMap<Digest, Once<Info, Unserved>>>,
    /// Blobs likewise.
    blobs: RefCell<HashMap<(Digest, Look), Once<Blob, Lack>>>,
    /// The tags and digests of which the registry said that it does not know the repository.
    unknown: RefCell<(BTreeSet<Tag>, BTreeSet<Digest>)>,
    /// Indexes and children that were looked at already.
    descended: RefCell<HashSet<(Digest, Digest)>>,
    /// Tags that led to a digest when they were listed, and lead nowhere now.
    lost: RefCell<BTreeMap<Tag, Digest>>,
}

/// Something asked for once, and what came of it.
type Once<T, E> = Rc<OnceCell<Result<Rc<T>, E>>>;

/// Why there is no manifest to look into.
#[derive(Debug, Clone)]
enum Unserved {
    Lack(Lack),
    /// It is served, and it is another one.
    Corrupt(String),
}

impl Reading<'_> {
    fn fail(&self, fault: Fault) {
        self.found.borrow_mut().faults.push(fault);
    }

    /// Asks for the tags.
    async fn list(&self, wish: &mut Wish, by: NamedBy) {
        match self.asker.try_asking(self.asker.registry.tags(self.repository)).await {
            Ok(list) if list.unknown => {
                let text = format!("{}, and the registry says that it does not know it (NAME_UNKNOWN)", by.says());
                self.fail(Fault::new(Problem::RepositoryGhost, Weight::Stumble, text));
            }
            Ok(list) if list.tags.is_empty() && list.dropped.is_empty() => {
                let text = "it has no tags; what else it may hold no registry tells, but its storage does";
                self.fail(Fault::new(Problem::RepositoryEmpty, Weight::Space, text));
            }
            Ok(list) => {
                for tag in list.tags {
                    wish.add_tag(tag);
                }
            }
            Err(error) => {
                let fault = match error {
                    // A page or a list that is none is no word of the registry about the repository.
                    Ok(error) if error.status().is_none() && !error.is_unreachable() => {
                        not_asked(&Lack::Unknown(error.to_string()), "its tags could not be listed")
                    }
                    error => match error.map_or_else(|lack| lack, |error| super::fault::lack(&error)) {
                        Lack::Refused(why) => {
                            Fault::new(Problem::TagUnreachable, Weight::Wanted, format!("its tags cannot be listed: {why}"))
                        }
                        lack => not_asked(&lack, "its tags could not be listed"),
                    },
                };
                self.fail(fault);
                self.found.borrow_mut().has_unseen_tags = true;
            }
        }
    }

    /// Asks for every tag.
    async fn tags(&self, tags: BTreeMap<Tag, TagWish>) {
        let tags = stream::iter(tags).map(|(tag, wish)| async move {
            let digest = match &wish.listed_as {
                Some(listed) => self.listed_tag(&tag, listed).await,
                None => self.tag(&tag, &wish).await,
            };
            self.found.borrow_mut().tags.insert(tag, digest);
        });
        tags.buffer_unordered(self.asker.jobs).collect::<()>().await;
    }

    /// Where a tag leads, by what it serves.
    async fn tag(&self, tag: &Tag, wish: &TagWish) -> Option<Digest> {
        match self.asker.ask(self.asker.registry.served(self.repository, &Target::Tag(tag.clone()))).await {
            Ok(served) => Some(self.tag_served(tag, &served).await),
            Err(lack) => {
                self.no_tag(tag, wish, lack);
                None
            }
        }
    }

    /// What a tag serves must be what the registry says that it serves. Where it is not, the answer by digest decides which of the two is
    /// wrong.
    async fn tag_served(&self, tag: &Tag, served: &Served) -> Digest {
        let said = match (served.said_digest(), &served.said) {
            (Some(said), _) if served.is(&said) => return said,
            (Some(said), _) => said,
            (None, Some(said)) => {
                let text = format!("by tag the registry serves it as Docker-Content-Digest {said:?}, which is no digest");
                self.fail(Fault::new(Problem::DigestMismatch, Weight::Stumble, text).of_tag(tag));
                return served.digest();
            }
            (None, None) => return served.digest(),
        };
        if !matches!(self.manifest(&said, false).await, Err(Unserved::Corrupt(_))) {
            let text = format!("by tag the registry says that it is {said}, and serves what hashes to {}", served.digest());
            self.fail(Fault::new(Problem::DigestMismatch, Weight::Broken, text).of_tag(tag).of_digest(&said));
        }
        said
    }

    /// Where a tag leads that was listed with a digest: asking for its head is enough, as the manifest is asked for by that digest.
    async fn listed_tag(&self, tag: &Tag, listed: &Digest) -> Option<Digest> {
        // Where there is no head to be had the client reads the manifest, and would take an answer that does not hash to its digest for none.
        match self.asker.try_asking(self.asker.registry.head(self.repository, &Target::Tag(tag.clone()))).await {
            Ok(head) => Some(head.digest),
            Err(Ok(error)) if error.status().is_none() && !error.is_unanswered() && !error.is_page() => {
                let text = format!("by tag the registry serves what is not the manifest that it says it is: {error}");
                self.fail(Fault::new(Problem::DigestMismatch, Weight::Broken, text).of_tag(tag).of_digest(listed));
                Some(listed.clone())
            }
            Err(error) => {
                let lack = error.map_or_else(|lack| lack, |error| super::fault::lack(&error));
                if lack == Lack::Missing {
                    self.lost.borrow_mut().insert(tag.clone(), listed.clone());
                    return None;
                }
                self.no_tag(tag, &TagWish { listed: true, ..TagWish::default() }, lack);
                None
            }
        }
    }

    /// Notes what is wrong with a tag that leads nowhere.
    fn no_tag(&self, tag: &Tag, wish: &TagWish, lack: Lack) {
        let fault = match lack {
            Lack::Missing if !wish.listed => {
                Fault::new(Problem::ManifestMissing, Weight::Broken, "the registry has no such tag (MANIFEST_UNKNOWN)")
            }
            Lack::Missing => {
                let text = "the registry lists the tag and has no manifest for it (MANIFEST_UNKNOWN)";
                Fault::new(Problem::TagGhost, Weight::Broken, text)
            }
            Lack::NoRepository => {
                self.unknown.borrow_mut().0.insert(tag.clone());
                return;
            }
            Lack::Refused(why) => Fault::new(Problem::TagUnreachable, Weight::Broken, why),
            Lack::Unknown(_) | Lack::Down(_) => not_asked(&lack, ""),
        };
        self.fail(fault.of_tag(tag));
    }

    /// Asks for every digest that is named here. Gives back what is wrong with those that are no images of their own: the index that leads there
    /// says it better.
    async fn entries(&self, wanted: BTreeMap<Digest, DigestWish>) -> Vec<Fault> {
        let quiet = RefCell::new(Vec::new());
        let quieted = &quiet;
        let entries = stream::iter(wanted).map(|(digest, wish)| async move {
            let tags = wish.listed_as;
            let is_named = wish.image || !tags.is_empty();
            let Err(unserved) = self.manifest(&digest, false).await else { return };
            let fault = match unserved {
                Unserved::Lack(Lack::NoRepository) => {
                    let mut unknown = self.unknown.borrow_mut();
                    unknown.0.extend(tags);
                    unknown.1.insert(digest);
                    return;
                }
                Unserved::Lack(Lack::Missing) => {
                    let by_tag = self.found.borrow().tags.values().any(|led| led.as_ref() == Some(&digest));
                    let text = if by_tag {
                        "a tag leads to it, and by its digest the registry does not have it (MANIFEST_UNKNOWN)"
                    } else {
                        "the registry has no such manifest (MANIFEST_UNKNOWN)"
                    };
                    Fault::new(Problem::ManifestMissing, Weight::Broken, text)
                }
                other => unserved_fault(other),
            };
            // A tag of which something else is wrong is told of as such.
            let leads = |tag: &Tag| self.lost.borrow().contains_key(tag) || self.found.borrow().tags.get(tag).is_none_or(Option::is_some);
            let tags = tags.into_iter().filter(leads).collect();
            let fault = Fault { tags, ..fault.of_digest(&digest) };
            if is_named {
                self.fail(fault);
            } else {
                quieted.borrow_mut().push(fault);
            }
        });
        entries.buffer_unordered(self.asker.jobs).collect::<()>().await;
        for (tag, listed) in self.lost.take() {
            // Where the manifest is gone too, that is all there is to say.
            if self.found.borrow().manifests.contains_key(&listed) {
                let text = format!("it was listed as {listed}, and the registry has no manifest for it now (MANIFEST_UNKNOWN)");
                self.fail(Fault::new(Problem::TagGhost, Weight::Broken, text).of_tag(&tag));
            }
        }
        quiet.into_inner()
    }

    /// Notes those of these faults that are of no child of an index that is there.
    fn say_what_no_index_says(&self, quiet: Vec<Fault>) {
        let mut found = self.found.borrow_mut();
        let children: BTreeSet<Digest> =
            found.manifests.values().flat_map(|info| &info.children).map(|child| child.digest.clone()).collect();
        found.faults.extend(quiet.into_iter().filter(|fault| fault.digest.as_ref().is_none_or(|digest| !children.contains(digest))));
    }

    /// Asks for the children of indexes, and theirs.
    async fn descend(&self) {
        loop {
            let mut open: Vec<(Digest, Child)> = Vec::new();
            for (index, info) in &self.found.borrow().manifests {
                let mut descended = self.descended.borrow_mut();
                let new = info.children.iter().filter(|child| descended.insert((index.clone(), child.digest.clone())));
                open.extend(new.map(|child| (index.clone(), child.clone())));
            }
            if open.is_empty() {
                return;
            }
            open.sort_by(|a, b| (&a.0, &a.1.digest).cmp(&(&b.0, &b.1.digest)));
            let children = stream::iter(open).map(|(index, child)| async move {
                let Child { digest, size, platform, .. } = child;
                let unserved = match self.manifest(&digest, true).await {
                    // Clients refuse what has another size than they were told.
                    Ok(info) if size > 0 && info.size != size => {
                        let text = format!("it says that {digest} has {size} bytes, and that has {}", info.size);
                        return self.fail(Fault::new(Problem::ManifestInvalid, Weight::Broken, text).of_digest(&index));
                    }
                    Ok(_) => return,
                    Err(unserved) => unserved,
                };
                let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
                let fault = match unserved {
                    Unserved::Lack(Lack::Missing | Lack::NoRepository) => {
                        let text = format!("the index names it{platform}, and the registry does not have it (MANIFEST_UNKNOWN)");
                        Fault::new(Problem::ChildMissing, Weight::Broken, text)
                    }
                    other => unserved_fault(other),
                };
                self.fail(fault.of_digest(&digest).needed_by(&index));
            });
            children.buffer_unordered(self.asker.jobs).collect::<()>().await;
        }
    }

    /// A manifest by its digest. `anywhere`: what another repository of the registry served is good enough.
    async fn manifest(&self, digest: &Digest, anywhere: bool) -> Result<Rc<Info>, Unserved> {
        let cell = Rc::clone(self.manifests.borrow_mut().entry(digest.clone()).or_default());
        let served = cell.get_or_init(async || {
            let read = async || {
                let served = self.asker.ask(self.asker.registry.served(self.repository, &Target::Digest(digest.clone()))).await;
                let served = served.map_err(Unserved::Lack)?;
                if served.is(digest) {
                    Ok(manifest::look(digest, &served))
                } else {
                    let text = format!(
                        "what is served under its digest hashes to {}: it is damaged, or a cache in front of it is",
                        served.digest()
                    );
                    Err(Unserved::Corrupt(text))
                }
            };
            let memory = &self.asker.manifests;
            let info = if anywhere && !self.asker.options.each_repository {
                memory.get(digest, read).await?
            } else {
                let info = Rc::new(read().await?);
                memory.note(digest, &info);
                info
            };
            let mut found = self.found.borrow_mut();
            for (problem, weight, text) in &info.wrong {
                found.faults.push(Fault::new(*problem, *weight, text.clone()).of_digest(digest));
            }
            found.manifests.insert(digest.clone(), Rc::clone(&info));
            Ok(info)
        });
        served.await.clone()
    }

    /// Asks for configs and layers, as deep as it is wanted.
    async fn blobs(&self) {
        let depth = self.asker.options.depth;
        if depth == Depth::Manifest {
            return;
        }
        let mut wanted: Vec<(Digest, Need, Look)> = Vec::new();
        for (manifest, info) in &self.found.borrow().manifests {
            for blob in &info.blobs {
                let name = if info.config.as_ref() == Some(&blob.digest) { "config" } else { "layer" };
                let is_config = name == "config" && blob.size <= LARGEST_CONFIG;
                let look = match depth {
                    _ if is_config && info.has_image_config => Look::Config,
                    _ if is_config => Look::Content,
                    Depth::Manifest | Depth::Config => continue,
                    Depth::Blobs => Look::Presence,
                    Depth::Content => Look::Content,
                };
                let has_size = info.has_sizes && !info.unsized_blobs.contains(&blob.digest);
                wanted.push((manifest.clone(), Need { blob: blob.clone(), has_size, name }, look));
            }
        }
        // So that the same thing is asked for in the same order, whatever a table says.
        wanted.sort_by(|a, b| (&a.0, &a.1.blob.digest).cmp(&(&b.0, &b.1.blob.digest)));
        let blobs = stream::iter(wanted).map(|(manifest, need, look)| async move {
            let wrong = match self.blob(&need, look).await {
                Ok(there) => blob_fault(&need, look, &there),
                Err(lack) => Some(lacking(&need, lack)),
            };
            if let Some(fault) = wrong {
                self.fail(fault.of_digest(&need.blob.digest).needed_by(&manifest));
            }
        });
        blobs.buffer_unordered(self.asker.jobs).collect::<()>().await;
    }

    async fn blob(&self, need: &Need, look: Look) -> Result<Rc<Blob>, Lack> {
        let blob = &need.blob;
        let key = (blob.digest.clone(), look);
        let cell = Rc::clone(self.blobs.borrow_mut().entry(key.clone()).or_default());
        let there = cell.get_or_init(async || {
            let ask = async || match look {
                Look::Presence => self.presence(&blob.digest, Some(blob.size).filter(|_| need.has_size)).await,
                Look::Content => self.content(blob, need.has_size).await,
                Look::Config => self.config(blob, need.has_size).await,
            };
            if self.asker.options.each_repository { ask().await.map(Rc::new) } else { self.asker.blobs.get(&key, ask).await }
        });
        there.await.clone()
    }

    async fn presence(&self, digest: &Digest, expected: Option<u64>) -> Result<Blob, Lack> {
        match self.asker.ask(self.asker.registry.blob_presence(self.repository, digest, expected)).await? {
            Presence::There(size) => Ok(Blob { size, other: None, unreadable: None }),
            Presence::Missing => Err(Lack::Missing),
        }
    }

    async fn content(&self, blob: &record::Blob, has_size: bool) -> Result<Blob, Lack> {
        let most = if has_size { blob.size } else { u64::MAX };
        let hashed = self.asker.ask(self.asker.registry.blob_hash(self.repository, &blob.digest, most)).await?;
        // A registry that remembers what it had goes on saying that it has it; then not even a byte comes.
        if hashed.is_cut && hashed.size == 0 {
            return Err(Lack::Missing);
        }
        let is_whole = hashed.size <= most;
        let other = Some(hashed.digest).filter(|digest| is_whole && *digest != blob.digest);
        Ok(Blob { size: Some(hashed.size), other, unreadable: None })
    }

    async fn config(&self, blob: &record::Blob, has_size: bool) -> Result<Blob, Lack> {
        let digest = &blob.digest;
        let limit = usize::try_from(LARGEST_CONFIG).unwrap_or(usize::MAX);
        let bytes = match self.asker.try_asking(self.asker.registry.blob_unverified(self.repository, digest, limit)).await {
            Ok(bytes) => bytes,
            Err(Ok(error)) if error.is_too_large() => {
                return Ok(Blob { size: Some(LARGEST_CONFIG + 1), other: None, unreadable: None });
            }
            // How much there is of it tells whether it is the registry that breaks off, or the network.
            Err(Ok(error)) if error.is_cut_short() => return self.content(blob, has_size).await,
            Err(error) => return Err(error.map_or_else(|lack| lack, |error| super::fault::lack(&error))),
        };
        let size = Some(bytes.len() as u64);
        let is_it = digest.matches(&bytes);
        let other = (!is_it).then(|| {
            let mut hashing = digest.hasher();
            hashing.update(&bytes);
            hashing.finish()
        });
        let unreadable = common::manifest::ImageConfig::parse(&bytes).err().filter(|_| is_it).map(|error| error.to_string());
        Ok(Blob { size, other, unreadable })
    }

    /// Looks at what runs: whether the tag that would be pulled is still that, and whether what runs is still there.
    async fn running(&self, running: &BTreeSet<Running>) {
        let digests: BTreeSet<&Digest> = running.iter().map(|running| &running.digest).collect();
        let gone = stream::iter(digests).map(|digest| async move {
            if self.found.borrow().has(digest) {
                return None;
            }
            match self.manifest(digest, false).await {
                Ok(_) => {
                    self.found.borrow_mut().images.insert(digest.clone());
                    None
                }
                // Where it is named too, it is told of as that.
                Err(_) if self.found.borrow().faults.iter().any(|fault| fault.digest.as_ref() == Some(digest)) => None,
                Err(Unserved::Lack(lack @ (Lack::Missing | Lack::NoRepository | Lack::Refused(_)))) => {
                    // Some runtimes tell the config, which Distribution tries to read as a manifest where it is asked for as one.
                    if self.is_blob(digest).await {
                        return None;
                    }
                    if matches!(lack, Lack::Missing | Lack::NoRepository) {
                        return Some(digest);
                    }
                    self.fail(unserved_fault(Unserved::Lack(lack)).of_digest(digest));
                    None
                }
                Err(unserved) => {
                    self.fail(unserved_fault(unserved).of_digest(digest));
                    None
                }
            }
        });
        let gone: BTreeSet<&Digest> = gone.buffer_unordered(self.asker.jobs).filter_map(async |gone| gone).collect().await;
        self.descend().await;
        for running in running {
            let led = running.tag.as_ref().and_then(|tag| self.found.borrow().tags.get(tag).cloned().flatten());
            let led = led.filter(|led| self.found.borrow().manifests.contains_key(led));
            if let (Some(tag), Some(led)) = (&running.tag, &led)
                && !self.found.borrow().reached(led).contains(&running.digest)
            {
                let text = format!("{tag} leads to {led} now, and {} runs: the image would change on reschedule", running.digest);
                self.fail(Fault::new(Problem::TagMoved, Weight::Note, text).of_tag(tag).of_digest(&running.digest));
            }
        }
        for digest in gone {
            let mut anew = BTreeSet::new();
            for tag in running.iter().filter(|running| running.digest == *digest).filter_map(|running| running.tag.as_ref()) {
                if self.found.borrow().tags.get(tag).is_some_and(Option::is_some) {
                    anew.insert(tag.to_string());
                }
            }
            let text = "it runs, and the registry has no such manifest any more (MANIFEST_UNKNOWN): it runs from the nodes' caches alone, and \
                        would fail on reschedule";
            let text = if anew.is_empty() {
                text.to_owned()
            } else {
                let tags = anew.into_iter().collect::<Vec<_>>().join(", ");
                format!("{text} by digest; by tag ({tags}) something else would start")
            };
            self.fail(Fault::new(Problem::RunningDigestGone, Weight::Broken, text).of_digest(digest));
        }
    }

    /// Whether a digest that no manifest has is that of a blob.
    async fn is_blob(&self, digest: &Digest) -> bool {
        matches!(self.asker.ask(self.asker.registry.blob_presence(self.repository, digest, None)).await, Ok(Presence::There(_)))
    }

    /// Asks for what manifests are about, where nothing else led there.
    async fn referrers(&self) {
        let mut subjects: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        {
            let found = self.found.borrow();
            let own = found.manifests.iter().filter_map(|(digest, info)| Some((info.subject.clone()?, digest)));
            let tagged = found.tags.iter().filter_map(|(tag, digest)| Some((tag.subject()?, digest.as_ref()?)));
            for (subject, referrer) in own.chain(tagged) {
                if !found.manifests.contains_key(&subject) {
                    subjects.entry(subject).or_default().insert(referrer.clone());
                }
            }
        }
        let asked = stream::iter(subjects).map(|(subject, referrers)| async move {
            let answer = self.asker.ask(self.asker.registry.head(self.repository, &Target::Digest(subject.clone()))).await;
            let fault = match answer {
                Ok(_) => return,
                Err(Lack::Missing | Lack::NoRepository) => {
                    let text = format!("it is about {subject}, which is not there: it only takes space");
                    Fault::new(Problem::ReferrerOrphan, Weight::Note, text)
                }
                Err(lack @ (Lack::Unknown(_) | Lack::Down(_))) => not_asked(&lack, "what it is about could not be asked for"),
                // It is there; that it cannot be served is for who needs it to say.
                Err(Lack::Refused(_)) => return,
            };
            for referrer in referrers {
                // The record is about the referrer: it is what may go.
                self.fail(fault.clone().of_digest(&referrer));
            }
        });
        asked.buffer_unordered(self.asker.jobs).collect::<()>().await;
    }

    /// Says once that the registry does not know the repository, whatever was asked for in it.
    fn say_unknown_repository(&self) {
        let (tags, digests) = self.unknown.take();
        if tags.is_empty() && digests.is_empty() {
            return;
        }
        // What the catalog named and nobody else is told of already.
        let text = "the registry says that it does not know the repository (NAME_UNKNOWN)";
        let mut found = self.found.borrow_mut();
        // Of tags the draft tells.
        let weight = if digests.is_disjoint(&found.named.1) { Weight::Broken } else { Weight::Wanted };
        let fault = Fault { tags, ..Fault::new(Problem::RepositoryGhost, weight, text) };
        found.faults.retain(|fault| fault.problem != Problem::RepositoryGhost);
        found.faults.push(fault);
    }
}

/// What could not be asked, as a fault; `what` comes before the reason.
fn not_asked(lack: &Lack, what: &str) -> Fault {
    let (why, of_registry) = match lack {
        Lack::Down(why) => (why.as_str(), true),
        Lack::Unknown(why) | Lack::Refused(why) => (why.as_str(), false),
        Lack::Missing | Lack::NoRepository => ("it is not there", false),
    };
    let detail = if what.is_empty() || of_registry { why.to_owned() } else { format!("{what}: {why}") };
    Fault { of_registry, ..Fault::new(Problem::NotAsked, Weight::Unknown, detail) }
}

/// A manifest that is not missing and cannot be looked at.
fn unserved_fault(unserved: Unserved) -> Fault {
    match unserved {
        Unserved::Corrupt(text) => Fault::new(Problem::ManifestCorrupt, Weight::Broken, text),
        Unserved::Lack(Lack::Refused(why)) => Fault::new(Problem::ManifestUnreachable, Weight::Broken, why),
        Unserved::Lack(lack) => not_asked(&lack, ""),
    }
}

/// A blob that a manifest names.
#[derive(Debug, Clone)]
struct Need {
    blob: record::Blob,
    /// Whether the manifest says its size.
    has_size: bool,
    /// What to call it.
    name: &'static str,
}

/// A blob that did not come.
fn lacking(need: &Need, lack: Lack) -> Fault {
    match lack {
        Lack::Missing | Lack::NoRepository => {
            let size = if need.has_size { format!(" of {} bytes", need.blob.size) } else { String::new() };
            let text = format!("the {}{size} is not there (BLOB_UNKNOWN)", need.name);
            Fault::new(Problem::BlobMissing, Weight::Broken, text)
        }
        Lack::Refused(why) => Fault::new(Problem::BlobUnreachable, Weight::Broken, why),
        Lack::Unknown(_) | Lack::Down(_) => not_asked(&lack, ""),
    }
}

/// What is wrong with a blob that is there.
fn blob_fault(need: &Need, look: Look, there: &Blob) -> Option<Fault> {
    let Need { blob, has_size, name } = need;
    if let Some(size) = there.size.filter(|size| *has_size && *size != blob.size) {
        // Of what has more bytes than it may, no more are read.
        let size = if look != Look::Presence && size > blob.size { format!("more than {}", blob.size) } else { size.to_string() };
        let text = format!("the {name} has {size} bytes where the manifest says {}", blob.size);
        return Some(Fault::new(Problem::BlobSize, Weight::Broken, text));
    }
    if let Some(other) = &there.other {
        return Some(Fault::new(
            Problem::BlobCorrupt,
            Weight::Broken,
            format!("the content of the {name} hashes to {other}: it is damaged"),
        ));
    }
    let unreadable = there.unreadable.as_ref();
    unreadable.map(|why| Fault::new(Problem::ConfigUnreadable, Weight::Broken, format!("the config {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_that_are_there_may_be_wrong_all_the_same() {
        let need = |has_size| Need { blob: record::Blob { digest: Digest::of(b"x"), size: 10 }, has_size, name: "layer" };
        let good = Blob { size: Some(10), other: None, unreadable: None };
        let other = Blob { other: Some(Digest::of(b"y")), ..good.clone() };
        let sized = |size| Blob { size, ..good.clone() };
        let unreadable = Blob { unreadable: Some("is no JSON object".to_owned()), ..good.clone() };
        for (there, look, expected) in [
            (good.clone(), Look::Presence, None),
            (sized(None), Look::Presence, None),
            (sized(Some(9)), Look::Presence, Some((Problem::BlobSize, "has 9 bytes where the manifest says 10"))),
            (sized(Some(11)), Look::Presence, Some((Problem::BlobSize, "has 11 bytes"))),
            (sized(Some(4711)), Look::Content, Some((Problem::BlobSize, "has more than 10 bytes"))),
            (Blob { size: Some(9), ..other.clone() }, Look::Content, Some((Problem::BlobSize, "has 9 bytes"))),
            (other, Look::Content, Some((Problem::BlobCorrupt, "hashes to"))),
            (unreadable, Look::Config, Some((Problem::ConfigUnreadable, "the config is no JSON object"))),
        ] {
            match (blob_fault(&need(true), look, &there), expected) {
                (None, None) => {}
                (Some(fault), Some((problem, text))) => {
                    assert!(fault.problem == problem && fault.detail.contains(text), "{there:?}: {fault:?}");
                }
                (fault, _) => panic!("{there:?}: {fault:?}"),
            }
        }
        assert!(blob_fault(&need(false), Look::Presence, &sized(Some(9))).is_none(), "schema 1 says no sizes");
    }
}

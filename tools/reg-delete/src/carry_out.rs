//! Carries out what is to be done in one repository, one manifest after another, each asked about once more just before it goes.
//!
//! Owns the order of questions, journal lines and requests. An error of the registry is the result of one manifest; an error of the
//! journal ends everything, because what is not written must not be done.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::cli::Progress;
use common::digest::Digest;
use common::graph::Graph;
use common::inventory::Inventory;
use common::manifest::{DOCKER_SCHEMA1_SIGNED, Manifest as Content};
use common::record::{Deletion, DeletionResult};
use common::reference::{Tag, Target};
use common::registry::write::{self, Deletion as Answer};
use common::registry::{Error, Manifest};
use futures_util::{StreamExt as _, stream};

use crate::hold;
use crate::journal::Journal;
use crate::servers::Server;
use crate::survey::{Asked, Survey, look, moved, survey};
use crate::tally::Tally;
use crate::work::{Doomed, Untag, Work};

/// Why a tag stays where the registry only knows how to delete manifests.
const NO_UNTAG: &str = "this registry deletes no tag without its manifest (Distribution does from version 3 on)";

/// What all repositories of a run share.
pub(crate) struct Run<'a> {
    pub(crate) journal: RefCell<Journal>,
    pub(crate) tally: RefCell<Tally>,
    /// A fresh inventory, where there is one.
    pub(crate) inventory: Option<&'a Inventory>,
    pub(crate) jobs: usize,
    pub(crate) progress: Progress,
}

/// What came of one manifest or tag.
type Outcome = (DeletionResult, Option<String>);

impl Run<'_> {
    /// Does the work of one repository.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub(crate) async fn carry_out(&self, server: &Server, mut work: Work) -> io::Result<()> {
        if work.deletes.iter().all(|doomed| doomed.held.is_some()) && work.untags.iter().all(|untag| untag.held.is_some()) {
            return self.fail_all(&work, "");
        }
        let registry = &server.registry;
        let asked = self.asked(&work);
        let survey = match survey(registry, &work, &asked, self.jobs).await {
            Ok(survey) => survey,
            Err(error) => return self.fail_all(&work, &format!("{error:#}")),
        };
        let graph = work.graph();
        hold::by_survey(&mut work, &graph, &survey);
        if work.deletes.iter().any(|doomed| doomed.held.is_none()) {
            let mut journal = self.journal.borrow_mut();
            work.uses.iter().try_for_each(|record| journal.note(record))?;
        }
        let deletion = Repository { run: self, server, work: &work, graph: &graph, survey: &survey, announced: RefCell::default() };
        for (place, doomed) in work.deletes.iter().enumerate() {
            let (result, why) = match &doomed.held {
                Some(why) => (DeletionResult::Skipped, Some(why.clone())),
                None => deletion.delete(place, doomed).await?,
            };
            self.result(doomed.record(&work.place, result, why))?;
        }
        for untag in &work.untags {
            deletion.untag(untag).await?;
        }
        Ok(())
    }

    /// The digests that somebody uses in a repository: those that the plan passed on, and those of the fresh inventory.
    fn asked(&self, work: &Work) -> Vec<Asked> {
        let passed_on = work.uses.iter().flat_map(|record| {
            record.digest.iter().chain(&record.running_digest).map(|digest| Asked { digest: digest.clone(), user: record.user() })
        });
        let uses = self.inventory.map(|inventory| inventory.of_repository(&work.place.host, work.place.repository.as_str()));
        let fresh = uses
            .iter()
            .flat_map(|uses| uses.iter())
            .flat_map(|entry| entry.manifests().map(|digest| Asked { digest: digest.clone(), user: entry.record.user() }));
        let mut seen = HashSet::new();
        passed_on.chain(fresh).filter(|asked| seen.insert(asked.digest.clone())).collect()
    }

    /// Writes that nothing was done in a repository: what is held is skipped, the rest failed.
    fn fail_all(&self, work: &Work, why: &str) -> io::Result<()> {
        let outcome = |held: &Option<String>| match held {
            Some(why) => (DeletionResult::Skipped, why.clone()),
            None => (DeletionResult::Failed, why.to_owned()),
        };
        for doomed in &work.deletes {
            let (result, why) = outcome(&doomed.held);
            self.result(doomed.record(&work.place, result, Some(why)))?;
        }
        for untag in &work.untags {
            let (result, why) = outcome(&untag.held);
            self.result(untag.record(&work.place, &untag.tags, result, Some(why)))?;
        }
        Ok(())
    }

    pub(crate) fn result(&self, record: Deletion) -> io::Result<()> {
        self.tally.borrow_mut().count(&record);
        self.progress.advance();
        self.journal.borrow_mut().result(record)
    }
}

/// One repository in the middle of its deletions.
struct Repository<'a> {
    run: &'a Run<'a>,
    server: &'a Server,
    work: &'a Work,
    graph: &'a Graph,
    survey: &'a Survey,
    /// Dependents of which a `planned` line was written already.
    announced: RefCell<HashSet<usize>>,
}

impl Repository<'_> {
    async fn delete(&self, place: usize, doomed: &Doomed) -> io::Result<Outcome> {
        let (manifest, tags) = match self.ready(place, doomed).await {
            Ok(ready) => ready,
            Err(outcome) => return Ok(outcome),
        };
        self.announce(place)?;
        let mut started = doomed.record(&self.work.place, DeletionResult::Started, None);
        // A tag that somebody else took away is not to come back with an undo.
        started.tags = tags.iter().map(Tag::to_string).collect();
        fill(&mut started, &manifest);
        self.run.journal.borrow_mut().started(started)?;
        let answer = match self.request(&Target::Digest(doomed.digest.clone())).await {
            Err(error) if wants_tags_first(&error) && !tags.is_empty() => match self.delete_tags(&tags).await {
                Ok(()) => self.request(&Target::Digest(doomed.digest.clone())).await,
                Err(error) => Err(error),
            },
            answer => answer,
        };
        Ok(match answer {
            Ok(Answer::Absent) => (DeletionResult::Absent, None),
            Ok(Answer::Accepted) => self.confirm(&doomed.digest).await,
            Err(error) if self.survey.ghost && error.is_name_unknown() => (DeletionResult::Absent, None),
            Err(error) => (DeletionResult::Failed, Some(error.to_string())),
        })
    }

    /// Asks for the last time whether a manifest may go, and for its bytes and the tags that go with it; or says why it does not go.
    async fn ready(&self, place: usize, doomed: &Doomed) -> Result<(Manifest, BTreeSet<Tag>), Outcome> {
        let failed = |error: Error| (DeletionResult::Failed, Some(error.to_string()));
        let target = Target::Digest(doomed.digest.clone());
        let manifest = match self.server.registry.manifest(&self.work.place.repository, &target).await {
            Ok(manifest) => manifest,
            Err(error) if error.is_manifest_unknown() || (self.survey.ghost && error.is_name_unknown()) => {
                return Err((DeletionResult::Absent, None));
            }
            Err(error) => return Err(failed(error)),
        };
        if manifest.media_type == DOCKER_SCHEMA1_SIGNED {
            let why = "it is a signed schema 1 manifest, whose digest leaves its signatures out: it could not be put back byte for byte";
            return Err((DeletionResult::Skipped, Some(why.to_owned())));
        }
        // The plan names its subjects; its own bytes name one, and so may its tags. An index may name it of which its own record says
        // nothing.
        let subject = Content::parse(&manifest.bytes, Some(&manifest.media_type)).ok().and_then(|content| content.subject);
        let by_tags: Vec<Digest> = doomed.tags.iter().filter_map(Tag::subject).collect();
        let of_graph = self.graph.edges(place).above().filter_map(|above| self.work.deletes.get(above)).map(|above| &above.digest);
        let above: BTreeSet<&Digest> = doomed
            .parents
            .iter()
            .chain(of_graph)
            .chain(&doomed.subjects)
            .chain(&subject)
            .chain(&by_tags)
            .filter(|above| **above != doomed.digest)
            .collect();
        for digest in above {
            // Even one that this run has just deleted is asked for: who pushes it again at this moment needs what it names.
            match look(&self.server.registry, &self.work.place, &Target::Digest(digest.clone()), self.survey.ghost).await {
                Ok(None) => {}
                Ok(Some(_)) => return Err((DeletionResult::Skipped, Some(format!("it belongs to {}, which is there", digest.short())))),
                Err(error) => return Err(failed(error)),
            }
        }
        let mut there = BTreeSet::new();
        let mut tags =
            stream::iter(&doomed.tags)
                .map(|tag| async move {
                    (tag, look(&self.server.registry, &self.work.place, &Target::Tag(tag.clone()), self.survey.ghost).await)
                })
                .buffered(self.run.jobs);
        while let Some((tag, now)) = tags.next().await {
            match now {
                Ok(Some(head)) if head.digest != doomed.digest => return Err((DeletionResult::Skipped, Some(moved(tag, &head.digest)))),
                Ok(Some(_)) => {
                    there.insert(tag.clone());
                }
                Ok(None) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok((manifest, there))
    }

    /// Writes a `planned` line for each manifest that goes with this one: without its index it is in no listing, so only the journal
    /// knows of it.
    fn announce(&self, place: usize) -> io::Result<()> {
        let mut announced = self.announced.borrow_mut();
        let mut journal = self.run.journal.borrow_mut();
        let mut open = vec![place];
        while let Some(above) = open.pop() {
            for dependent in self.graph.edges(above).dependents() {
                let Some(doomed) = self.work.deletes.get(dependent) else { continue };
                if doomed.held.is_none() && announced.insert(dependent) {
                    let mut record = doomed.record(&self.work.place, DeletionResult::Planned, None);
                    record.config.clone_from(&doomed.config);
                    // An index may name one that does not name it.
                    record.parents = self.above(&doomed.parents, &self.graph.edges(dependent).parents);
                    record.subjects = self.above(&doomed.subjects, &self.graph.edges(dependent).subjects);
                    journal.planned(record)?;
                    open.push(dependent);
                }
            }
        }
        Ok(())
    }

    /// The digests that a manifest names itself, and those that the graph knows besides.
    fn above(&self, named: &[Digest], known: &[usize]) -> Vec<Digest> {
        let mut digests = named.to_vec();
        for doomed in known.iter().filter_map(|place| self.work.deletes.get(*place)) {
            if !digests.contains(&doomed.digest) {
                digests.push(doomed.digest.clone());
            }
        }
        digests
    }

    async fn request(&self, target: &Target) -> Result<Answer, Error> {
        write::delete(&self.server.registry, &self.work.place.repository, target).await
    }

    /// For registries that delete no manifest that has a tag.
    async fn delete_tags(&self, tags: &BTreeSet<Tag>) -> Result<(), Error> {
        for tag in tags {
            self.request(&Target::Tag(tag.clone())).await?;
        }
        Ok(())
    }

    /// A registry that accepted a deletion is asked whether it did it: some say so first and fail afterwards.
    async fn confirm(&self, digest: &Digest) -> Outcome {
        match look(&self.server.registry, &self.work.place, &Target::Digest(digest.clone()), true).await {
            Ok(None) => (DeletionResult::Deleted, None),
            Ok(Some(_)) => (DeletionResult::Failed, Some("the registry accepted the deletion and still has the manifest".to_owned())),
            Err(error) => {
                (DeletionResult::Failed, Some(format!("the registry accepted the deletion, and whether it is gone is not known: {error}")))
            }
        }
    }

    async fn untag(&self, untag: &Untag) -> io::Result<()> {
        for tag in &untag.tags {
            let (result, why) = match &untag.held {
                Some(why) => (DeletionResult::Skipped, Some(why.clone())),
                None if self.server.no_untag.get() => (DeletionResult::Skipped, Some(NO_UNTAG.to_owned())),
                None => self.untag_one(untag, tag).await?,
            };
            self.run.result(untag.record(&self.work.place, &BTreeSet::from([tag.clone()]), result, why))?;
        }
        Ok(())
    }

    /// Whether no tag would name a manifest any more, if it lost those that the plan takes.
    async fn last_tag(&self, untag: &Untag) -> Result<bool, Error> {
        for tag in self.survey.tags.get(&untag.digest).into_iter().flatten().filter(|tag| !untag.tags.contains(*tag)) {
            let head = look(&self.server.registry, &self.work.place, &Target::Tag(tag.clone()), self.survey.ghost).await?;
            if head.is_some_and(|head| head.digest == untag.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn untag_one(&self, untag: &Untag, tag: &Tag) -> io::Result<Outcome> {
        let look = |target| async move { look(&self.server.registry, &self.work.place, &target, self.survey.ghost).await };
        let failed = |error: Error| (DeletionResult::Failed, Some(error.to_string()));
        let manifest = match self.server.registry.manifest(&self.work.place.repository, &Target::Digest(untag.digest.clone())).await {
            Ok(manifest) => manifest,
            Err(error) if error.is_manifest_unknown() || (self.survey.ghost && error.is_name_unknown()) => {
                return Ok((DeletionResult::Absent, None));
            }
            Err(error) => return Ok(failed(error)),
        };
        match look(Target::Tag(tag.clone())).await {
            Ok(Some(head)) if head.digest == untag.digest => {}
            Ok(Some(head)) => return Ok((DeletionResult::Skipped, Some(moved(tag, &head.digest)))),
            Ok(None) => return Ok((DeletionResult::Absent, None)),
            Err(error) => return Ok(failed(error)),
        }
        match self.last_tag(untag).await {
            Ok(false) => {}
            Ok(true) => {
                let why = "no other tag names the manifest now: without this one nothing would lead to it";
                return Ok((DeletionResult::Skipped, Some(why.to_owned())));
            }
            Err(error) => return Ok(failed(error)),
        }
        let mut started = untag.record(&self.work.place, &BTreeSet::from([tag.clone()]), DeletionResult::Started, None);
        fill(&mut started, &manifest);
        self.run.journal.borrow_mut().started(started)?;
        match self.request(&Target::Tag(tag.clone())).await {
            Ok(Answer::Absent) => return Ok((DeletionResult::Absent, None)),
            Ok(Answer::Accepted) => {}
            Err(error) if error.is_tag_deletion_unsupported() => {
                self.server.no_untag.set(true);
                return Ok((DeletionResult::Skipped, Some(NO_UNTAG.to_owned())));
            }
            Err(error) => return Ok(failed(error)),
        }
        Ok(match (look(Target::Tag(tag.clone())).await, look(Target::Digest(untag.digest.clone())).await) {
            (Ok(None), Ok(Some(_))) => (DeletionResult::Untagged, None),
            (Ok(Some(_)), _) => (DeletionResult::Failed, Some("the registry accepted the deletion of the tag and still has it".to_owned())),
            (_, Ok(None)) => {
                let why = "the registry deleted the manifest with the tag; put it back with --undo, and use no untag here";
                (DeletionResult::Failed, Some(why.to_owned()))
            }
            (Err(error), _) | (_, Err(error)) => failed(error),
        })
    }
}

/// Puts into a line all that is needed to put the manifest back.
fn fill(record: &mut Deletion, manifest: &Manifest) {
    record.media_type = Some(manifest.media_type.clone());
    record.data = Some(BASE64_STANDARD.encode(&manifest.bytes));
}

/// Whether a registry refuses to delete a manifest because it has tags: Google's by its own code, zot by 409.
fn wants_tags_first(error: &Error) -> bool {
    error.codes().any(|code| code == "GOOGLE_MANIFEST_DANGLING_TAG") || error.status() == Some(409)
}

//! A whole list of a cluster, page by page.
//!
//! Owns the order of the pages: the next one is asked for as soon as one begins to come, for its token stands first, so that the server
//! works while this side does; and the restart of a list that grew too old on the way (410), which forgets what was gathered until then.
//! What is gathered from a page counts once that page is whole.
//!
//! Rules: Kubernetes API concepts, "Retrieving large results sets in chunks".

use std::cell::OnceCell;
use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::kinds::percent_encoded;
use super::page::{Broken, Head, Item, Pages, Part};
use super::request::{Chunks, Failure, FailureKind, Form, Requests, Tried};

/// How many objects a page holds, as `kubectl` asks for them (`--chunk-size`).
const PAGE: u32 = 500;

/// How often a list is begun anew. A server keeps the state of a list for five minutes by default (etcd's compaction); one that never
/// keeps it until the end is not waited for.
const RESTARTS: u32 = 5;

/// How many pages of a list are on their way at once: one that is taken in, and the one after it.
const PAGES_AT_ONCE: usize = 2;

/// After how many items the runtime gets its turn, which sends the request for the next page and takes in what came of it.
const ITEMS_AT_ONCE: usize = 25;

/// What is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// The path of the list.
    pub(crate) path: String,
    /// Only what has these labels.
    pub(crate) label_selector: Option<String>,
    /// Only what has these values in these fields.
    pub(crate) field_selector: Option<String>,
    /// How it is asked for.
    pub(crate) form: Form,
    /// How many objects a page holds, where they are larger than most.
    pub(crate) limit: Option<u32>,
}

impl Query {
    /// The path and query of the first page, or of the one that a token names.
    fn page(&self, token: Option<&str>) -> String {
        let mut target = format!("{}?limit={}", self.path, self.limit.unwrap_or(PAGE));
        for (key, value) in
            [("labelSelector", self.label_selector.as_deref()), ("fieldSelector", self.field_selector.as_deref()), ("continue", token)]
        {
            if let Some(value) = value {
                target.push_str(&format!("&{key}={}", percent_encoded(value)));
            }
        }
        target
    }
}

/// What is gathered from items.
pub(crate) trait Absorb: Default {
    /// Takes what was gathered from other items.
    fn absorb(&mut self, other: Self);
}

impl<T> Absorb for Vec<T> {
    fn absorb(&mut self, other: Self) {
        self.extend(other);
    }
}

/// A list that was read whole.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    /// What its items came to.
    pub(crate) gathered: T,
    /// Its version.
    pub(crate) resource_version: Option<String>,
}

/// Reads a list: `take` takes each item. Of a list that must be begun anew, nothing stays that was gathered before.
///
/// # Errors
/// Any failure of any page, after which nothing counts that was gathered; what `take` says of an item.
pub(crate) async fn read<T: Absorb>(
    requests: &Requests,
    query: &Query,
    take: impl Fn(&mut T, Item<'_>) -> Result<(), String>,
) -> Result<Listed<T>, Failure> {
    read_and_tell(requests, query, take, || {}).await
}

/// As [`read`]; `answered` is called when a page begins to come.
///
/// # Errors
/// As of [`read`].
pub(crate) async fn read_and_tell<T: Absorb>(
    requests: &Requests,
    query: &Query,
    take: impl Fn(&mut T, Item<'_>) -> Result<(), String>,
    answered: impl Fn(),
) -> Result<Listed<T>, Failure> {
    let mut restarts = 0;
    loop {
        match (Reading { requests, query, take: &take, answered: &answered }).all_pages().await {
            Err(Failure { kind: FailureKind::Gone, cause }) if restarts == RESTARTS => {
                return Err(Failure::other(format!("the list grew too old before its end, {} times: {cause}", RESTARTS + 1)));
            }
            Err(Failure { kind: FailureKind::Gone, cause }) => {
                tracing::debug!("{}: {cause}; beginning anew", query.path);
                restarts += 1;
            }
            done => return done,
        }
    }
}

/// A list that is being read.
struct Reading<'a, Take, Answered> {
    requests: &'a Requests,
    query: &'a Query,
    take: &'a Take,
    answered: &'a Answered,
}

impl<Take, Answered: Fn()> Reading<'_, Take, Answered> {
    async fn all_pages<T: Absorb>(&self) -> Result<Listed<T>, Failure>
    where
        Take: Fn(&mut T, Item<'_>) -> Result<(), String>,
    {
        let mut listed = Listed { gathered: T::default(), resource_version: None };
        let mut tokens = HashSet::new();
        let (announce, mut announced) = mpsc::unbounded_channel();
        let mut pages = FuturesOrdered::new();
        pages.push_back(self.page(None, &announce));
        loop {
            tokio::select! {
                biased;
                Some(Head { resource_version, token }) = announced.recv(), if pages.len() < PAGES_AT_ONCE => {
                    (self.answered)();
                    listed.resource_version = listed.resource_version.or(resource_version);
                    let Some(token) = token else { continue };
                    if !tokens.insert(token.clone()) {
                        return Err(Failure::other("the server gives the same page again and again (metadata.continue repeats)"));
                    }
                    pages.push_back(self.page(Some(token), &announce));
                }
                page = pages.next() => match page {
                    Some(page) => listed.gathered.absorb(page?),
                    None if announced.is_empty() => return Ok(listed),
                    None => {}
                },
            }
        }
    }

    /// What the items of a page come to. Its head is announced when it comes.
    async fn page<T: Absorb>(&self, token: Option<String>, announce: &mpsc::UnboundedSender<Head>) -> Result<T, Failure>
    where
        Take: Fn(&mut T, Item<'_>) -> Result<(), String>,
    {
        let known = OnceCell::new();
        let read = async |mut chunks: Chunks<'_>| {
            let mut pages = Pages::default();
            let mut gathered = T::default();
            let mut taken = 0;
            loop {
                let chunk = chunks.next().await?;
                match &chunk {
                    Some(chunk) => pages.push(chunk),
                    None => pages.end().map_err(broken)?,
                }
                while let Some(part) = pages.next().map_err(broken)? {
                    match part {
                        Part::Head(head) => self.announce(head, &known, announce)?,
                        Part::Item(item) => (self.take)(&mut gathered, item)
                            .map_err(|cause| Tried::lasting(format!("one of its objects cannot be read: {cause}")))?,
                    }
                    if taken % ITEMS_AT_ONCE == 0 {
                        tokio::task::yield_now().await;
                    }
                    taken += 1;
                }
                if chunk.is_none() {
                    return Ok(gathered);
                }
            }
        };
        self.requests.read(&self.query.page(token.as_deref()), self.query.form, read).await
    }

    /// Announces a head, once. A page that had to be asked for again must be the same: the next one continues after the one that was announced.
    fn announce(&self, head: Head, known: &OnceCell<Head>, announce: &mpsc::UnboundedSender<Head>) -> Result<(), Failure> {
        match known.get() {
            None => {
                // The receiver is there as long as anybody wants this page.
                let _ = announce.send(head.clone());
                let _ = known.set(head);
                Ok(())
            }
            Some(known) if *known == head => Ok(()),
            Some(_) => {
                Err(Failure { kind: FailureKind::Gone, cause: "the list changed while a page of it was asked for again".to_owned() })
            }
        }
    }
}

fn broken(broken: Broken) -> Tried {
    match broken {
        Broken::Cut => Tried::cut("the answer was cut off"),
        Broken::Stranger(cause) => Tried::lasting(cause),
    }
}

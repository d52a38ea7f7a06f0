//! A whole list of a cluster, page by page.
//!
//! Owns the order of the pages: while one is taken in, the next is already on its way, so that the server works while this side does; and
//! the restart of a list that grew too old on the way (410), which forgets what was gathered until then.
//!
//! Rules: Kubernetes API concepts, "Retrieving large results sets in chunks".

use std::collections::HashSet;

use futures_util::future::try_join;

use super::kinds::percent_encoded;
use super::page::{Item, Page};
use super::request::{Failure, FailureKind, Form, Requests};

/// How many objects a page holds, as `kubectl` asks for them (`--chunk-size`).
const PAGE: u32 = 500;

/// How often a list is begun anew. A server keeps the state of a list for five minutes by default (etcd's compaction); one that never
/// keeps it until the end is not waited for.
const RESTARTS: u32 = 5;

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

/// A list of which the first page came.
pub(crate) struct List<'a> {
    requests: &'a Requests,
    query: Query,
    first: Page,
}

/// A list that was read whole.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    /// What its items came to.
    pub(crate) gathered: T,
    /// Its version.
    pub(crate) resource_version: Option<String>,
}

impl<'a> List<'a> {
    /// Asks for the first page: whether the list is to be had at all.
    ///
    /// # Errors
    /// As of [`Requests::get`], and what is no list.
    pub(crate) async fn begin(requests: &'a Requests, query: Query) -> Result<Self, Failure> {
        let first = page(requests, &query, None).await?;
        Ok(Self { requests, query, first })
    }

    /// Takes in all items. Of a list that must be begun anew, nothing stays that was gathered before.
    ///
    /// # Errors
    /// Any failure of any page, after which nothing counts that was gathered; what `take` says of an item.
    pub(crate) async fn take_all<T: Default>(self, take: impl Fn(&mut T, Item<'_>) -> Result<(), String>) -> Result<Listed<T>, Failure> {
        let Self { requests, query, mut first } = self;
        let mut restarts = 0;
        loop {
            match take_pages(requests, &query, first, &take).await {
                Err(Failure { kind: FailureKind::Gone, cause }) if restarts == RESTARTS => {
                    return Err(Failure::other(format!("the list grew too old before its end, {} times: {cause}", RESTARTS + 1)));
                }
                Err(Failure { kind: FailureKind::Gone, cause }) => {
                    tracing::debug!("{}: {cause}; beginning anew", query.path);
                    restarts += 1;
                    first = page(requests, &query, None).await?;
                }
                done => return done,
            }
        }
    }
}

async fn page(requests: &Requests, query: &Query, token: Option<&str>) -> Result<Page, Failure> {
    let body = requests.get(&query.page(token), query.form).await?;
    Page::read(body).map_err(Failure::other)
}

/// Takes in all pages, from the first on.
async fn take_pages<T: Default>(
    requests: &Requests,
    query: &Query,
    first: Page,
    take: &impl Fn(&mut T, Item<'_>) -> Result<(), String>,
) -> Result<Listed<T>, Failure> {
    let mut gathered = T::default();
    let resource_version = first.resource_version.clone();
    let mut tokens = HashSet::new();
    let mut current = first;
    loop {
        let token = current.token.take();
        if token.as_ref().is_some_and(|token| !tokens.insert(token.clone())) {
            return Err(Failure::other("the server gives the same page again and again (metadata.continue repeats)"));
        }
        let next = async {
            match &token {
                Some(token) => page(requests, query, Some(token)).await.map(Some),
                None => Ok(None),
            }
        };
        // The request goes first, so that it is on its way before the first item is looked at.
        let (next, ()) = try_join(next, take_page(current, &mut gathered, take)).await?;
        match next {
            Some(next) => current = next,
            None => return Ok(Listed { gathered, resource_version }),
        }
    }
}

async fn take_page<T>(page: Page, gathered: &mut T, take: &impl Fn(&mut T, Item<'_>) -> Result<(), String>) -> Result<(), Failure> {
    for (number, item) in page.items().enumerate() {
        if number % ITEMS_AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
        take(gathered, item).map_err(|cause| Failure::other(format!("one of its objects cannot be read: {cause}")))?;
    }
    Ok(())
}

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
    /// Of which kind it is, such as `PodList`, where that is known.
    pub(crate) kind: Option<String>,
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
            let mut pages = Pages::of(self.query.kind.as_deref());
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, Server, page, refusal, reply};
    use super::*;

    impl Absorb for String {
        fn absorb(&mut self, other: Self) {
            self.push_str(&other);
        }
    }

    /// A page with one item for each of these letters.
    fn letters(version: &str, token: &str, letters: &str) -> Reply {
        reply(200, page("PodList", version, token, letters.bytes().map(|letter| vec![letter]).collect()))
    }

    fn json(version: &str, token: &str, items: &str) -> Reply {
        reply(200, format!(r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#))
    }

    /// The letters in all pages and the version of the list, or the cause of the failure.
    async fn read_all(server: &Server) -> Result<(String, Option<String>), String> {
        let take = |gathered: &mut String, item: Item<'_>| match item {
            Item::Protobuf(b"!") => Err("it is broken".to_owned()),
            Item::Protobuf(bytes) => {
                gathered.push_str(&String::from_utf8_lossy(bytes));
                Ok(())
            }
            Item::Json(text) => {
                gathered.push_str(text);
                Ok(())
            }
        };
        let query = Query { path: "/p".to_owned(), ..Query::default() };
        let listed = read(&server.requests(), &query, take).await;
        listed.map(|listed| (listed.gathered, listed.resource_version)).map_err(|failure| failure.cause)
    }

    fn whole(letters: &str, version: &str) -> Result<(String, Option<String>), String> {
        Ok((letters.to_owned(), Some(version.to_owned())))
    }

    /// What was asked for, without what is the same in all.
    fn asked(server: &Server) -> Vec<String> {
        server.seen().iter().map(|seen| seen.split(' ').next().unwrap_or_default().replace("/p?limit=500", "")).collect()
    }

    #[test]
    fn everything_is_escaped() {
        let query = Query {
            path: "/p".to_owned(),
            label_selector: Some("a in (b, c)".to_owned()),
            field_selector: Some("type=x/y.v1".to_owned()),
            ..Query::default()
        };
        assert_eq!(
            query.page(Some("a+b/c==")),
            "/p?limit=500&labelSelector=a%20in%20%28b%2C%20c%29&fieldSelector=type%3Dx%2Fy.v1&continue=a%2Bb%2Fc%3D%3D"
        );
    }

    #[tokio::test]
    async fn pages_come_in_order_in_either_form() {
        let server = Server::start(|path, _| match path {
            "/p?limit=500" => letters("7", "t+1", "ab"),
            "/p?limit=500&continue=t%2B1" => json("7", "t2", r#""c","d""#),
            _ => letters("7", "", "e"),
        });
        assert_eq!(read_all(&server).await, whole(r#"ab"c""d"e"#, "7"));
        assert_eq!(asked(&server), ["", "&continue=t%2B1", "&continue=t2"]);
        let accept = "application/vnd.kubernetes.protobuf, application/json";
        assert!(server.seen().iter().all(|seen| seen.ends_with(accept)), "{:?}", server.seen());
    }

    #[tokio::test]
    async fn the_next_page_is_asked_for_while_one_comes_in() {
        let server = Server::start(|path, _| match path {
            // The end of the first page comes only after the second is asked for.
            "/p?limit=500" => letters("7", "t1", "ab").hold(3, 2),
            _ => letters("7", "", "c"),
        });
        assert_eq!(read_all(&server).await, whole("abc", "7"));
    }

    #[tokio::test]
    async fn a_list_that_grew_too_old_is_begun_anew() {
        let server = Server::start(|path, times| match (path, times) {
            ("/p?limit=500", 0) => letters("7", "t7", "ab"),
            ("/p?limit=500", _) => letters("8", "t8", "AB"),
            ("/p?limit=500&continue=t7", _) => refusal(410, "Expired", "The provided continue parameter is too old"),
            _ => letters("8", "", "C"),
        });
        assert_eq!(read_all(&server).await, whole("ABC", "8"));
    }

    #[tokio::test]
    async fn a_list_that_is_always_too_old_is_given_up() {
        let server = Server::start(|path, times| match path {
            "/p?limit=500" => letters("7", &format!("t{times}"), "ab"),
            _ => refusal(410, "Expired", "too old"),
        });
        assert_eq!(read_all(&server).await, Err("the list grew too old before its end, 6 times: 410 Expired: too old".to_owned()));
        assert_eq!(server.seen().len(), 12);
    }

    #[tokio::test]
    async fn a_token_that_comes_again_ends_the_list() {
        for tokens in [["t1", "t1"], ["t2", "t1"]] {
            let server = Server::start(move |path, _| match path {
                "/p?limit=500" => letters("7", "t1", "a"),
                "/p?limit=500&continue=t1" => letters("7", tokens[0], "b"),
                _ => letters("7", tokens[1], "c"),
            });
            assert!(read_all(&server).await.is_err_and(|cause| cause.contains("the same page again and again")));
            assert!(server.seen().len() <= 3);
        }
    }

    #[tokio::test]
    async fn a_page_that_fails_fails_the_list() {
        for (second, expected) in [
            (refusal(500, "InternalError", "etcdserver: no leader"), "500 InternalError: etcdserver: no leader"),
            (reply(404, "404 page not found"), "404 Not Found: 404 page not found"),
            (reply(200, "<html>"), "the answer is no list that can be read"),
            (letters("7", "", "c!"), "one of its objects cannot be read: it is broken"),
        ] {
            let server = Server::start(move |path, _| if path == "/p?limit=500" { letters("7", "t", "ab") } else { second.clone() });
            let read = read_all(&server).await;
            assert!(read.as_ref().is_err_and(|cause| cause.starts_with(expected)), "{read:?}");
            assert_eq!(server.seen().len(), 2);
        }
    }

    #[tokio::test]
    async fn a_page_that_breaks_off_is_asked_for_again_and_counts_once() {
        let second = || letters("7", "", "cdefgh");
        for broken in [second().cut(4), second().end_early(4), second().cut(usize::MAX), second().end_early(usize::MAX)] {
            let server = Server::start(move |path, times| match (path, times) {
                ("/p?limit=500", _) => letters("7", "t", "ab"),
                (_, 0) => broken.clone(),
                _ => second(),
            });
            assert_eq!(read_all(&server).await, whole("abcdefgh", "7"));
            assert_eq!(asked(&server), ["", "&continue=t", "&continue=t"]);
        }
    }

    #[tokio::test]
    async fn a_page_that_always_breaks_off_is_no_short_page() {
        let page = || letters("7", "", "abcdefgh");
        for (broken, expected) in [(page().cut(4), "the answer broke off: "), (page().end_early(4), "the answer was cut off (3 tries)")] {
            let server = Server::start(move |_, _| broken.clone());
            let read = read_all(&server).await;
            assert!(read.as_ref().is_err_and(|cause| cause.starts_with(expected) && cause.ends_with("(3 tries)")), "{read:?}");
        }
    }

    #[tokio::test]
    async fn a_first_page_that_is_another_one_the_second_time_begins_the_list_anew() {
        // The next page continues after the first that came. Beside another first page, objects between the two would be lost.
        let server = Server::start(|path, times| match (path, times) {
            ("/p?limit=500", 0) => letters("7", "t7", "abcd").cut(4),
            ("/p?limit=500", _) => letters("8", "t8", "AB"),
            ("/p?limit=500&continue=t7", _) => letters("7", "", "e"),
            _ => letters("8", "", "C"),
        });
        assert_eq!(read_all(&server).await, whole("ABC", "8"));
    }

    #[tokio::test]
    async fn a_busy_server_gets_the_time_that_it_asks_for() {
        for refused in
            [reply(429, "").header("Retry-After", "0"), refusal(503, "ServiceUnavailable", ""), refusal(429, "", ""), reply(504, "")]
        {
            let server = Server::start(move |_, times| if times < 2 { refused.clone() } else { letters("7", "", "a") });
            assert_eq!(read_all(&server).await, whole("a", "7"));
            assert_eq!(server.seen().len(), 3);
        }
        let server = Server::start(|_, _| refusal(429, "TooManyRequests", "later").header("Retry-After", "0"));
        assert_eq!(read_all(&server).await, Err("429 TooManyRequests: later (3 tries)".to_owned()));
    }
}

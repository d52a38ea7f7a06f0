//! The catalog: `GET /v2/_catalog` (Distribution, "Listing Repositories"), read to its end whatever the registry does.
//!
//! What registries do, each seen in the field:
//!
//! - Without `n` they answer with the first hundred. With an `n` above their own limit some answer 400, others with fewer.
//! - Distribution sorts `zz/1` before `zz` where it walks and after it where it compares. Where a page ends between the two, version 2
//!   leaves `zz` out, or forgets to say that there is another page; version 3 breaks the connection.
//! - Names come twice, lists are null, links name other hosts or lead back.
//!
//! So a full page without a link is asked for its successor all the same, the parents of each page's last name are asked for
//! themselves, and a connection that breaks is tried with pages of another size.

use std::collections::HashSet;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use url::Url;

use super::auth::Access;
use super::error::{Error, Trouble};
use super::page::Visited;
use super::tags::{PAGE, drop_name, loops, names, next_page, text};
use super::transport::{Answer, Transport};
use crate::reference::Repository;

/// The page size to ask for: the most that Distribution gives in its own configuration.
const SIZE: usize = 1000;

/// The size of a page for which no size was asked for.
const UNASKED: usize = 100;

/// How many neighbours of a page size are tried where a connection breaks, and how often each size.
const NEIGHBOURS: usize = 5;
const TRIES: u32 = 3;

/// How many names that may be none are kept to be told.
const WITHHELD: usize = 100;

/// How many pages in a row may have nothing new.
const IDLE_PAGES: u32 = 3;

/// The names of all repositories of a registry, page by page.
#[derive(Debug)]
pub struct Catalog {
    transport: Arc<Transport>,
    next: Option<Page>,
    seen: HashSet<Repository>,
    /// Parents that were asked for, so that none is asked for twice.
    probed: HashSet<Repository>,
    visited: Visited,
    /// How many pages in a row had nothing new.
    idle: u32,
    dropped: Vec<String>,
    /// Parents that the registry does not say whether they are there.
    withheld: Vec<(Repository, Error)>,
}

/// A page to ask for.
#[derive(Debug, Clone)]
struct Page {
    url: Url,
    /// Whether nothing but suspicion says that it is there, so that an error in its place is the end.
    on_suspicion: bool,
}

impl Catalog {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        let url = url(&transport, Some(SIZE), None);
        Self {
            transport,
            next: Some(Page { url, on_suspicion: false }),
            seen: HashSet::new(),
            probed: HashSet::new(),
            visited: Visited::default(),
            idle: 0,
            dropped: Vec::new(),
            withheld: Vec::new(),
        }
    }

    /// The next names, none of which came before; `None` at the end. After an error there is nothing more: the catalog broke off.
    pub async fn next(&mut self) -> Option<Result<Vec<Repository>, Error>> {
        while let Some(page) = self.next.take() {
            match self.read(page).await {
                Ok(names) if names.is_empty() => {}
                Ok(names) => return Some(Ok(names)),
                Err(error) => {
                    self.next = None;
                    return Some(Err(self.explained(error)));
                }
            }
        }
        None
    }

    /// The first hundred texts in the registry's list that no repository can be called.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Names above those that were listed, which the registry may have left out, and of which it does not say to this user whether
    /// they are repositories; with what it said. At most a hundred.
    #[must_use]
    pub fn withheld(&self) -> &[(Repository, Error)] {
        &self.withheld
    }

    /// Reads a page, decides on the one after it, and gives back the names that are new.
    async fn read(&mut self, page: Page) -> Result<Vec<Repository>, Error> {
        if !self.visited.note(&page.url) {
            return Err(Error::of_request(&Method::GET, &page.url, loops()));
        }
        let (asked, answer) = self.fetch(&page.url).await?;
        if !answer.status.is_success() {
            return self.refused(&page, &answer).map(|()| Vec::new());
        }
        let listed = names(&answer, "repositories")?.unwrap_or_default();
        let mut new = Vec::new();
        let mut last = None;
        for element in &listed {
            let name = text(element);
            match name.as_deref().map(str::parse::<Repository>) {
                Some(Ok(repository)) => {
                    if self.seen.insert(repository.clone()) {
                        new.push(repository);
                    }
                }
                _ => drop_name(&mut self.dropped, element),
            }
            last = name.or(last);
        }
        self.idle = if new.is_empty() { self.idle + 1 } else { 0 };
        if self.idle > IDLE_PAGES {
            return Err(Error::of_request(&Method::GET, &asked, loops()));
        }
        let is_full = size_of(&asked).is_some_and(|size| listed.len() >= size);
        // Where the size of a page is the registry's secret, any may be full; and a registry that gives fewer than it is asked for
        // without a word has a round limit.
        let may_be_full = is_full || size_of(&asked).is_none() || listed.len() % 50 == 0;
        self.next = match (next_page(&answer, &asked), &last) {
            (Some(url), _) => Some(Page { url, on_suspicion: false }),
            // A registry that does not know `last` begins anew: then nothing is new, and this is the end.
            (None, Some(last)) if may_be_full && !new.is_empty() => {
                Some(Page { url: url(&self.transport, size_of(&asked), Some(last)), on_suspicion: !is_full })
            }
            _ => None,
        };
        if let Some(last) = last.filter(|_| self.next.is_some()) {
            self.add_parents(&last, &mut new).await?;
        }
        Ok(new)
    }

    /// What to make of an answer that is no page: ask otherwise, or end, or fail.
    fn refused(&mut self, page: &Page, answer: &Answer) -> Result<(), Error> {
        if size_of(&page.url).is_some() && matches!(answer.status.as_u16(), 400 | 413 | 422) {
            let url = url(&self.transport, None, last_of(&page.url).as_deref());
            self.next = Some(Page { url, on_suspicion: page.on_suspicion });
            return Ok(());
        }
        if page.on_suspicion && answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS {
            return Ok(());
        }
        Err(answer.error())
    }

    /// Asks for a page, and where the connection breaks, for pages of other sizes from the same place. Gives back what was asked for
    /// in the end.
    async fn fetch(&self, url_of_page: &Url) -> Result<(Url, Answer), Error> {
        let broke = |result: &Result<Answer, Error>| match result {
            Ok(_) => false,
            Err(error) => matches!(error.trouble(), Some(Trouble::Lost(_) | Trouble::CutBody(_))),
        };
        let mut ask = self.transport.ask(Method::GET, url_of_page.clone(), Access::Catalog, PAGE);
        ask.total = self.transport.timeouts().catalog;
        let patience = std::mem::replace(&mut ask.tries, TRIES);
        let result = self.transport.send(&ask).await;
        if !broke(&result) {
            return result.map(|answer| (ask.url, answer));
        }
        for other in other_sizes(size_of(url_of_page)) {
            ask.url = url(&self.transport, Some(other), last_of(url_of_page).as_deref());
            let result = self.transport.send(&ask).await;
            if !broke(&result) && !matches!(&result, Ok(answer) if answer.status == StatusCode::BAD_REQUEST) {
                return result.map(|answer| (ask.url, answer));
            }
        }
        // So it was not the size; perhaps the registry is restarting.
        ask.url = url_of_page.clone();
        ask.tries = patience;
        self.transport.send(&ask).await.map(|answer| (ask.url, answer))
    }

    /// Adds those parents of a page's last name that are repositories and did not come.
    async fn add_parents(&mut self, last: &str, new: &mut Vec<Repository>) -> Result<(), Error> {
        for (end, _) in last.match_indices('/') {
            let Ok(parent) = last[..end].parse::<Repository>() else { continue };
            if self.seen.contains(&parent) || !self.probed.insert(parent.clone()) {
                continue;
            }
            let url = self.transport.repository_url(&parent, &["tags", "list"]);
            match self.transport.send(&self.transport.ask(Method::GET, url, Access::Pull(&parent), PAGE)).await {
                Ok(answer) if answer.status.is_success() => {
                    if self.seen.insert(parent.clone()) {
                        new.push(parent);
                    }
                }
                Ok(answer) if matches!(answer.status.as_u16(), 401 | 403) => self.withhold(parent, answer.error()),
                // No such repository.
                Ok(answer) if answer.status.is_client_error() && answer.status != StatusCode::TOO_MANY_REQUESTS => {}
                Ok(answer) => return Err(answer.error()),
                Err(error) if error.is_unauthorized() => self.withhold(parent, error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A registry that hides what a user may not see answers the same for what is there and what is not.
    fn withhold(&mut self, parent: Repository, error: Error) {
        if self.withheld.len() < WITHHELD {
            self.withheld.push((parent, error));
        }
    }

    /// An error that says what to do, where it says that there is no catalog at all.
    fn explained(&self, error: Error) -> Error {
        let is_missing = matches!(error.status(), Some(401 | 403 | 404 | 405)) || error.is_unsupported();
        // A wrong password is no missing catalog, and its way out is another.
        if is_missing && !error.is_rejected() && self.seen.is_empty() {
            let host = self.transport.host();
            error.with_hint(format!(
                "where a registry shows no catalog, name its repositories ({host}/REPOSITORY) or give them, one a line, on standard input"
            ))
        } else {
            error
        }
    }
}

fn url(transport: &Transport, size: Option<usize>, last: Option<&str>) -> Url {
    let mut url = transport.url(&["_catalog"]);
    if size.is_some() || last.is_some() {
        let mut query = url.query_pairs_mut();
        if let Some(size) = size {
            query.append_pair("n", &size.to_string());
        }
        if let Some(last) = last {
            query.append_pair("last", last);
        }
    }
    url
}

/// The page sizes to try where one breaks the connection: its neighbours, then ever smaller ones, as the registry may take none as
/// large and not say how large its own are.
fn other_sizes(size: Option<usize>) -> Vec<usize> {
    let near = size.into_iter().flat_map(|size| (1..=NEIGHBOURS).map(move |step| if size > step { size - step } else { size + step }));
    let halves = std::iter::successors(Some(size.unwrap_or(UNASKED) / 2), |size| Some(size / 2)).take_while(|size| *size > 0);
    let mut sizes: Vec<usize> = Vec::new();
    for other in near.chain(halves).filter(|other| Some(*other) != size) {
        if !sizes.contains(&other) {
            sizes.push(other);
        }
    }
    sizes
}

/// The page size that a URL asks for.
fn size_of(url: &Url) -> Option<usize> {
    url.query_pairs().find(|(key, _)| key == "n").and_then(|(_, size)| size.parse().ok())
}

/// The name after which a URL asks for more.
fn last_of(url: &Url) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == "last").map(|(_, last)| last.into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{Reply, Request, Server, fault, hang_up, reply};
    use super::*;

    fn page(names: &[&str]) -> Reply {
        reply(200, serde_json::json!({ "repositories": names }).to_string())
    }

    fn number(request: &Request, key: &str) -> Option<usize> {
        value(request, key)?.parse().ok()
    }

    fn value(request: &Request, key: &str) -> Option<String> {
        let url: Url = format!("http://x{}", request.path).parse().unwrap();
        url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }

    async fn all(server: &Server) -> Result<Vec<String>, Error> {
        let mut catalog = server.registry().catalog();
        let mut names = Vec::new();
        while let Some(page) = catalog.next().await {
            names.extend(page?.iter().map(ToString::to_string));
        }
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "a name came twice: {names:?}");
        names.sort();
        Ok(names)
    }

    #[tokio::test]
    async fn a_short_catalog_takes_one_request() {
        let server = Server::start(|_| page(&["a", "b/c", "b/c", "Not A Name"]));
        assert_eq!(all(&server).await.unwrap(), ["a", "b/c"]);
        assert_eq!(server.lines(), ["GET /v2/_catalog?n=1000"]);
        for empty in [r#"{"repositories":null}"#, r#"{"repositories":[]}"#] {
            let server = Server::start(move |_| reply(200, empty));
            assert_eq!(all(&server).await.unwrap(), [""; 0]);
        }
        let server = Server::start(|_| reply(200, r#"{"repositories":["a",null,"../b",7,"c"]}"#));
        let mut catalog = server.registry().catalog();
        assert_eq!(catalog.next().await.unwrap().unwrap().len(), 2);
        assert!(catalog.next().await.is_none());
        assert_eq!(catalog.dropped(), ["null", "../b", "7"]);
    }

    #[tokio::test]
    async fn a_registry_that_takes_no_size_that_large_and_links_to_nothing() {
        // Distribution with `maxentries: 4` links to nothing where no size is asked for.
        let names: Vec<String> = (0..10).map(|number| format!("r{number}")).collect();
        let server = Server::start(move |request| {
            if number(request, "n").is_some_and(|size| size > 4) {
                return fault(400, "PAGINATION_NUMBER_INVALID");
            }
            let last = value(request, "last").unwrap_or_default();
            page(&names.iter().map(String::as_str).filter(|name| *name > last.as_str()).take(4).collect::<Vec<_>>())
        });
        assert_eq!(all(&server).await.unwrap().len(), 10);
        assert_eq!(
            server.lines(),
            [
                "GET /v2/_catalog?n=1000",
                "GET /v2/_catalog",
                "GET /v2/_catalog?last=r3",
                "GET /v2/_catalog?last=r7",
                "GET /v2/_catalog?last=r9"
            ]
        );
    }

    #[tokio::test]
    async fn a_full_page_without_a_link_is_not_the_end() {
        let names: Vec<String> = (0..2500).map(|number| format!("r{number:04}")).collect();
        let server = Server::start(move |request| {
            let last = value(request, "last").unwrap_or_default();
            page(&names.iter().map(String::as_str).filter(|name| *name > last.as_str()).take(1000).collect::<Vec<_>>())
        });
        assert_eq!(all(&server).await.unwrap().len(), 2500);
        // One that begins anew whatever it is asked ends where nothing is new.
        let names: Vec<String> = (0..100).map(|number| format!("r{number:04}")).collect();
        let server = Server::start(move |_| page(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(all(&server).await.unwrap().len(), 100);
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn parents_that_a_page_swallows_are_found() {
        let server = Server::start(|request| match request.path.as_str() {
            "/v2/_catalog?n=1000" => page(&["a", "zz/1/y"]).header("Link", "</v2/_catalog?last=zz%2F1%2Fy&n=2>; rel=\"next\""),
            "/v2/_catalog?last=zz%2F1%2Fy&n=2" => page(&["zz/2", "zz/3"]).header("Link", "</v2/_catalog?last=zz%2F3&n=2>; rel=\"next\""),
            "/v2/_catalog?last=zz%2F3&n=2" => page(&["zz/4"]),
            "/v2/zz/tags/list" => reply(200, r#"{"name":"zz","tags":["1"]}"#),
            _ => fault(404, "NAME_UNKNOWN"),
        });
        assert_eq!(all(&server).await.unwrap(), ["a", "zz", "zz/1/y", "zz/2", "zz/3", "zz/4"]);
        let probes: Vec<String> = server.lines().into_iter().filter(|line| line.contains("tags/list")).collect();
        assert_eq!(probes, ["GET /v2/zz/tags/list", "GET /v2/zz/1/tags/list"]);
    }

    #[tokio::test]
    async fn a_page_that_breaks_the_connection_is_asked_for_in_another_size() {
        let server = Server::start(|request| match (value(request, "last").as_deref(), number(request, "n")) {
            (None, Some(1000)) => hang_up(),
            (None, Some(999)) => hang_up(),
            (None, Some(998)) => page(&["a"]).header("Link", "</v2/_catalog?last=a&n=998>; rel=\"next\""),
            (Some("a"), Some(998)) => page(&["b"]).cut(3),
            (Some("a"), Some(997)) => page(&["b"]),
            _ => reply(500, ""),
        });
        assert_eq!(all(&server).await.unwrap(), ["a", "b"]);
        let server = Server::start(|request| match number(request, "n") {
            Some(1000) => hang_up(),
            _ => fault(400, "PAGINATION_NUMBER_INVALID"),
        });
        let error = all(&server).await.unwrap_err();
        assert!(error.to_string().contains("connection was lost") && !error.is_lasting(), "{error}");
    }

    #[test]
    fn sizes_to_try() {
        assert_eq!(other_sizes(Some(1000)), [999, 998, 997, 996, 995, 500, 250, 125, 62, 31, 15, 7, 3, 1]);
        assert_eq!(other_sizes(Some(3)), [2, 1, 6, 7, 8]);
        assert_eq!(other_sizes(None), [50, 25, 12, 6, 3, 1]);
    }

    #[tokio::test]
    async fn links_that_lead_back_end_in_an_error_and_not_in_a_list() {
        let same = "</v2/_catalog?last=a&n=1>; rel=\"next\"";
        let server = Server::start(move |_| page(&["a"]).header("Link", same));
        assert!(all(&server).await.unwrap_err().to_string().contains("lead back"));
        // Always another link, never another name.
        let count = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |_| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            page(&["a"]).header("Link", format!("</v2/_catalog?token={number}>; rel=\"next\""))
        });
        assert!(all(&server).await.unwrap_err().to_string().contains("lead back"));
    }

    #[tokio::test]
    async fn links_to_other_hosts_are_read_on_this_one() {
        let server = Server::start(|request| match value(request, "last").as_deref() {
            None => page(&["a"]).header("Link", "<https://evil.example.net/v2/_catalog?last=a&n=1>; rel=\"next\""),
            Some(_) => page(&["b"]),
        });
        assert_eq!(all(&server).await.unwrap(), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_registry_without_a_catalog_says_what_to_do_instead() {
        for answer in [
            fault(401, "UNAUTHORIZED"),
            fault(403, "DENIED"),
            fault(404, "NOT_FOUND"),
            reply(404, "404 page not found"),
            fault(400, "UNSUPPORTED"),
        ] {
            let server = Server::start(move |_| answer.clone());
            let error = all(&server).await.unwrap_err();
            assert!(error.to_string().contains("give them, one a line, on standard input"), "{error}");
        }
        // A wrong password is another matter.
        let server = Server::start(|_| fault(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=x"));
        let error = server.registry_of("user", "wrong").catalog().next().await.unwrap().unwrap_err();
        assert!(error.is_rejected() && !error.to_string().contains("standard input"), "{error}");
        // So is one that breaks off later.
        let server = Server::start(|request| match value(request, "last") {
            None => page(&["a"]).header("Link", "<?last=a>; rel=next"),
            Some(_) => fault(403, "DENIED"),
        });
        let mut catalog = server.registry().catalog();
        assert_eq!(catalog.next().await.unwrap().unwrap().len(), 1);
        let error = catalog.next().await.unwrap().unwrap_err();
        assert!(error.is_lasting() && !error.to_string().contains("standard input"), "{error}");
        assert!(catalog.next().await.is_none());
        for body in ["<html>", "[]", "{}", r#"{"errors":[]}"#] {
            let server = Server::start(move |_| reply(200, body));
            assert!(all(&server).await.is_err(), "{body}");
        }
    }
}

//! Tags: `GET /v2/<name>/tags/list` (distribution-spec, "Listing Tags"), all pages of it.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header;
use serde_json::value::RawValue;

use super::auth::Access;
use super::error::Error;
use super::page::{self, Visited};
use super::transport::{Answer, Transport};
use crate::reference::{Repository, Tag};

/// How large a page may be: a million tags of thirty characters.
pub(super) const PAGE: usize = 32 << 20;

/// How many names that are none are kept to be told.
const DROPPED: usize = 100;

/// The tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagList {
    /// In the order of their bytes, each once.
    pub tags: Vec<Tag>,
    /// The first hundred texts in the registry's list that no tag can be: digests, nulls, what others pushed by other ways.
    pub dropped: Vec<String>,
    /// The registry knows no such repository, or nothing of it but the name: listed in a catalog, and empty.
    pub ghost: bool,
    /// Of a ghost: the registry says that it does not know it (`NAME_UNKNOWN`).
    pub unknown: bool,
}

pub(super) async fn list(transport: &Transport, repository: &Repository) -> Result<TagList, Error> {
    let mut list = TagList::default();
    let mut visited = Visited::default();
    // Without `n` every Distribution answers with all tags, and no registry with an error; the others page by themselves.
    let mut next = Some(transport.repository_url(repository, &["tags", "list"]));
    let mut first = true;
    while let Some(url) = next.take() {
        if !visited.note(&url) {
            return Err(Error::of_request(&Method::GET, &url, loops()));
        }
        let answer = match transport.send(&transport.ask(Method::GET, url.clone(), Access::Pull(repository), PAGE)).await?.success() {
            Ok(answer) => answer,
            Err(error) if error.is_name_unknown() && first => return Ok(TagList { ghost: true, unknown: true, ..TagList::default() }),
            Err(error) => return Err(error),
        };
        match names(&answer, "tags")? {
            Some(names) => {
                list.tags.reserve(names.len());
                for name in names {
                    match text(name).map(|name| name.parse()) {
                        Some(Ok(tag)) => list.tags.push(tag),
                        _ => drop_name(&mut list.dropped, name),
                    }
                }
            }
            None => list.ghost = first,
        }
        first = false;
        next = next_page(&answer, &url);
    }
    list.ghost &= list.tags.is_empty() && list.dropped.is_empty();
    list.tags.sort_unstable();
    list.tags.dedup();
    Ok(list)
}

/// An element of a list as text, where it is that.
pub(super) fn text(element: &RawValue) -> Option<String> {
    serde_json::from_str(element.get()).ok()
}

/// Notes a name that is none.
pub(super) fn drop_name(dropped: &mut Vec<String>, element: &RawValue) {
    if dropped.len() < DROPPED {
        dropped.push(super::error::plain(&text(element).unwrap_or_else(|| element.get().to_owned())));
    }
}

pub(super) fn loops() -> super::error::Cause {
    super::error::Cause::Content(
        "the registry's pages lead back to one that was read before, so the list cannot be read to its end".to_owned(),
    )
}

/// Where an answer says that its next page is.
pub(super) fn next_page(answer: &Answer, asked: &url::Url) -> Option<url::Url> {
    let links = answer.headers.get_all(header::LINK);
    page::next(links.iter().filter_map(|value| value.to_str().ok()), asked)
}

/// The list under `key` in an answer's object; `None` where it is null, or left out of an object that holds the name.
///
/// Its elements are left as they came, so that a page of a million tags takes not much more memory than its bytes.
pub(super) fn names<'a>(answer: &'a Answer, key: &str) -> Result<Option<Vec<&'a RawValue>>, Error> {
    let not_that = |_| answer.content_error(format!("the answer is no JSON object with a list of {key}"));
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(&answer.body).map_err(not_that)?;
    let null = if object.contains_key("name") && !object.contains_key("errors") { "null" } else { "" };
    serde_json::from_str(object.get(key).map_or(null, |list| list.get())).map_err(not_that)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Reply, Server, fault, reply, repository};
    use super::*;

    async fn list(answer: Reply) -> Result<TagList, Error> {
        let server = Server::start(move |_| answer.clone());
        server.registry().tags(&repository("team/app")).await
    }

    fn texts(list: &TagList) -> Vec<&str> {
        list.tags.iter().map(Tag::as_str).collect()
    }

    #[tokio::test]
    async fn unsorted_repeated_and_impossible_tags() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let body = format!(r#"{{"name":"team/app","tags":["v2","latest",null,"v1","v2",7,"{digest}","","../x"]}}"#);
        let list = list(reply(200, body)).await.unwrap();
        assert_eq!(texts(&list), ["latest", "v1", "v2"]);
        assert_eq!(list.dropped, ["null", "7", &digest, "", "../x"]);
        assert!(!list.ghost);
    }

    #[tokio::test]
    async fn ghosts_are_empty_and_no_error() {
        for answer in [
            reply(200, r#"{"name":"team/app","tags":null}"#),
            reply(200, r#"{"name":"team/app"}"#),
            fault(404, "NAME_UNKNOWN"),
            fault(400, "NAME_UNKNOWN"),
        ] {
            let unknown = format!("{answer:?}").contains("status: 4");
            let list = list(answer.clone()).await.unwrap();
            assert_eq!((list.ghost, list.unknown, list.tags.len()), (true, unknown, 0), "{answer:?}");
        }
        assert_eq!(list(reply(200, r#"{"name":"team/app","tags":[]}"#)).await.unwrap(), TagList::default());
    }

    #[tokio::test]
    async fn what_is_no_list_is_an_error() {
        for answer in [
            reply(200, "<html>"),
            reply(200, ""),
            reply(200, "[]"),
            reply(200, "null"),
            reply(200, "{}"),
            reply(200, r#"{"tags":"v1"}"#),
            reply(200, r#"{"name":"x","errors":[]}"#),
            reply(404, "404 page not found"),
            fault(403, "DENIED"),
        ] {
            let error = list(answer.clone()).await.unwrap_err();
            assert!(error.is_lasting() && error.to_string().contains("/v2/team/app/tags/list"), "{answer:?}: {error}");
        }
    }

    #[tokio::test]
    async fn pages_are_followed_on_the_same_host_until_they_lead_back() {
        let server = Server::start(|request| match request.path.as_str() {
            "/v2/a/tags/list" => reply(200, r#"{"name":"a","tags":["1"]}"#)
                .header("Link", "<https://evil.example.net/v2/a/tags/list?last=1&n=1>; rel=\"next\""),
            "/v2/a/tags/list?last=1&n=1" => reply(200, r#"{"name":"a","tags":["2"]}"#).header("Link", "<?last=2>; rel=next"),
            "/v2/a/tags/list?last=2" => reply(200, r#"{"name":"a","tags":null}"#),
            "/v2/loop/tags/list" => reply(200, r#"{"name":"a","tags":["1"]}"#).header("Link", "</v2/loop/tags/list>; rel=\"next\""),
            _ => reply(500, ""),
        });
        let list = server.registry().tags(&repository("a")).await.unwrap();
        assert_eq!((texts(&list), list.ghost), (vec!["1", "2"], false));
        let error = server.registry().tags(&repository("loop")).await.unwrap_err();
        assert!(error.to_string().contains("lead back"), "{error}");
    }
}

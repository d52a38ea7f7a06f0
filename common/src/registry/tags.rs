//! Tags: `GET /v2/<name>/tags/list` (distribution-spec, "Listing Tags"), all pages of it.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header;
use serde_json::Value;

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
}

pub(super) async fn list(transport: &Transport, repository: &Repository) -> Result<TagList, Error> {
    let mut tags = BTreeSet::new();
    let mut list = TagList::default();
    let mut visited = Visited::default();
    // Without `n` every Distribution answers with all tags, and no registry with an error; the others page by themselves.
    let mut next = Some(transport.repository_url(repository, &["tags", "list"]));
    let mut first = true;
    while let Some(url) = next.take() {
        if !visited.note(&url) {
            return Err(Error::of_request(&Method::GET, &url, loops()));
        }
        let answer = transport.send(&transport.ask(Method::GET, url.clone(), Access::Pull(repository), PAGE)).await?;
        let error = answer.error();
        if error.is_name_unknown() && first {
            return Ok(TagList { ghost: true, ..TagList::default() });
        }
        let answer = answer.success()?;
        match names(&answer, "tags")? {
            Some(names) => {
                for name in names {
                    match name.as_str().map(str::parse) {
                        Some(Ok(tag)) => {
                            tags.insert(tag);
                        }
                        _ => drop_name(&mut list.dropped, &name),
                    }
                }
            }
            None => list.ghost = first,
        }
        first = false;
        next = next_page(&answer, &url);
    }
    list.ghost &= tags.is_empty() && list.dropped.is_empty();
    list.tags = tags.into_iter().collect();
    Ok(list)
}

/// Notes a name that is none.
pub(super) fn drop_name(dropped: &mut Vec<String>, name: &Value) {
    if dropped.len() < DROPPED {
        dropped.push(super::error::plain(name.as_str().unwrap_or(&name.to_string())));
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
pub(super) fn names(answer: &Answer, key: &str) -> Result<Option<Vec<Value>>, Error> {
    let not_that = || answer.content_error(format!("the answer is no JSON object with a list of {key}"));
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&answer.body) else { return Err(not_that()) };
    match object.remove(key) {
        Some(Value::Array(names)) => Ok(Some(names)),
        Some(Value::Null) => Ok(None),
        None if object.contains_key("name") && !object.contains_key("errors") => Ok(None),
        _ => Err(not_that()),
    }
}

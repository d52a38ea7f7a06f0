//! A registry whose storage tree is read, without a server: which repositories it has, several of them read at once and written in their order.

use std::path::Path;

use anyhow::bail;
use chrono::Utc;
use common::beside::source;
use common::cli::operand::Wanted;
use common::cli::{Context, Output, Progress, Status};
use common::pattern::RepositoryFilter;
use common::reference::Repository;
use common::store::repositories;
use common::store::{Problem, layout, side_by_side};

use crate::configs::SharedConfigs;
use crate::section::{Section, What};
use crate::totals::Totals;
use crate::tree::{self, Buffers, Tree};

/// How many bytes may be held of repositories whose turn has not come.
const AHEAD: usize = 32 << 20;

/// Lists the registry whose driver has its `rootdirectory` at `store`.
pub(crate) fn list(
    context: &Context,
    output: &mut Output,
    progress: &Progress,
    wanted: &Wanted,
    what: What,
    filter: &RepositoryFilter,
    store: &Path,
) -> anyhow::Result<(Status, Totals)> {
    let time = Utc::now();
    let (root, hint) = source::open_to_read(store)?;
    if let Some(hint) = hint {
        context.say(hint);
    }
    let found = repositories::find(&root);
    if let Some(problem) = found.problems.iter().find(|problem| problem.path == layout::REPOSITORIES) {
        bail!("--store {}: {problem}: nothing was listed", store.display());
    }
    let mut section = Section::new(context, output, wanted, what, time);
    section.begin()?;
    note_unread(&mut section, &found.problems);
    let prefixes = wanted.part.prefixes();
    let names = in_walk_order(known(&mut section, found.names));
    for prefix in prefixes.iter().filter(|prefix| !names.iter().any(|name| name.is_within(prefix))) {
        section.say(format_args!("{}/{prefix}: the storage holds no repository there", wanted.host));
    }
    let is_wanted = |name: &Repository| prefixes.is_empty() || prefixes.iter().any(|prefix| name.is_within(prefix));
    let names: Vec<Repository> = names.into_iter().filter(|name| is_wanted(name) && filter.selects(name.as_str())).collect();

    progress.expect(u64::try_from(names.len()).unwrap_or(u64::MAX));
    progress.tell("repositories");
    let configs = SharedConfigs::default();
    let tree = Tree { root: &root, configs: &configs, what };
    side_by_side::in_order(
        &names,
        AHEAD,
        Buffers::default,
        |buffers, name| tree::read(&tree, name, buffers),
        |listed| {
            progress.advance();
            progress.suspend(|| section.write(listed))
        },
    )?;
    Ok(section.end()?)
}

/// Says what could not be looked into: there may be more repositories.
fn note_unread(section: &mut Section<'_>, problems: &[Problem]) {
    let mut hiding = problems.iter().filter(|problem| problem.hides);
    if let Some(problem) = hiding.next() {
        let more = match hiding.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        section.say(format_args!("{}: repositories may be missing in this listing: {problem}{more}", section.host()));
        section.lack_names(format!("{problem}{more}"));
    }
}

/// The names that a repository can have.
fn known(section: &mut Section<'_>, names: Vec<String>) -> Vec<Repository> {
    let (mut known, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names {
        match name.parse() {
            Ok(repository) => known.push(repository),
            Err(_) => unknown.push(name),
        }
    }
    if let Some(first) = unknown.first() {
        let error = format!("the storage holds names that no repository can have, such as {first:?}");
        section.say(format_args!("{}: {error}: they are not listed", section.host()));
        section.lack_names(error);
    }
    known
}

/// Sorts repositories as a registry that walks its storage lists them: folder by folder, the folders of a repository itself among those of the
/// repositories below it.
fn in_walk_order(mut names: Vec<Repository>) -> Vec<Repository> {
    fn steps(name: &Repository) -> impl Iterator<Item = &str> {
        name.as_str().split('/').chain(std::iter::once(layout::LAYERS))
    }
    names.sort_by(|one, other| steps(one).cmp(steps(other)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_come_as_a_walk_meets_them() {
        let names = ["a-b", "a", "a/b", "zz", "zz/1", "a.b", "a/b/c"].map(|name| name.parse().unwrap()).to_vec();
        let sorted = in_walk_order(names).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a-b", "a.b", "zz/1", "zz"]);
    }
}

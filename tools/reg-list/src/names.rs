//! Which repositories a section lists, in which order: those of the catalog, page by page while others are being read already, or those that were named.

use std::cell::RefCell;
use std::rc::Rc;

use common::cli::operand::Part;
use common::pattern::RepositoryFilter;
use common::reference::Repository;
use common::registry::{self, Registry};
use tokio::sync::mpsc;

/// How many names are taken from the catalog before they are needed.
const AHEAD: usize = 64;

/// What comes of looking for names.
#[derive(Debug)]
pub(crate) enum Name {
    /// A repository to be listed.
    Repository(Repository),
    /// The registry shows no catalog; what follows are the prefixes, taken for the names of repositories.
    NoCatalog(registry::Error),
    /// The registry's list holds names that no repository can have.
    Unlistable(Vec<String>),
    /// Names that the registry's list may have left out, and of which it does not say whether they are repositories.
    Withheld(Vec<(Repository, registry::Error)>),
    /// The catalog broke off: nothing comes after this.
    BrokeOff(registry::Error),
}

/// Looks for names, in a task of its own that ends when nobody listens.
pub(crate) fn look(
    registry: Registry,
    part: &Part,
    filter: Rc<RepositoryFilter>,
    unmatched: Rc<RefCell<Vec<Repository>>>,
) -> mpsc::Receiver<Name> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    match part.clone() {
        Part::Named(repositories) => tokio::task::spawn_local(async move { send_selected(&sender, &filter, repositories).await }),
        Part::All => tokio::task::spawn_local(from_catalog(registry, Vec::new(), filter, unmatched, sender)),
        Part::Below(prefixes) => tokio::task::spawn_local(from_catalog(registry, prefixes, filter, unmatched, sender)),
    };
    receiver
}

/// Sends those of the repositories that are meant; stops when nobody listens.
async fn send_selected(sender: &mpsc::Sender<Name>, filter: &RepositoryFilter, repositories: Vec<Repository>) {
    for repository in repositories {
        if filter.selects(repository.as_str()) && sender.send(Name::Repository(repository)).await.is_err() {
            return;
        }
    }
}

/// Sends the catalog's names at or below the prefixes, and leaves in `unmatched` the prefixes below which there were none.
async fn from_catalog(
    registry: Registry,
    prefixes: Vec<Repository>,
    filter: Rc<RepositoryFilter>,
    unmatched: Rc<RefCell<Vec<Repository>>>,
    sender: mpsc::Sender<Name>,
) {
    let mut catalog = registry.catalog();
    let mut is_first = true;
    unmatched.borrow_mut().clone_from(&prefixes);
    while let Some(page) = catalog.next().await {
        let names = match page {
            Ok(names) => names,
            Err(error) => {
                let has_none = is_first && error.is_no_catalog() && !prefixes.is_empty();
                unmatched.borrow_mut().clear();
                if !has_none {
                    // Nobody listens any more where this fails, and then nobody wants to know.
                    let _ = sender.send(Name::BrokeOff(error)).await;
                } else if sender.send(Name::NoCatalog(error)).await.is_ok() {
                    send_selected(&sender, &filter, prefixes).await;
                }
                return;
            }
        };
        is_first = false;
        let mut selected = names;
        selected.retain(|name| prefixes.is_empty() || prefixes.iter().any(|prefix| name.is_within(prefix.as_str())));
        unmatched.borrow_mut().retain(|prefix| !selected.iter().any(|name| name.is_within(prefix.as_str())));
        send_selected(&sender, &filter, selected).await;
        if sender.is_closed() {
            return;
        }
    }
    let withheld = catalog.withheld().iter().filter(|(name, _)| {
        filter.selects(name.as_str()) && (prefixes.is_empty() || prefixes.iter().any(|prefix| name.is_within(prefix.as_str())))
    });
    let withheld: Vec<_> = withheld.cloned().collect();
    if !withheld.is_empty() {
        let _ = sender.send(Name::Withheld(withheld)).await;
    }
    if !catalog.dropped().is_empty() {
        let _ = sender.send(Name::Unlistable(catalog.dropped().to_vec())).await;
    }
}

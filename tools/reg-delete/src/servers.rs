//! The registries of a run, and whether they delete at all.

use std::cell::Cell;
use std::collections::HashMap;

use anyhow::Context as _;
use common::reference::Host;
use common::registry::write::{self, Enabled};
use common::registry::{Registry, Settings};

use crate::work::{Place, Work};

/// A registry, and what was learnt about it.
pub(crate) struct Server {
    pub(crate) registry: Registry,
    /// It said that it cannot delete a tag alone.
    pub(crate) no_untag: Cell<bool>,
}

/// Opens the registries that are to be asked.
pub(crate) fn open<'a>(places: impl Iterator<Item = &'a Place>, settings: &Settings) -> anyhow::Result<HashMap<Host, Server>> {
    let mut servers = HashMap::new();
    for place in places {
        if !servers.contains_key(&place.host) {
            let registry = Registry::open(&place.host, settings)?;
            servers.insert(place.host.clone(), Server { registry, no_untag: Cell::new(false) });
        }
    }
    Ok(servers)
}

/// Finds out whether a registry deletes at all, before the first deletion anywhere.
pub(crate) async fn deletion_is_enabled(registry: &Registry, works: &[Work]) -> anyhow::Result<()> {
    let host = registry.host();
    let Some(work) = works.iter().find(|work| work.place.host == *host) else { return Ok(()) };
    match write::deletion_enabled(registry, &work.place.repository).await {
        Ok(Enabled::Enabled) => Ok(()),
        // A registry that forgets a repository with its last manifest: nothing is known, and the deletions will tell.
        Err(error) if error.is_name_unknown() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("asking {host} whether it deletes; nothing was deleted")),
        Ok(Enabled::Disabled) => anyhow::bail!(
            "{host} answers 405 to deletions, so nothing was deleted: deletion is switched off there, or it is read-only, or a cache of another \
             registry; to switch it on, add to its configuration\n\nstorage:\n  delete:\n    enabled: true\n\nor set \
             REGISTRY_STORAGE_DELETE_ENABLED=true for it, and restart it"
        ),
    }
}

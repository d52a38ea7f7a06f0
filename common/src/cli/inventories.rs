//! Reads the files that `--in-use`, `--also-in-use` and `--keep-list` name.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::{InventoryFlags, NameFlags, Refused};
use crate::inventory::{Alias, Distrust, Inventory, KeepList, Names, Role, Rules};
use crate::jsonl;

impl NameFlags {
    /// The aliases of the command line and those of `REG_ALIAS`. (clap's own `env` would drop the latter where there is one of the
    /// former.)
    ///
    /// # Errors
    /// A word of `REG_ALIAS` that is no alias.
    pub fn aliases(&self) -> anyhow::Result<Vec<Alias>> {
        let variable = std::env::var("REG_ALIAS").unwrap_or_default();
        let words = variable.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty());
        let of_variable = words.map(str::parse).collect::<Result<Vec<Alias>, _>>().context("the variable REG_ALIAS")?;
        Ok(self.alias.iter().cloned().chain(of_variable).collect())
    }

    /// What the flags and `REG_ALIAS` say of names.
    ///
    /// # Errors
    /// A word of `REG_ALIAS` that is no alias; aliases that lead round in a circle.
    pub fn names(&self) -> anyhow::Result<Names> {
        Ok(Names::new(&self.aliases()?, &self.not_alias)?)
    }
}

impl InventoryFlags {
    /// Reads the inventories and judges them; `None` where none was given and `--without-in-use` says that none is wanted.
    ///
    /// # Errors
    /// A file that cannot be read or holds what is no record; [`Refused`] where an inventory is cut or not trusted.
    pub fn read(&self, names: Names, now: DateTime<Utc>) -> anyhow::Result<Inventory> {
        let mut inventory = Inventory::new(names);
        for (role, path) in
            self.in_use.iter().map(|path| (Role::InUse, path)).chain(self.also_in_use.iter().map(|path| (Role::AlsoInUse, path)))
        {
            read(&mut inventory, role, path).map_err(with_way_out).map_err(refuse_what_is_cut)?;
        }
        if self.in_use.is_empty() {
            if !self.without_in_use {
                return Err(anyhow::Error::new(Refused(Distrust::None.to_string())));
            }
            inventory.judge_whole().map_err(|distrust| Refused(distrust.to_string()))?;
        } else {
            inventory.judge(&self.rules(), now).map_err(|distrust| Refused(distrust.to_string()))?;
        }
        Ok(inventory)
    }

    fn rules(&self) -> Rules {
        Rules {
            allow_incomplete: self.allow_incomplete.clone(),
            allow_partial: self.allow_partial,
            require_source: self.require_source.clone(),
            max_age: self.max_age,
            min_in_use: self.min_in_use,
        }
    }
}

/// Reads inventories that only say who uses what: whether they are old, small or narrowed is not asked; what is cut is refused all the same.
///
/// # Errors
/// A file that cannot be read or holds what is no record; [`Refused`] where an inventory is cut.
pub fn read_to_annotate(inventory: &mut Inventory, paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        read(inventory, Role::InUse, path).map_err(with_way_out).map_err(refuse_what_is_cut)?;
    }
    Ok(inventory.judge_whole().map_err(|distrust| Refused(distrust.to_string()))?)
}

fn read(inventory: &mut Inventory, role: Role, path: &Path) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("opening the inventory {name}"))?;
    let mut reader = jsonl::Reader::new(name.clone(), BufReader::with_capacity(1 << 18, file));
    inventory.begin(role, &name);
    while let Some(line) = reader.next_line()? {
        inventory.line(&line)?;
    }
    inventory.end()?;
    Ok(())
}

/// What is cut has no way out but to be taken again.
fn with_way_out(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<jsonl::Error>() {
        Ok(jsonl::Error { name, line, problem: jsonl::Problem::Section(text) }) => {
            let problem = jsonl::Problem::Section(format!("{text}; take the inventory again"));
            jsonl::Error { name, line, problem }.into()
        }
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// A stream that is cut or taken apart is a refusal (3), one that holds rubbish is bad input (2).
pub fn refuse_what_is_cut(error: anyhow::Error) -> anyhow::Error {
    let is_cut = error.downcast_ref::<jsonl::Error>().is_some_and(|error| error.problem.is_section());
    if is_cut { anyhow::Error::new(Refused(format!("{error:#}"))) } else { error }
}

/// Reads keep lists.
///
/// # Errors
/// A file that cannot be read, a line that is no reference.
pub fn read_keep_lists(paths: &[PathBuf]) -> anyhow::Result<KeepList> {
    let mut list = KeepList::default();
    for path in paths {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading the keep list {}", path.display()))?;
        list.add(&text).with_context(|| format!("keep list {}", path.display()))?;
    }
    Ok(list)
}

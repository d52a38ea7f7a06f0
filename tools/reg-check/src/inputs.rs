//! Standard input: uses and listings, told apart by the type of their records, in one stream or several behind each other.

use std::collections::HashSet;
use std::io::BufRead;

use common::cli::operand::{Operand, Scheme};
use common::cli::{Context, Refused, refuse_what_is_cut};
use common::inventory::{Distrust, Inventory, Role, Section};
use common::jsonl::{Line, Place, Problem, Reader, Sections};
use common::record::{Header, Kind, Manifest, Repository as RepositoryRecord, Scope, Tag as TagRecord, Trailer, Use};
use common::reference::{Host, InvalidName, Repository};

use crate::wish::{self, NamedBy, Registered, Wish};

/// What standard input asks for.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// In the order in which registries were named first.
    pub(crate) registries: Vec<Registered>,
    /// Whether there was an inventory in it, so that it is known who uses what.
    pub(crate) has_uses: bool,
    /// Images that `--only` leaves out.
    pub(crate) not_asked: u64,
    /// Registries that a listing did not read whole, so that it is not known what else there is, and why.
    pub(crate) unlisted: Vec<(Option<Host>, String)>,
    /// That not all uses came, where only these are looked at.
    pub(crate) narrowed: Option<String>,
}

/// Reads standard input to its end; uses are added to `inventory` too.
///
/// # Errors
/// What is no stream of records; a stream that was cut or taken apart is a refusal.
pub(crate) fn read(context: &Context, input: impl BufRead, only: &[Operand], inventory: &mut Inventory) -> anyhow::Result<Input> {
    let mut reading = Reading::new(only, inventory);
    reading.all(input).map_err(refuse_what_is_cut)?;
    let Reading { mut input, left_out, incomplete, .. } = reading;
    for name in incomplete.iter().take(MOST_SAID) {
        context.say(format_args!("{name}: the listing did not read it whole, so its tags are asked for anew"));
    }
    if incomplete.len() > MOST_SAID {
        context.say(format_args!("and {} more repositories that were not listed whole", incomplete.len() - MOST_SAID));
    }
    for (host, text) in &input.unlisted {
        context.say(format_args!("{}: {text}", host.as_ref().map_or("standard input", Host::as_str)));
    }
    if let Some(narrowed) = &input.narrowed {
        context.say(format_args!("{narrowed}; what the others name is not looked at, and by them nothing is in use"));
    }
    input.not_asked = left_out.len() as u64;
    Ok(input)
}

/// How many repositories are named that were not listed whole.
const MOST_SAID: usize = 10;

struct Reading<'a> {
    only: &'a [Operand],
    inventory: &'a mut Inventory,
    input: Input,
    left_out: HashSet<String>,
    incomplete: Vec<String>,
    /// Repositories of this section that were not listed whole.
    came_incomplete: u64,
    /// Uses of this section.
    uses: u64,
    /// Why not all uses came, where jq chose some of them.
    thinned: Option<Distrust>,
    /// Whether there is a listing too.
    has_listing: bool,
}

impl<'a> Reading<'a> {
    fn new(only: &'a [Operand], inventory: &'a mut Inventory) -> Self {
        Self {
            only,
            inventory,
            input: Input::default(),
            left_out: HashSet::new(),
            incomplete: Vec::new(),
            came_incomplete: 0,
            uses: 0,
            thinned: None,
            has_listing: false,
        }
    }

    fn all(&mut self, input: impl BufRead) -> anyhow::Result<()> {
        let mut reader = Reader::new("standard input", input);
        let mut sections = Sections::default();
        let mut header: Option<Box<Header>> = None;
        while let Some(line) = reader.next_line()? {
            match sections.place(&line)? {
                Place::Header(begun) => {
                    (self.came_incomplete, self.uses) = (0, 0);
                    self.input.has_uses |= begun.scope.as_ref().is_some_and(|scope| scope.sources.is_some());
                    header = Some(begun);
                }
                Place::Within(kind) => self.record(&line, &kind)?,
                Place::Trailer(trailer) => {
                    let Some(header) = header.take() else { continue };
                    let scope = header.scope.clone().unwrap_or_default();
                    if scope.sources.is_some() {
                        let section = Section { file: "standard input".to_owned(), header: *header, trailer, uses: self.uses };
                        if let Err(distrust) = self.inventory.add_section(Role::InUse, section) {
                            self.thinned.get_or_insert(distrust);
                        }
                    } else if !trailer.complete {
                        self.unlisted(&scope, &trailer).map_err(|error| line.error(Problem::Json(error.to_string())))?;
                    }
                }
            }
        }
        sections.finish("standard input")?;
        match self.thinned.take() {
            // Of what else is looked at it would not be known who uses it.
            Some(distrust) if self.has_listing => Err(Refused(distrust.to_string()).into()),
            Some(distrust) => {
                self.input.narrowed = Some(distrust.to_string());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes that a listing is not whole, where that is not said by its repositories, each of which is looked at whole.
    fn unlisted(&mut self, scope: &Scope, trailer: &Trailer) -> Result<(), InvalidName> {
        let said = |key: &str| trailer.totals.get(key).filter(|value| !value.is_null());
        let why = said("error").and_then(|error| error.as_str());
        let counted = said("incompleteRepositories").and_then(|count| count.as_u64());
        if why.is_none() && counted.is_some_and(|counted| counted > 0 && counted == self.came_incomplete) {
            return Ok(());
        }
        let host: Option<Host> = scope.registry.as_deref().map(str::parse).transpose()?;
        if host.as_ref().is_some_and(|host| !self.only.is_empty() && !self.only.iter().any(|only| only.host == *host)) {
            return Ok(());
        }
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let text = format!("the listing says that it is not complete, and what it does not name was not looked at{why}");
        self.input.unlisted.push((host, text));
        Ok(())
    }

    fn record(&mut self, line: &Line<'_>, kind: &Kind) -> anyhow::Result<()> {
        let wrong = |error: InvalidName| line.error(Problem::Json(error.to_string()));
        match kind {
            Kind::Use => {
                let record: Use = line.parse()?;
                self.inventory.add_use(line, Role::InUse)?;
                self.uses += 1;
                self.input.has_uses = true;
                let image = record.digest.as_ref().map(ToString::to_string).or_else(|| record.tag.clone());
                // An alias may be a name that only the cluster knows.
                let host: Host = record.registry.parse().map_err(wrong)?;
                let (host, repository) = self.inventory.names().canonical(&host, &record.repository);
                // An alias of a whole path for a host alone leaves no name to ask for.
                let (host, repository) = if repository.is_empty() {
                    (record.registry.parse().map_err(wrong)?, record.repository.clone())
                } else {
                    (host, repository)
                };
                let Some(wish) = self.wish(host.as_str(), &repository, image.as_slice()).map_err(wrong)? else { return Ok(()) };
                wish.add_use(&record).map_err(wrong)?;
            }
            Kind::Manifest => {
                self.has_listing = true;
                let record: Manifest = line.parse()?;
                let digest = [record.digest.to_string()];
                let names = if wish::is_image(&record) && record.tags.is_empty() { &digest[..] } else { &record.tags };
                let Some(wish) = self.wish(&record.registry, &record.repository, names).map_err(wrong)? else { return Ok(()) };
                wish.add_manifest(&record).map_err(wrong)?;
            }
            Kind::Tag => {
                let record: TagRecord = line.parse()?;
                let names = std::slice::from_ref(&record.tag);
                let Some(wish) = self.wish(&record.registry, &record.repository, names).map_err(wrong)? else { return Ok(()) };
                wish.add_tag(record.tag.parse().map_err(wrong)?);
            }
            Kind::Repository => {
                let record: RepositoryRecord = line.parse()?;
                if !record.complete {
                    self.came_incomplete += 1;
                    let Some(wish) = self.wish(&record.registry, &record.repository, &[]).map_err(wrong)? else { return Ok(()) };
                    // What could not be listed is what people are sent here for.
                    wish.add_whole(NamedBy::Listing);
                    let error = record.error.map(|error| format!(" ({error})")).unwrap_or_default();
                    self.incomplete.push(format!("{}/{}{error}", record.registry, record.repository));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The place of a repository, unless it is left out; `names` are those of its images that the record names.
    fn wish(&mut self, registry: &str, repository: &str, names: &[String]) -> Result<Option<&mut Wish>, InvalidName> {
        let (host, repository): (Host, Repository) = (registry.parse()?, repository.parse()?);
        if !is_asked(self.only, &host, &repository) {
            self.left_out.extend(names.iter().map(|name| format!("{host}/{repository} {name}")));
            return Ok(None);
        }
        let scheme = self.only.iter().filter(|only| only.host == host).map(|only| only.scheme).max().unwrap_or(Scheme::Unsaid);
        Ok(Some(wish::entry(&mut self.input.registries, &host, scheme).repositories.entry(repository).or_default()))
    }
}

fn is_asked(only: &[Operand], host: &Host, repository: &Repository) -> bool {
    let within = |only: &Operand| only.prefix.as_ref().is_none_or(|prefix| repository.is_within(prefix.as_str()));
    only.is_empty() || only.iter().any(|only| only.host == *host && within(only))
}

#[cfg(test)]
mod tests {
    use common::inventory::Names;

    use super::*;

    #[test]
    fn only_a_part_is_asked_for() {
        let only = [Operand::parse("a.local/team").unwrap(), Operand::parse("b.local").unwrap()];
        for (host, repository, expected) in
            [("a.local", "team/app", true), ("a.local", "teamwork", false), ("b.local", "x", true), ("c.local", "team", false)]
        {
            assert_eq!(is_asked(&only, &host.parse().unwrap(), &repository.parse().unwrap()), expected, "{host}/{repository}");
        }
        assert!(is_asked(&[], &"x".parse().unwrap(), &"y".parse().unwrap()));
    }

    fn reading<'a>(inventory: &'a mut Inventory, only: &'a [Operand], text: &str) -> anyhow::Result<Input> {
        let mut reading = Reading::new(only, inventory);
        reading.all(text.as_bytes()).map_err(refuse_what_is_cut)?;
        reading.input.not_asked = reading.left_out.len() as u64;
        Ok(reading.input)
    }

    const HEADER: &str = r#"{"type":"header","tool":"t","version":"1","schema":1,"time":"2026-11-20T12:00:00Z"}"#;
    const TRAILER: &str = r#"{"type":"trailer","complete":true,"records":0}"#;

    #[test]
    fn uses_and_listings_may_stand_in_one_stream() {
        let text = format!(
            r#"{HEADER}
{{"type":"use","image":"x","registry":"b.local","repository":"a","tag":"1"}}
{{"type":"use","image":"x","registry":"docker.io","repository":"library/nginx","tag":"1"}}
{{"type":"use","image":"x","registry":"docker.io","repository":"library/nginx","tag":"1"}}
{TRAILER}
{HEADER}
{{"type":"manifest","registry":"a.local","repository":"c","digest":"sha256:{}","tags":["1","2"]}}
{{"type":"tag","registry":"a.local","repository":"c","tag":"3","error":"MANIFEST_UNKNOWN"}}
{{"type":"comet"}}
{TRAILER}
"#,
            "a".repeat(64)
        );
        let mut inventory = Inventory::new(Names::default());
        let only = [Operand::parse("a.local").unwrap(), Operand::parse("b.local").unwrap()];
        let input = reading(&mut inventory, &only, &text).unwrap();
        let hosts: Vec<&str> = input.registries.iter().map(|registered| registered.host.as_str()).collect();
        assert_eq!((hosts, input.not_asked, input.has_uses, inventory.len()), (vec!["b.local", "a.local"], 1, true, 3));
        let listed = input.registries[1].repositories.values().next().unwrap();
        assert_eq!((listed.tags.len(), listed.digests.len()), (3, 1));
    }

    #[test]
    fn what_is_cut_is_refused() {
        for text in [String::new(), HEADER.to_owned(), format!("{HEADER}\n{{\"type\":\"use\""), TRAILER.to_owned()] {
            let error = reading(&mut Inventory::new(Names::default()), &[], &text).unwrap_err();
            assert!(error.is::<common::cli::Refused>(), "{text}: {error:#}");
        }
        let wrong = format!("{HEADER}\n{{\"type\":\"use\",\"image\":\"x\",\"registry\":\"r\",\"repository\":\"../a\"}}\n{TRAILER}");
        let error = reading(&mut Inventory::new(Names::default()), &[], &wrong).unwrap_err();
        assert!(format!("{error:#}").contains("line 2"), "{error:#}");
    }
}

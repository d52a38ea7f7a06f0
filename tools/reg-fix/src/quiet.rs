//! Whether anything may be taken away or replaced now.

use common::beside::probe::{self, Probes, Standing};
use common::beside::source::Source;

use crate::arguments::Args;

/// Why nothing may be taken away; `None` where it may.
///
/// # Errors
/// A probe that cannot be made.
pub(crate) fn objection(args: &Args, source: &Source) -> anyhow::Result<Option<String>> {
    if args.online {
        return Ok(None);
    }
    let reaching = &args.reaching;
    let probes = Probes::beside(source, &args.probe, args.probe_user(), &reaching.auth_host, reaching.ca_file.as_deref())?;
    Ok(match probe::judge(&probes.ask(), args.stopped) {
        Standing::ReadOnly | Standing::Stopped => None,
        Standing::Writable { url } => Some(format!(
            "the registry at {url} can be written to, and a push that relies on what is taken away would be broken: switch it to read-only, or let it go on serving with --online"
        )),
        Standing::Unproven { why } => Some(format!("{why}; or let it go on serving with --online")),
    })
}

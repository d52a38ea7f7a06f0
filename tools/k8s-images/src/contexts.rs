//! Which contexts of a kubeconfig are meant.
//!
//! All of them, or those that `--context` names, without those that `--skip-context` names. A name is no path: the name of a context may be
//! `arn:aws:eks:eu-west-1:1:cluster/prod`, and a `*` crosses all of it. Pure.

use std::collections::BTreeSet;

use common::inventory::word;
use common::pattern::Glob;

/// The contexts that are meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Their names, in the order of the kubeconfig.
    pub(crate) names: Vec<String>,
    /// What `--skip-context` names and is not there.
    pub(crate) idle: Vec<String>,
}

/// Chooses among the names of a kubeconfig.
pub(crate) fn choose(names: &[&str], wanted: &[String], skipped: &[String]) -> Result<Chosen, String> {
    let mut chosen = BTreeSet::new();
    for pattern in wanted {
        let matching = matching(names, pattern).map_err(|cause| format!("--context {cause}"))?;
        if matching.is_empty() {
            return Err(format!("--context {} matches no context; there {}", word(pattern), there_are(names)));
        }
        chosen.extend(matching);
    }
    if wanted.is_empty() {
        chosen.extend(names);
    }
    let mut idle = Vec::new();
    for pattern in skipped {
        let matching = matching(names, pattern).map_err(|cause| format!("--skip-context {cause}"))?;
        if matching.is_empty() {
            idle.push(pattern.clone());
        }
        chosen.retain(|name| !matching.contains(name));
    }
    if chosen.is_empty() && !names.is_empty() {
        return Err(format!("--skip-context leaves no context to read; there {}", there_are(names)));
    }
    // A kubeconfig names no context twice.
    let names = names.iter().filter(|name| chosen.contains(*name)).map(|name| (*name).to_owned()).collect();
    Ok(Chosen { names, idle })
}

/// The flag that names just this one.
pub(crate) fn flag(name: &str) -> String {
    // What begins with a hyphen would be taken for a flag.
    format!("--context{}{}", if name.starts_with('-') { "=" } else { " " }, word(name))
}

/// Whoever is named whole is meant, whatever the name looks like, and nobody else.
fn matching<'a>(names: &[&'a str], pattern: &str) -> Result<Vec<&'a str>, String> {
    if let Some(name) = names.iter().find(|name| **name == pattern) {
        return Ok(vec![*name]);
    }
    let glob = Glob::over_names(pattern).map_err(|error| error.to_string())?;
    Ok(names.iter().copied().filter(|name| glob.matches(name)).collect())
}

fn there_are(names: &[&str]) -> String {
    match names {
        [] => "is none".to_owned(),
        [name] => format!("is {}", word(name)),
        names => format!("are {}", names.iter().map(|name| word(name)).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] = ["prod", "stage", "kind-prod", "arn:aws:eks:eu-west-1:1:cluster/prod", "kubernetes-admin@kubernetes", "a[b]*"];

    fn chosen(wanted: &[&str], skipped: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        choose(&NAMES, &owned(wanted), &owned(skipped)).map(|chosen| (chosen.names, chosen.idle))
    }

    #[test]
    fn names_and_globs_choose() {
        for (wanted, skipped, expected) in [
            (&[][..], &[][..], &NAMES[..]),
            (&["stage", "prod"], &[], &["prod", "stage"]),
            (&["prod", "prod", "p*"], &[], &["prod"]),
            (&["*prod"], &[], &["prod", "kind-prod", "arn:aws:eks:eu-west-1:1:cluster/prod"]),
            (&["arn:*"], &[], &["arn:aws:eks:eu-west-1:1:cluster/prod"]),
            (&["*/prod"], &[], &["arn:aws:eks:eu-west-1:1:cluster/prod"]),
            (&["*@kubernetes"], &[], &["kubernetes-admin@kubernetes"]),
            (&["a[b]*"], &[], &["a[b]*"]),
            (&["{prod,stage}"], &[], &["prod", "stage"]),
            (&["*"], &["*prod*", "a*"], &["stage", "kubernetes-admin@kubernetes"]),
            (&[], &["*[!e]"], &["stage"]),
        ] {
            let (names, idle) = chosen(wanted, skipped).unwrap();
            assert_eq!((names, idle), (expected.iter().map(|name| (*name).to_owned()).collect(), vec![]), "{wanted:?} {skipped:?}");
        }
    }

    #[test]
    fn what_matches_nothing_is_told() {
        let error = chosen(&["prod", "tset"], &[]).unwrap_err();
        assert_eq!(
            error,
            "--context tset matches no context; there are prod, stage, kind-prod, arn:aws:eks:eu-west-1:1:cluster/prod, \
             kubernetes-admin@kubernetes, 'a[b]*'"
        );
        assert!(chosen(&["["], &[]).unwrap_err().starts_with("--context \"[\" is no glob"));
        assert!(chosen(&[], &["*"]).unwrap_err().starts_with("--skip-context leaves no context to read; there are prod"));
        assert!(chosen(&["prod"], &["p*"]).is_err());
        assert_eq!(chosen(&["prod"], &["old-*", "stage"]).unwrap(), (vec!["prod".into()], vec!["old-*".into()]));
    }

    #[test]
    fn flags_can_be_given_to_a_shell() {
        for (name, expected) in
            [("prod", "--context prod"), ("it's", r"--context 'it'\''s'"), ("a[b]*", "--context 'a[b]*'"), ("-x", "--context=-x")]
        {
            assert_eq!(flag(name), expected);
        }
    }
}

//! Variables in the values of a Compose file: `$VAR`, `${VAR:-default}` and their like.
//!
//! Owns what is known of variables, and how a text that names them is filled in. Where values come from is decided in
//! [`crate::compose`] and [`super::dotenv`]. Pure.
//!
//! Rules: Compose Specification, "Interpolation". One thing is stricter here: where Compose puts nothing in the place of a variable
//! that is not set, and warns, the text is not filled in, because it would name another image.

use std::collections::BTreeMap;
use std::fmt;

/// How deep defaults may stand within defaults.
const DEEPEST: usize = 50;

/// What is known of variables. A value that could not be made out is a reason to stop only for who asks for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, Result<String, Fault>>);

impl Variables {
    /// Those of an environment; a name or a value that is no UTF-8 cannot be written in a file either.
    pub(crate) fn of(environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Self {
        let texts = environment.filter_map(|(name, value)| Some((name.into_string().ok()?, Ok(value.into_string().ok()?))));
        Self(texts.collect())
    }

    /// The value of one, where it is set and could be made out.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().ok()
    }

    /// Sets one, whatever it was before.
    pub(crate) fn set(&mut self, name: &str, value: Result<String, Fault>) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes those of another set that are not set here.
    pub(crate) fn add(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// The value of the first set, or of the second where the first lacks it.
    fn either<'a>(&'a self, second: &'a Self, name: &str) -> Option<&'a Result<String, Fault>> {
        self.0.get(name).or_else(|| second.0.get(name))
    }

    /// Fills in a text.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) fn fill_in(&self, text: &str) -> Result<String, Fault> {
        self.fill_in_with(&Self::default(), text)
    }

    /// Fills in a text from these variables, and from a second set where these lack one.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) fn fill_in_with(&self, second: &Self, text: &str) -> Result<String, Fault> {
        filled(text, &|name| self.either(second, name), 0)
    }
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A variable is not set and has no default.
    Unset(String),
    /// A variable is not set, or is empty, and the file says that it must not be.
    Required {
        /// The variable.
        name: String,
        /// What the file says for this case.
        message: String,
    },
    /// What follows a `$` is no variable.
    Invalid(String),
    /// The value of a variable could not be made out itself.
    Within(String, Box<Fault>),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(name) => write!(
                formatter,
                "the variable {name} is not set, and Compose would leave its place empty: set it in the environment or in .env, or pipe what Compose makes of the file (docker compose --profile '*' config | k8s-images --from compose -)"
            ),
            Self::Required { name, message } if message.is_empty() => write!(formatter, "the variable {name} must be set"),
            Self::Required { name, message } => write!(formatter, "the variable {name} must be set: {message}"),
            Self::Invalid(part) => {
                write!(formatter, "{part:?} is no variable, such as $TAG or ${{TAG:-1.2}}; a dollar sign itself is written $$")
            }
            Self::Within(name, fault) => write!(formatter, "the value of {name} cannot be made out: {fault}"),
        }
    }
}

type Lookup<'a> = dyn Fn(&str) -> Option<&'a Result<String, Fault>> + 'a;

fn filled(text: &str, lookup: &Lookup<'_>, depth: usize) -> Result<String, Fault> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        made.push_str(before);
        let invalid = || Fault::Invalid(format!("${}", after.chars().take(40).collect::<String>()));
        if let Some(after) = after.strip_prefix('$') {
            made.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let end = closing_brace(after).filter(|_| depth < DEEPEST).ok_or_else(invalid)?;
            let (inside, after) = after.split_at(end);
            made.push_str(&substituted(inside, lookup, depth)?);
            rest = after.strip_prefix('}').unwrap_or(after);
        } else {
            let (name, after) = after.split_at(length_of_name(after));
            if name.is_empty() {
                return Err(invalid());
            }
            made.push_str(&value(name, lookup)?.ok_or_else(|| Fault::Unset(name.to_owned()))?);
            rest = after;
        }
    }
    made.push_str(rest);
    Ok(made)
}

/// What stands for the inside of a `${…}`.
fn substituted(inside: &str, lookup: &Lookup<'_>, depth: usize) -> Result<String, Fault> {
    let (name, rest) = inside.split_at(length_of_name(inside));
    let invalid = || Fault::Invalid(format!("${{{inside}}}"));
    if name.is_empty() {
        return Err(invalid());
    }
    let value = value(name, lookup)?;
    if rest.is_empty() {
        return value.ok_or_else(|| Fault::Unset(name.to_owned()));
    }
    // With a colon an empty value is as good as none.
    let (value, rest) = match rest.strip_prefix(':') {
        Some(rest) => (value.filter(|value| !value.is_empty()), rest),
        None => (value, rest),
    };
    let mut signs = rest.chars();
    let sign = signs.next();
    let argument = || filled(signs.as_str(), lookup, depth + 1);
    match (sign, value) {
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => argument(),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(Fault::Required { name: name.to_owned(), message: argument()? }),
        _ => Err(invalid()),
    }
}

fn value(name: &str, lookup: &Lookup<'_>) -> Result<Option<String>, Fault> {
    match lookup(name) {
        Some(Ok(value)) => Ok(Some(value.clone())),
        Some(Err(fault)) => Err(Fault::Within(name.to_owned(), Box::new(fault.clone()))),
        None => Ok(None),
    }
}

/// How long the name is with which a text begins.
fn length_of_name(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    text.find(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_')).unwrap_or(text.len())
}

/// Where the brace ends that was opened before the text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut dollar = false;
    for (at, sign) in text.char_indices() {
        match sign {
            '{' if dollar => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        dollar = sign == '$';
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        for (name, value) in [("TAG", "1.2"), ("REGISTRY", "r.io:5000"), ("EMPTY", ""), ("_x9", "u")] {
            variables.set(name, Ok(value.to_owned()));
        }
        variables.set("BAD", Err(Fault::Unset("INNER".to_owned())));
        variables
    }

    #[test]
    fn texts_are_filled_in() {
        for (text, expected) in [
            ("app:1", "app:1"),
            ("app:$TAG", "app:1.2"),
            ("$REGISTRY/app:${TAG}-alpine", "r.io:5000/app:1.2-alpine"),
            ("app:$_x9.y", "app:u.y"),
            ("app:${NONE:-3}", "app:3"),
            ("app:${NONE-3}", "app:3"),
            ("app:${EMPTY:-3}", "app:3"),
            ("app${EMPTY-3}", "app"),
            ("app$EMPTY", "app"),
            ("app:${TAG:-3}", "app:1.2"),
            ("app:${TAG:?not set}", "app:1.2"),
            ("app${EMPTY?not set}", "app"),
            ("app${TAG:+:$TAG}", "app:1.2"),
            ("app${EMPTY:+:x}", "app"),
            ("app${EMPTY+:x}", "app:x"),
            ("app${NONE+:x}", "app"),
            ("${NONE:-${REGISTRY:-x}/app:${OTHER-${TAG}}}", "r.io:5000/app:1.2"),
            ("${NONE:-a}}", "a}"),
            ("${NONE:-}app", "app"),
            ("${TAG:-${NONE}}", "1.2"),
            ("a$$TAG$$", "a$TAG$"),
            ("${NONE:-a$$b}", "a$b"),
            ("${NONE:-ü}ü", "üü"),
        ] {
            assert_eq!(variables().fill_in(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_said() {
        for (text, expected) in [
            ("app:$NONE", Fault::Unset("NONE".to_owned())),
            ("app:${NONE}", Fault::Unset("NONE".to_owned())),
            ("app:${NONE:-$OTHER}", Fault::Unset("OTHER".to_owned())),
            ("app:${NONE:?say $TAG}", Fault::Required { name: "NONE".to_owned(), message: "say 1.2".to_owned() }),
            ("app:${EMPTY:?}", Fault::Required { name: "EMPTY".to_owned(), message: String::new() }),
            ("app:${NONE?}", Fault::Required { name: "NONE".to_owned(), message: String::new() }),
            ("app:$1", Fault::Invalid("$1".to_owned())),
            ("app:$", Fault::Invalid("$".to_owned())),
            ("app:${}", Fault::Invalid("${}".to_owned())),
            ("app:${TAG", Fault::Invalid("${TAG".to_owned())),
            ("app:${TAG:x}", Fault::Invalid("${TAG:x}".to_owned())),
            ("app:${TAG x}", Fault::Invalid("${TAG x}".to_owned())),
            ("app:$BAD", Fault::Within("BAD".to_owned(), Box::new(Fault::Unset("INNER".to_owned())))),
        ] {
            assert_eq!(variables().fill_in(text), Err(expected), "{text}");
        }
        let nested = format!("{}1{}", "${NONE:-".repeat(10_000), "}".repeat(10_000));
        assert!(matches!(variables().fill_in(&nested), Err(Fault::Invalid(_))));
    }
}

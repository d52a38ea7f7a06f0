//! Where passwords come from: standard input, a variable, or a file that a variable names; never an argument, because arguments are
//! for everybody on the machine to see.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::secret::Secret;

/// The password in the variable `name`, else the first line of the file that `name_FILE` names; `None` where neither is set.
///
/// # Errors
/// A password that cannot be read, in a sentence that names the variable.
pub fn password_of_environment(name: &str) -> anyhow::Result<Option<Secret>> {
    from_variables(name, |name| std::env::var_os(name))
}

pub(super) fn from_variables(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Option<Secret>> {
    // A variable that is set to nothing is how pipelines say that they have none.
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(password) = variable(name) {
        return match password.into_string() {
            Ok(password) => Ok(Some(Secret::new(password))),
            Err(_) => anyhow::bail!("{name} is not UTF-8"),
        };
    }
    let name = format!("{name}_FILE");
    let Some(path) = variable(&name).map(PathBuf::from) else { return Ok(None) };
    let file = std::fs::File::open(&path).with_context(|| format!("{name} {}", path.display()))?;
    let password = first_line(&mut io::BufReader::new(file)).with_context(|| format!("{name} {}", path.display()))?;
    Ok(Some(password))
}

/// The first line without its end. An empty one is no password but a file or a variable that nobody filled.
pub(super) fn first_line(input: &mut impl BufRead) -> io::Result<Secret> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its first line is empty: no password there"));
    }
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from file\nsecond line\n").unwrap();
        let both = |name: &str| match name {
            "X" => Some("from variable".into()),
            "X_FILE" => Some(file.clone().into_os_string()),
            _ => None,
        };
        assert_eq!(from_variables("X", both).unwrap(), Some(Secret::new("from variable")));
        assert_eq!(from_variables("X", |name| both(name).filter(|_| name == "X_FILE")).unwrap(), Some(Secret::new("from file")));
        assert_eq!(from_variables("X", |_| Some("".into())).unwrap(), None);
        let missing = from_variables("X", |name| (name == "X_FILE").then(|| "/nowhere/at/all".into())).unwrap_err();
        assert!(missing.to_string().contains("X_FILE /nowhere/at/all"), "{missing}");
    }
}

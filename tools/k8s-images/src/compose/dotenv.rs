//! `.env` files: variables beside a Compose file.
//!
//! Owns their grammar. Pure.
//!
//! Rules: Docker's documentation, "Env file syntax" (Compose, environment variables): a line is `NAME=value` or `NAME: value`, with
//! `export` before it where a shell reads it too; `NAME` alone stands for that of the environment. A value without quotes ends at
//! its line or at ` #`; in single quotes it stands as it is, in double quotes `\n`, `\r`, `\t`, `\\`, `\"` and `\$` are escapes; both may go
//! over several lines. Variables are filled in where there are no single quotes, the environment's before those of the file.

use super::variables::Variables;
use crate::document::line_of;

/// Reads a file; `environment` is what was set before, and counts more.
///
/// # Errors
/// The line and the cause where it is no such file: Compose refuses all of it then.
pub(crate) fn read(text: &str, environment: &Variables) -> Result<Variables, String> {
    let mut read = Variables::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(read);
        }
        rest = if rest.starts_with('#') {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        } else {
            let at = text.len() - rest.len();
            statement(rest, environment, &mut read).map_err(|cause| format!(", line {}: {cause}", line_of(text, at)))?
        };
    }
}

/// Reads one variable, and gives what follows it.
fn statement<'a>(text: &'a str, environment: &Variables, read: &mut Variables) -> Result<&'a str, String> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let end = text.find(['=', ':', '\n']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim_end();
    if name.is_empty() || !name.chars().all(|sign| sign.is_alphanumeric() || matches!(sign, '_' | '.' | '-' | '[' | ']')) {
        return Err("is not NAME=value".to_owned());
    }
    let mut signs = rest.chars();
    if !matches!(signs.next(), Some('=' | ':')) {
        return Ok(rest);
    }
    let value = signs.as_str().trim_start_matches([' ', '\t', '\r']);
    if let Some(quoted) = value.strip_prefix('\'') {
        let (value, rest) = until_quote(quoted, '\'')?;
        read.set(name, Ok(value.replace("\\'", "'")));
        Ok(rest)
    } else if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = until_quote(quoted, '"')?;
        let value = environment.fill_in_with(read, &unescaped(value));
        read.set(name, value);
        Ok(rest)
    } else {
        let (line, rest) = value.split_at(value.find('\n').unwrap_or(value.len()));
        let line = line.split_once(" #").map_or(line, |(value, _)| value);
        let value = environment.fill_in_with(read, line.trim_end());
        read.set(name, value);
        Ok(rest)
    }
}

/// What stands before the closing quote, and what after it.
fn until_quote(text: &str, quote: char) -> Result<(&str, &str), String> {
    let mut escaped = false;
    for (at, sign) in text.char_indices() {
        if sign == quote && !escaped {
            let (value, rest) = text.split_at(at);
            return Ok((value, rest.strip_prefix(quote).unwrap_or(rest)));
        }
        escaped = sign == '\\' && !escaped;
    }
    Err(format!("the quote {quote} does not end"))
}

fn unescaped(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            made.push(sign);
            continue;
        }
        match signs.next() {
            Some('n') => made.push('\n'),
            Some('r') => made.push('\r'),
            Some('t') => made.push('\t'),
            // It goes through the filling in of variables once more.
            Some('$') => made.push_str("$$"),
            Some(quoted @ ('\\' | '"')) => made.push(quoted),
            Some(other) => made.extend(['\\', other]),
            None => made.push('\\'),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let mut environment = Variables::default();
        environment.set("HOST", Ok("r.io".to_owned()));
        let text = r#"# a comment
A=1.2
export B=two  # a comment
C: three
D="a \"b\" \$x \\ $A"   # a comment
E='$A it\'s'
F=$HOST/app:${A}
G=a#b
H=
I = spaced
J="two
lines"
HOST=other
K=$HOST
INHERITED
L=${NONE:-d}
M=$NONE
 N=crlf"#;
        let read = read(&format!("{text}\r\nO=last"), &environment).unwrap();
        for (name, expected) in [
            ("A", "1.2"),
            ("B", "two"),
            ("C", "three"),
            ("D", "a \"b\" $x \\ 1.2"),
            ("E", "$A it's"),
            ("F", "r.io/app:1.2"),
            ("G", "a#b"),
            ("H", ""),
            ("I", "spaced"),
            ("J", "two\nlines"),
            ("K", "r.io"),
            ("L", "d"),
            ("N", "crlf"),
            ("O", "last"),
        ] {
            assert_eq!(read.get(name), Some(expected), "{name}");
        }
        assert_eq!(read.get("INHERITED"), None);
        assert!(read.fill_in("$M").unwrap_err().to_string().starts_with("the value of M cannot be made out: the variable NONE"));
        assert!(read.fill_in("$A").is_ok());
    }

    #[test]
    fn what_is_no_such_file_is_said_with_its_line() {
        for (text, expected) in [
            ("A=1\nB C=2\n", ", line 2: is not NAME=value"),
            ("A=1\n\n{}\n", ", line 3: is not NAME=value"),
            ("A='x\ny", ", line 1: the quote ' does not end"),
            ("=x", ", line 1: is not NAME=value"),
        ] {
            assert_eq!(read(text, &Variables::default()).unwrap_err(), expected, "{text}");
        }
        for text in ["", "\n# nothing\n", "A", "export A\n"] {
            assert!(read(text, &Variables::default()).is_ok(), "{text}");
        }
    }
}

//! How the flags by which a registry is reached become the client's settings: where the password comes from, and to whom user and
//! password belong.

use std::ffi::OsString;
use std::io::{self, BufRead};

use anyhow::{Context as _, bail};

use super::flags::RegistryFlags;
use super::password::{first_line, from_variables};
use crate::reference::Host;
use crate::registry::Settings;

impl RegistryFlags {
    /// The client's settings. `bound_host` is the registry that the user named, as operand, by `--registry` or `REG_REGISTRY`: user and
    /// password go there and to no other host.
    ///
    /// The password is the first line of standard input (`--password-stdin`; what follows it is left to be read), else
    /// `REG_PASSWORD`, else what is in the file `REG_PASSWORD_FILE`. No flag takes it, because arguments are for everybody on the
    /// machine to see.
    ///
    /// # Errors
    /// A user without a password, a password that cannot be read, and a user where nobody said for which registry.
    pub fn settings(&self, bound_host: Option<&Host>) -> anyhow::Result<Settings> {
        self.settings_from(bound_host, |name| std::env::var_os(name), &mut io::stdin().lock())
    }

    fn settings_from(
        &self,
        bound_host: Option<&Host>,
        variable: impl Fn(&str) -> Option<OsString>,
        input: &mut impl BufRead,
    ) -> anyhow::Result<Settings> {
        let mut settings = Settings {
            bound_host: bound_host.cloned(),
            ca_file: self.ca_file.clone(),
            plain_http: self.plain_http,
            jobs: usize::from(self.jobs),
            auth_hosts: self.auth_host.clone(),
            ..Settings::default()
        };
        // A variable that is set to nothing is how pipelines say that they have none.
        let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) else { return Ok(settings) };
        if bound_host.is_none() {
            bail!("user {user}: for which registry? name it with --registry HOST or REG_REGISTRY; no other host is given the password");
        }
        let password = if self.password_stdin {
            Some(first_line(input).context("--password-stdin: standard input")?)
        } else {
            from_variables("REG_PASSWORD", variable)?
        };
        if password.is_none() {
            bail!("user {user}: no password; set REG_PASSWORD or REG_PASSWORD_FILE, or give it on standard input with --password-stdin");
        }
        settings.user = Some(user.to_owned());
        settings.password = password;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn flags(user: Option<&str>) -> RegistryFlags {
        RegistryFlags { user: user.map(str::to_owned), jobs: 4, ..RegistryFlags::default() }
    }

    fn host() -> Host {
        "registry.example.com".parse().unwrap()
    }

    #[test]
    fn passwords_come_from_everywhere_but_the_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from file\nsecond line\n").unwrap();
        let all = |name: &str| match name {
            "REG_PASSWORD" => Some("from variable".into()),
            "REG_PASSWORD_FILE" => Some(file.clone().into_os_string()),
            _ => None,
        };
        let only_file = |name: &str| all(name).filter(|_| name == "REG_PASSWORD_FILE");
        let stdin = RegistryFlags { password_stdin: true, ..flags(Some("me")) };
        let mut input = &b"from stdin\r\nregistry.example.com/team/app\n"[..];
        for (flags, variables, expected) in [
            (&stdin, &all as &dyn Fn(&str) -> Option<OsString>, "from stdin"),
            (&flags(Some("me")), &all, "from variable"),
            (&flags(Some("me")), &only_file, "from file"),
        ] {
            let settings = flags.settings_from(Some(&host()), variables, &mut input).unwrap();
            assert_eq!((settings.user.as_deref(), settings.password), (Some("me"), Some(Secret::new(expected))));
            assert_eq!((settings.bound_host, settings.jobs), (Some(host()), 4));
        }
        assert_eq!(input, b"registry.example.com/team/app\n", "the rest of standard input is left to be read");
    }

    #[test]
    fn a_user_needs_a_password_and_a_registry() {
        let nothing = |_: &str| None;
        let error =
            |flags: &RegistryFlags, host: Option<&Host>| format!("{:#}", flags.settings_from(host, nothing, &mut &b"\n"[..]).unwrap_err());
        assert!(error(&flags(Some("me")), Some(&host())).contains("REG_PASSWORD"));
        assert!(error(&flags(Some("me")), None).contains("--registry"));
        let stdin = RegistryFlags { password_stdin: true, ..flags(Some("me")) };
        assert!(error(&stdin, Some(&host())).contains("first line is empty"));
        for nobody in [None, Some("")] {
            assert_eq!(flags(nobody).settings_from(None, nothing, &mut &b""[..]).unwrap().user, None);
        }
    }
}

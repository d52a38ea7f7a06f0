//! A certificate authority made on the fly with `openssl`, and what it signed for 127.0.0.1 and `localhost`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{output_of, program};

/// The files of an authority and of the one server it vouches for.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority, for `--ca-file`.
    pub ca_file: PathBuf,
    /// The certificate that the server shows.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them in this folder.
    pub fn make(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name);
        let names = path("names.ext");
        std::fs::write(&names, "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n").unwrap();
        self_signed(&path("ca.key"), &path("ca.crt"), "authority of a test", true);
        openssl(|openssl| {
            openssl
                .args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-subj", "/CN=127.0.0.1", "-keyout"])
                .arg(path("server.key"))
                .arg("-out")
                .arg(path("server.csr"));
        });
        openssl(|openssl| {
            openssl
                .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
                .arg(path("server.csr"))
                .arg("-CA")
                .arg(path("ca.crt"))
                .arg("-CAkey")
                .arg(path("ca.key"))
                .arg("-extfile")
                .arg(&names)
                .arg("-out")
                .arg(path("server.crt"));
        });
        Self { ca_file: path("ca.crt"), certificate: path("server.crt"), key: path("server.key") }
    }
}

/// A key and the certificate that it signed for itself: an authority, or the name of a token server.
pub(crate) fn self_signed(key: &Path, certificate: &Path, name: &str, authority: bool) {
    openssl(|openssl| {
        openssl
            .args(["req", "-x509", "-days", "2", "-nodes", "-newkey", "rsa:2048"])
            .args(["-subj", &format!("/CN={name}"), "-keyout"])
            .arg(key)
            .arg("-out")
            .arg(certificate);
        if authority {
            openssl.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        }
    });
}

pub(crate) fn openssl(arguments: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(program("openssl", "openssl"));
    arguments(&mut command);
    output_of(&mut command)
}

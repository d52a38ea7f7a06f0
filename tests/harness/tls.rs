//! A certificate authority made on the fly with `openssl`, and what it signed for 127.0.0.1 and `localhost`, or for a client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

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
        self_signed(&path("ca.key"), &path("ca.crt"), "authority of a test", true);
        let (certificate, key) =
            sign(folder, "server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n");
        Self { ca_file: path("ca.crt"), certificate, key }
    }

    /// A certificate and its key for a client of this name and these groups, as Kubernetes reads them: `CN` and `O`.
    pub fn client(&self, name: &str, groups: &[&str]) -> (PathBuf, PathBuf) {
        let folder = self.ca_file.parent().unwrap_or(Path::new("/"));
        let groups: String = groups.iter().map(|group| format!("/O={group}")).collect();
        sign(folder, name, &format!("{groups}/CN={name}"), "extendedKeyUsage=clientAuth\n")
    }
}

/// A certificate that the authority in this folder signed, and its key.
fn sign(folder: &Path, name: &str, subject: &str, extensions: &str) -> (PathBuf, PathBuf) {
    static SERIAL: AtomicU32 = AtomicU32::new(2);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    std::fs::write(path("ext"), extensions).unwrap();
    openssl(|openssl| {
        openssl
            .args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", subject, "-keyout"])
            .arg(path("key"))
            .arg("-out")
            .arg(path("csr"));
    });
    openssl(|openssl| {
        openssl
            .args(["x509", "-req", "-days", "2", "-set_serial", &serial.to_string(), "-in"])
            .arg(path("csr"))
            .arg("-CA")
            .arg(folder.join("ca.crt"))
            .arg("-CAkey")
            .arg(folder.join("ca.key"))
            .arg("-extfile")
            .arg(path("ext"))
            .arg("-out")
            .arg(path("crt"));
    });
    (path("crt"), path("key"))
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

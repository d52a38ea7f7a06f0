//! What an error of the client says about the thing that was asked for. Pure.

use common::registry;

/// What is known after a request that brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The registry says that it does not have it.
    Missing,
    /// The registry says that it does not know the repository.
    NoRepository,
    /// The registry says, and goes on saying, that it cannot serve it.
    Refused(String),
    /// Nothing: it may be there and whole.
    Unknown(String),
    /// Nothing, and so it is with all that this registry is asked.
    Down(String),
}

/// What of an error matters here.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    status: Option<u16>,
    codes: &'a [&'a str],
    /// No answer came, or not all of one.
    unanswered: bool,
    /// A page came that is none of the registry's.
    page: bool,
    /// The registry itself is out of reach.
    unreachable: bool,
}

/// What an error means.
pub(crate) fn lack(error: &registry::Error) -> Lack {
    let codes: Vec<&str> = error.codes().collect();
    let facts = Facts {
        status: error.status(),
        codes: &codes,
        unanswered: error.is_unanswered(),
        page: error.is_page(),
        unreachable: error.is_unreachable(),
    };
    read(facts, || error.to_string())
}

fn read(facts: Facts<'_>, sentence: impl FnOnce() -> String) -> Lack {
    let says = |code: &str| facts.codes.contains(&code);
    let passes = says("TOOMANYREQUESTS") || says("UNAVAILABLE");
    match facts.status {
        _ if facts.unreachable => Lack::Down(sentence()),
        _ if facts.unanswered || facts.page => Lack::Unknown(sentence()),
        // Every other request would be told the same, and count against the limit.
        Some(429) => Lack::Down(sentence()),
        _ if says("TOOMANYREQUESTS") => Lack::Down(sentence()),
        Some(404) if says("MANIFEST_UNKNOWN") || says("BLOB_UNKNOWN") || says("MANIFEST_BLOB_UNKNOWN") => Lack::Missing,
        Some(400 | 404) if says("NAME_UNKNOWN") => Lack::NoRepository,
        // Who may not see it, who is asked by the wrong way, who is at the wrong door: an endpoint that is missing is no missing manifest.
        Some(401 | 403 | 404 | 405 | 407 | 408 | 425 | 499 | 502 | 503 | 504 | 522) => Lack::Unknown(sentence()),
        Some(500..) if !passes => Lack::Refused(sentence()),
        Some(400..500) if !facts.codes.is_empty() && !passes => Lack::Refused(sentence()),
        // More bytes than anything of the kind may have: no client can read it.
        None => Lack::Refused(sentence()),
        Some(_) => Lack::Unknown(sentence()),
    }
}

/// Whether a registry that says this again and again is better left alone.
pub(crate) fn is_silence(error: &registry::Error) -> bool {
    error.is_unanswered() && !error.is_cut_short() || matches!(error.status(), Some(407 | 408 | 502 | 503 | 504 | 522))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: Option<u16>, codes: &[&str]) -> &'static str {
        name(&read(Facts { status, codes, unanswered: false, page: false, unreachable: false }, String::new))
    }

    fn name(lack: &Lack) -> &'static str {
        match lack {
            Lack::Missing => "missing",
            Lack::NoRepository => "no repository",
            Lack::Refused(_) => "refused",
            Lack::Unknown(_) => "unknown",
            Lack::Down(_) => "down",
        }
    }

    #[test]
    fn answers_mean_what_they_say() {
        for (status, codes, expected) in [
            (404, &["MANIFEST_UNKNOWN"][..], "missing"),
            (404, &["BLOB_UNKNOWN"], "missing"),
            (404, &["NAME_UNKNOWN"], "no repository"),
            (400, &["NAME_UNKNOWN"], "no repository"),
            (404, &[], "unknown"),
            (404, &["NOT_FOUND"], "unknown"),
            (401, &["UNAUTHORIZED"], "unknown"),
            (401, &["MANIFEST_UNKNOWN"], "unknown"),
            (403, &["DENIED"], "unknown"),
            (407, &[], "unknown"),
            (429, &["TOOMANYREQUESTS"], "down"),
            (429, &[], "down"),
            (403, &["TOOMANYREQUESTS"], "down"),
            (500, &["UNKNOWN"], "refused"),
            (500, &[], "refused"),
            (500, &["UNAVAILABLE"], "unknown"),
            (501, &["UNSUPPORTED"], "refused"),
            (502, &[], "unknown"),
            (503, &["UNAVAILABLE"], "unknown"),
            (504, &[], "unknown"),
            (400, &["MANIFEST_INVALID"], "refused"),
            (400, &[], "unknown"),
            (410, &["GONE"], "refused"),
        ] {
            assert_eq!(of(Some(status), codes), expected, "{status} {codes:?}");
        }
        assert_eq!(of(None, &[]), "refused", "more bytes than it may have");
    }

    #[test]
    fn no_answer_says_nothing() {
        let silent = Facts { status: None, codes: &[], unanswered: true, page: false, unreachable: false };
        assert_eq!(name(&read(silent, String::new)), "unknown");
        assert_eq!(name(&read(Facts { unanswered: false, page: true, ..silent }, String::new)), "unknown");
        assert_eq!(name(&read(Facts { unreachable: true, ..silent }, String::new)), "down");
    }
}

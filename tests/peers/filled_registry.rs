//! Debian's registry, filled with many tags, for as long as standard input stays open.
//!
//! ```sh
//! filled-registry REPOSITORIES TAGS FILE
//! ```
//!
//! Says on a line where it listens. For each line on standard input it writes to `FILE` the requests that it answered since the
//! last one, as its access log has them (`GET /v2/…`, one a line), and says how many they are: so the requests of one program
//! can be counted, and sent again by another.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};

use tests::{Image, Registry, push_all};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repositories, tags, file] = &args[..] else { return Err("expected REPOSITORIES, TAGS and FILE".into()) };
    let (repositories, tags): (usize, usize) = (repositories.parse()?, tags.parse()?);
    let registry = Registry::start();
    let images: Vec<_> = (0..repositories * tags)
        .map(|number| {
            let repository = format!("team/service-{}", number / tags);
            let image = Image::new()
                .layer("base")
                .layer(&repository)
                .layer(&format!("build {number}"))
                .label("org.opencontainers.image.revision", &format!("{number:040x}"))
                .created(&format!("2026-{:02}-{:02}T08:00:00Z", 1 + number / 28 % 10, 1 + number % 28))
                .tag(&format!("1.{}", number % tags));
            (repository, image)
        })
        .collect();
    push_all(&registry, &images);
    let mut seen = registry.log().len();
    let mut output = io::stdout().lock();
    writeln!(output, "{}", registry.host())?;
    for line in io::stdin().lock().lines() {
        line?;
        let log = registry.log();
        let requests: Vec<&str> = log[seen..].lines().filter_map(request).collect();
        seen = log.len();
        fs::write(file, requests.join("\n") + "\n")?;
        writeln!(output, "{}", requests.len())?;
    }
    Ok(())
}

/// The request in a line of an access log: `… "GET /v2/ HTTP/1.1" 200 …`.
fn request(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, _) = rest.split_once(" HTTP/")?;
    Some(request)
}

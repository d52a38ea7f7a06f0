//! Writes a listing of many manifests, and the inventory of who uses some of them, as a large registry would give them.
//!
//! ```sh
//! make-listing MANIFESTS INVENTORY > listing.jsonl
//! ```
//!
//! `MANIFESTS` image manifests of 20 blobs each, in repositories of 100 to 1,000; in every tenth repository they come in pairs,
//! one for each platform, below an index. Six of the blobs are of a base image that many repositories share, six change with every
//! 25th build, eight are the image's own. Three repositories in five are in use. Same arguments, same bytes: ages are reckoned
//! from [`NOW`].

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write as _};

/// The moment at which the listing and the inventory were taken.
const NOW: &str = "2026-11-20T12:00:00Z";
/// The day of [`NOW`], counted from 1970-01-01.
const TODAY: u64 = 20_777;
const REGISTRY: &str = "registry.example.com:5000";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BASES: u64 = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(manifests), Some(inventory)) = (args.next(), args.next()) else {
        return Err("expected MANIFESTS and INVENTORY".into());
    };
    let mut left: u64 = manifests.parse()?;
    let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut uses = Uses::default();
    writeln!(
        output,
        r#"{{"type":"header","tool":"reg-list","version":"0.1.0","schema":1,"time":"{NOW}","scope":{{"registry":"{REGISTRY}","prefixes":[]}}}}"#
    )?;
    let (mut repositories, mut records, mut blobs) = (0, 0, BASES * 6);
    while left > 0 {
        let images = (100 + hash(&[repositories, 1]) % 901).min(left);
        left -= images;
        let written = Repository { number: repositories, images }.write(&mut output, &mut uses)?;
        blobs += written + images * 8 + images.div_ceil(25) * 6;
        records += written;
        repositories += 1;
    }
    writeln!(output, r#"{{"type":"trailer","complete":true,"records":{records},"repositories":{repositories},"manifests":{records}}}"#)?;
    output.flush()?;
    fs::write(inventory, uses.text())?;
    writeln!(io::stderr(), "{repositories} {records} {} {blobs}", uses.count)?;
    Ok(())
}

/// One repository: builds of one program, oldest first.
struct Repository {
    number: u64,
    images: u64,
}

impl Repository {
    fn name(&self) -> String {
        format!("team-{}/service-{}", self.number % 40, self.number)
    }

    fn has_platforms(&self) -> bool {
        self.number % 10 == 3
    }

    fn is_in_use(&self) -> bool {
        hash(&[self.number, 2]) % 5 < 3
    }

    /// Gives back how many manifests it wrote.
    fn write(&self, output: &mut impl io::Write, uses: &mut Uses) -> io::Result<u64> {
        let name = self.name();
        let mut line = String::with_capacity(4096);
        let mut records = 0;
        for build in 0..self.images {
            let tags = self.tags(build);
            line.clear();
            self.image(&mut line, &name, build, &tags);
            if self.has_platforms() && (build % 2 == 1 || build + 1 == self.images) {
                self.index(&mut line, &name, build - build % 2, build, &tags);
                records += 1;
            }
            records += 1;
            output.write_all(line.as_bytes())?;
            let from_newest = self.images - 1 - build;
            if self.is_in_use() && [0, 3, 11].contains(&from_newest) {
                let running = if self.has_platforms() { self.index_digest(build - build % 2) } else { self.digest(build) };
                uses.add(&name, self.number, &format!("1.{}.{}", build / 100, build % 100), &running);
            }
        }
        writeln!(
            output,
            r#"{{"type":"repository","registry":"{REGISTRY}","repository":"{name}","complete":true,"error":null,"tagCount":{},"manifestCount":{records},"imageSize":{}}}"#,
            self.images,
            self.images * 40_000_000
        )?;
        Ok(records)
    }

    /// Most builds have a version, some a commit too; one in ten lost its tag to a later one.
    fn tags(&self, build: u64) -> String {
        if hash(&[self.number, build, 3]).is_multiple_of(10) && build + 1 < self.images {
            return String::new();
        }
        let mut tags = format!("\"1.{}.{}\"", build / 100, build % 100);
        if hash(&[self.number, build, 4]).is_multiple_of(4) {
            let _ = write!(tags, ",\"git-{:010x}\"", hash(&[self.number, build, 5]) >> 24);
        }
        if build + 1 == self.images {
            tags.push_str(",\"latest\"");
        }
        tags
    }

    fn digest(&self, build: u64) -> String {
        digest(&[self.number, build, 10])
    }

    fn index_digest(&self, first: u64) -> String {
        digest(&[self.number, first, 11])
    }

    fn created(&self, build: u64) -> String {
        let hours = (self.images - 1 - build) * 9 + hash(&[self.number, build, 6]) % 9;
        let (year, month, day) = date(TODAY - 1 - hours / 24);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:17Z", 23 - hours % 24, hours % 60)
    }

    fn image(&self, line: &mut String, name: &str, build: u64, tags: &str) {
        let (tags, parents) =
            if self.has_platforms() { ("", format!("\"{}\"", self.index_digest(build - build % 2))) } else { (tags, String::new()) };
        let platform = if self.has_platforms() && build % 2 == 1 { "linux/arm64" } else { "linux/amd64" };
        let config = digest(&[self.number, build, 12]);
        let _ = write!(
            line,
            r#"{{"type":"manifest","registry":"{REGISTRY}","repository":"{name}","digest":"{}","tags":[{tags}],"mediaType":"{IMAGE}","artifactType":null,"size":3517,"imageSize":{},"created":"{}","createdSource":"config","pushed":null,"platform":"{platform}","config":"{config}","children":[],"parents":[{parents}],"subjects":[],"missing":[],"blobs":[{{"digest":"{config}","size":7211}}"#,
            self.digest(build),
            180_000_000 + hash(&[self.number, build, 7]) % 1_000_000,
            self.created(build),
        );
        let base = 1_000_000 + hash(&[self.number, build / 200, 8]) % BASES;
        for layer in 0..19 {
            let key = match layer {
                0..6 => [base, layer, 0, 20],
                6..12 => [self.number, build / 25, layer, 21],
                _ => [self.number, build, layer, 22],
            };
            let _ = write!(line, r#",{{"digest":"{}","size":{}}}"#, digest(&key), 1_000 + hash(&key) % 20_000_000);
        }
        let _ = writeln!(
            line,
            r#"],"labels":{{"org.opencontainers.image.source":"https://git.example.com/{name}","org.opencontainers.image.revision":"{:016x}{:016x}"}},"annotations":{{}}}}"#,
            hash(&[self.number, build, 9]),
            hash(&[self.number, build, 5])
        );
    }

    fn index(&self, line: &mut String, name: &str, first: u64, last: u64, tags: &str) {
        let children = (first..=last).map(|build| format!("\"{}\"", self.digest(build))).collect::<Vec<_>>().join(",");
        let _ = writeln!(
            line,
            r#"{{"type":"manifest","registry":"{REGISTRY}","repository":"{name}","digest":"{}","tags":[{tags}],"mediaType":"{INDEX}","artifactType":null,"size":741,"imageSize":360000000,"created":"{}","createdSource":"children","pushed":null,"platform":null,"config":null,"children":[{children}],"parents":[],"subjects":[],"missing":[],"blobs":[],"labels":{{}},"annotations":{{}}}}"#,
            self.index_digest(first),
            self.created(last),
        );
    }
}

/// The inventory of one cluster.
#[derive(Default)]
struct Uses {
    lines: String,
    count: u64,
}

impl Uses {
    fn add(&mut self, repository: &str, number: u64, tag: &str, running: &str) {
        self.count += 1;
        let _ = writeln!(
            self.lines,
            r#"{{"type":"use","image":"{REGISTRY}/{repository}:{tag}","registry":"{REGISTRY}","repository":"{repository}","tag":"{tag}","digest":null,"runningDigest":"{running}","configDigest":null,"source":"prod","namespace":"team-{}","kind":"Deployment","name":"service-{number}","container":"main","field":"container","pods":3,"pod":null}}"#,
            number % 40
        );
    }

    fn text(&self) -> String {
        format!(
            "{}\n{}{}\n",
            r#"{"type":"header","tool":"k8s-images","version":"0.1.0","schema":1,"time":"2026-11-20T12:00:00Z","scope":{"sources":[{"kind":"context","name":"prod","server":"https://10.0.0.1:6443","complete":true,"error":null}],"partial":false}}"#,
            self.lines,
            format_args!(r#"{{"type":"trailer","complete":true,"records":{}}}"#, self.count)
        )
    }
}

/// Numbers that look random and are the same each time: SplitMix64 over the parts of the key.
fn hash(key: &[u64]) -> u64 {
    key.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| mix(state ^ mix(*part)))
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn digest(key: &[u64]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    let mut state = hash(key);
    for _ in 0..4 {
        state = mix(state);
        text.extend((0..16).map(|place| char::from(DIGITS[(state >> (60 - 4 * place) & 15) as usize])));
    }
    text
}

/// Year, month and day of a day counted from 1970-01-01, of this century.
fn date(day: u64) -> (u64, u64, u64) {
    const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut year, mut left) = (1970, day);
    loop {
        let leap = u64::from(year % 4 == 0);
        if left < 365 + leap {
            for (month, length) in (1..).zip(MONTHS) {
                let length = length + if month == 2 { leap } else { 0 };
                if left < length {
                    return (year, month, left + 1);
                }
                left -= length;
            }
        }
        left -= 365 + leap;
        year += 1;
    }
}

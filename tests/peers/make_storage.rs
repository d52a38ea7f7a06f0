//! Makes a registry's storage tree as years of pushes leave it, without a registry.
//!
//! ```sh
//! make-storage FOLDER REPOSITORIES TAGS
//! ```
//!
//! Repositories of so many tags each. An image has eight layers: four of a base image that many repositories share, two that now and
//! then another has too, two of its own. One tag in ten is of two or three platforms, one in five was overwritten once, and
//! one in twenty of the manifests was deleted through the API. Layers are of a few bytes: collectors look at names. Same arguments,
//! same tree. Says in a line of JSON what lies there, and for both modes what must go.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use tests::tree::random::Random;
use tests::{Image, Index, Mode, Tree};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/s390x"];
const BASES: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, repositories, tags] = &args[..] else { return Err("expected FOLDER, REPOSITORIES and TAGS".into()) };
    let (repositories, tags): (usize, usize) = (repositories.parse()?, tags.parse()?);
    let tree = Tree::new(Path::new(folder));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= repositories {
                        return;
                    }
                    Repository::new(&tree, number, repositories, tags).fill();
                }
            });
        }
    });
    let goes = |mode| tree.fate(mode).goes.tally();
    let [blobs, manifests, layer_links] = tree.size();
    let told = json!({
        "blobs": blobs,
        "manifests": manifests,
        "layerLinks": layer_links,
        "tags": tree.tags().len(),
        "keepUntagged": goes(Mode::KeepUntagged),
        "untagged": goes(Mode::Untagged),
    });
    writeln!(io::stdout(), "{told}")?;
    Ok(())
}

struct Repository<'a> {
    tree: &'a Tree,
    name: String,
    random: Random,
    base: usize,
    /// How many layers there are that repositories may have in common.
    shared: usize,
    tags: usize,
}

impl<'a> Repository<'a> {
    fn new(tree: &'a Tree, number: usize, repositories: usize, tags: usize) -> Self {
        let mut random = Random::seeded(number as u64);
        let base = random.below(BASES);
        Self { tree, name: format!("team-{}/service-{number}", number % 40), random, base, shared: 1 + repositories * tags / 4, tags }
    }

    fn fill(&mut self) {
        for tag in 0..self.tags {
            let name = format!("1.{tag}");
            let platforms = if self.random.chance(10) { 2 + self.random.below(2) } else { 1 };
            if self.random.chance(20) {
                let first = self.push(&format!("{name} first"), &name, platforms);
                if self.random.chance(5) {
                    self.tree.api_delete(&self.name, &first);
                }
            }
            let digest = self.push(&name, &name, platforms);
            if self.random.chance(5) {
                self.tree.api_delete(&self.name, &digest);
            }
        }
    }

    fn push(&mut self, build: &str, tag: &str, platforms: usize) -> String {
        let name = self.name.clone();
        if platforms == 1 {
            return self.image(build).tag(tag).push_by(self.tree, &name).digest;
        }
        let index = PLATFORMS
            .iter()
            .take(platforms)
            .fold(Index::new(), |index, platform| index.child(platform, self.image(&format!("{build} {platform}"))));
        index.tag(tag).push_by(self.tree, &name).digest
    }

    fn image(&mut self, build: &str) -> Image {
        let own = format!("{} {build}", self.name);
        let image = (0..4).fold(Image::new(), |image, layer| image.layer(&format!("base {} {layer}", self.base)));
        let image = (0..2).fold(image, |image, _| image.layer(&format!("shared {}", self.random.below(self.shared))));
        image.layer(&format!("{own} dependencies")).layer(&format!("{own} program"))
    }
}

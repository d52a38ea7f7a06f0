//! The one `main` of all tools: parse, run, print `tool: cause`, exit status; and what their command lines share.
//!
//! Exit status, one list for all tools:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done (`skipped` is done) |
//! | 1 | done, but some items failed, or the answer is no (findings, incomplete, frozen) |
//! | 2 | could not do it, or bad usage |
//! | 3 | refused for safety (an inventory or plan that cannot be trusted, a cap exceeded, a registry that is writable) |

mod flags;
mod inventories;
#[cfg(feature = "registry")]
pub mod operand;
mod output;
mod password;
mod progress;
#[cfg(feature = "registry")]
mod settings;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::parser::ValueSource;
use clap::{Args, Parser, ValueEnum};

#[cfg(feature = "registry")]
pub use flags::RegistryFlags;
pub use flags::{InventoryFlags, NameFlags, RepositoryFlags, named_registry};
pub use inventories::{read_keep_lists, read_to_annotate, refuse_what_is_cut};
pub use output::{Format, Output};
pub use password::password_of_environment;
pub use progress::{Progress, bytes, count, table};

/// How a tool's work ended, where it ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All of it was done.
    Done,
    /// It was done, but some items failed, or the answer is no.
    Partial,
    /// It was finished, and is not to be acted on: a cap was exceeded.
    Refused,
    /// What a convention of its own says: that of monitoring plugins is the only one.
    Own(u8),
}

impl Status {
    /// The graver of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// An error that is a refusal for safety (status 3) and not a failure.
///
/// Put it anywhere in an error's chain.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// What `main` must know of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The program's name: `reg-list`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Whether it changes anything. A reader that goes away ends a lister quietly, and stops a destructive tool at once with 2.
    pub destructive: bool,
}

/// The flags of every tool.
#[derive(Debug, Clone, Args)]
pub struct CommonFlags {
    /// What standard output carries: records, or a table of them; a table where it is a terminal
    #[arg(long, value_name = "FORMAT", global = true, help_heading = "Output")]
    format: Option<String>,
    /// No progress and no summary on standard error
    #[arg(long, short, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Say on standard error what is asked and answered
    #[arg(long, short, global = true, help_heading = "Output")]
    pub verbose: bool,
    /// Print the manual page, a completion script, or what else the tool can write
    #[arg(long, value_name = "WHAT", hide = true)]
    generate: Option<String>,
}

impl CommonFlags {
    /// Which of the tool's own [`CommonArgs::GENERATES`] is asked for. The other things are printed before a tool runs.
    #[must_use]
    pub fn generate(&self) -> Option<&str> {
        self.generate.as_deref()
    }

    /// What `--format` says of records, where it says that.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format.as_deref().and_then(|name| Format::from_str(name, false).ok())
    }

    /// Which of the tool's own [`CommonArgs::FORMATS`] standard output is to carry in the place of records.
    #[must_use]
    pub fn own_format(&self) -> Option<&str> {
        self.format.as_deref().filter(|_| self.format().is_none())
    }
}

/// What `--generate` prints of every tool, from the definition of its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Generate {
    /// A manual page
    Man,
    /// Completion for bash
    Bash,
    /// Completion for zsh
    Zsh,
    /// Completion for fish
    Fish,
}

/// Gives `main` the flags that it acts on itself.
pub trait CommonArgs: Parser {
    /// What the tool's `--generate` can print beside the manual page and the completions: a name and a line of help each. Other
    /// flags may go with these, and the tool's `run` writes them.
    const GENERATES: &'static [(&'static str, &'static str)] = &[];

    /// What the tool's `--format` knows beside records and tables, and the tool's `run` writes itself: a name and a line of help each.
    const FORMATS: &'static [(&'static str, &'static str)] = &[];

    /// The flags of every tool.
    fn common(&self) -> &CommonFlags;

    /// What standard output and the exit status say of a command line that is wrong for this `cause`, with these `flags`, where a convention
    /// of the tool's own wants more than the sentence on standard error and 2.
    #[must_use]
    fn misused(_flags: &[OsString], _cause: &str) -> Option<(String, u8)> {
        None
    }
}

/// What a tool's `run` is given beside its arguments.
#[derive(Debug)]
pub struct Context {
    tool: Tool,
    quiet: bool,
    format: Format,
}

impl Context {
    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.tool.name
    }

    /// The tool's version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.tool.version
    }

    /// Standard output, for records.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::stdout(self.format)
    }

    /// Writes a text that is no record, asked for by `--generate`.
    ///
    /// # Errors
    /// What standard output says; a reader that went away is no error.
    pub fn write_generated(&self, text: &str) -> io::Result<()> {
        write_generated(text.as_bytes())
    }

    /// Says a sentence to people: `tool: lowercase phrase`. A standard error that cannot be written to is no reason to stop.
    pub fn say(&self, text: impl fmt::Display) {
        let _ = writeln!(io::stderr().lock(), "{}: {}", self.tool.name, printable(&text.to_string()));
    }

    /// Writes lines of the summary, unless `--quiet`.
    pub fn summarize(&self, text: impl fmt::Display) {
        if !self.quiet {
            let _ = write!(io::stderr().lock(), "{}", printable(&text.to_string()));
        }
    }

    /// A line that tells how far the work is; silent where standard error is no terminal, and with `--quiet`.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::new(!self.quiet && io::stderr().is_terminal())
    }

    /// Standard input for a filter.
    ///
    /// # Errors
    /// Where standard input is a terminal: a sentence with `example`, instead of waiting for what nobody types.
    pub fn filter_input(&self, wants: &str, example: &str) -> anyhow::Result<io::BufReader<io::Stdin>> {
        if io::stdin().is_terminal() {
            anyhow::bail!("reads {wants} from standard input, which is a terminal; for example: {example}");
        }
        Ok(io::BufReader::with_capacity(1 << 18, io::stdin()))
    }
}

/// A text without control characters, which could move a terminal's cursor or hide what is said; line feeds stay.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() && character != '\n' { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

/// The whole of a tool's `main`: parses the command line, runs, prints what went wrong, and says how it ended.
pub fn main<A: CommonArgs>(tool: Tool, run: impl FnOnce(A, &Context) -> anyhow::Result<Status>) -> ExitCode {
    let arguments = match parse::<A>(tool, std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let common = arguments.common();
    if common.verbose {
        let subscriber =
            tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(tracing::Level::DEBUG).with_ansi(false).without_time();
        let _ = subscriber.try_init();
    }
    let table = io::stdout().is_terminal();
    let format = common.format().unwrap_or(if table { Format::Table } else { Format::Jsonl });
    let context = Context { tool, quiet: common.quiet, format };
    match run(arguments, &context) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Partial) => ExitCode::from(1),
        Ok(Status::Refused) => ExitCode::from(3),
        Ok(Status::Own(status)) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) && !tool.destructive => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => {
            context.say("the reader of standard output went away: stopped at once");
            ExitCode::from(2)
        }
        Err(error) => {
            context.say(format_args!("{error:#}"));
            ExitCode::from(if error.chain().any(|cause| cause.is::<Refused>()) { 3 } else { 2 })
        }
    }
}

fn parse<A: CommonArgs>(tool: Tool, arguments: impl Iterator<Item = OsString>) -> Result<A, ExitCode> {
    let mut command = command::<A>(tool);
    let arguments: Vec<OsString> = arguments.collect();
    let usage = |error: &clap::Error| usage::<A>(tool, &arguments, error);
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => return Err(usage(&error)),
    };
    // Looked at before the arguments are built, because it stands alone, without what else is required.
    let generate = matches.get_one::<String>("generate").and_then(|what| Generate::from_str(what, false).ok());
    if let Some(what) = generate {
        if stands_beside_others(&matches) {
            let text = "the argument '--generate <WHAT>' cannot be used with one or more of the other specified arguments";
            return Err(usage(&command.error(clap::error::ErrorKind::ArgumentConflict, text)));
        }
        return Err(match generated(&command, tool, what).and_then(|text| write_generated(&text)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        });
    }
    A::from_arg_matches(&matches).map_err(|error| usage(&error.format(&mut command)))
}

/// The clap definition that `--help`, the manual page and the completions are made from: examples first.
fn command<A: CommonArgs>(tool: Tool) -> clap::Command {
    let own = A::GENERATES.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
    let values: Vec<_> = Generate::value_variants().iter().filter_map(Generate::to_possible_value).chain(own).collect();
    let own = A::FORMATS.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
    let formats: Vec<_> = Format::value_variants().iter().filter_map(Format::to_possible_value).chain(own).collect();
    A::command()
        .name(tool.name)
        .version(tool.version)
        .mut_arg("format", |format| format.value_parser(PossibleValuesParser::new(formats)))
        // What clap calls exclusive asks for nothing that is required either. What a tool writes itself may depend on other flags.
        .mut_arg("generate", |generate| generate.value_parser(PossibleValuesParser::new(values)).exclusive(A::GENERATES.is_empty()))
        .help_template("{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}")
}

/// Whether the command line holds more than `--generate`.
fn stands_beside_others(matches: &clap::ArgMatches) -> bool {
    let given = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    // The groups that clap makes of flattened flags are there beside the flags themselves.
    matches.ids().any(|id| id != "generate" && id != "CommonFlags" && given(id))
}

/// Prints what clap has to say: help and version to standard output, the rest as `tool: …`.
fn usage<A: CommonArgs>(tool: Tool, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let _ = write!(io::stderr().lock(), "{}: {text}", tool.name);
    let cause = text.lines().next().unwrap_or_default();
    // What comes after `--` is no flag.
    let flags = arguments.split(|word| word == "--").next().unwrap_or_default();
    let Some((text, status)) = A::misused(flags, cause) else { return ExitCode::from(2) };
    let _ = write_generated(text.as_bytes());
    ExitCode::from(status)
}

fn generated(command: &clap::Command, tool: Tool, what: Generate) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut command = command.clone();
    match what {
        Generate::Man => clap_mangen::Man::new(command).render(&mut text)?,
        Generate::Bash => clap_complete::generate(clap_complete::Shell::Bash, &mut command, tool.name, &mut text),
        Generate::Zsh => clap_complete::generate(clap_complete::Shell::Zsh, &mut command, tool.name, &mut text),
        Generate::Fish => clap_complete::generate(clap_complete::Shell::Fish, &mut command, tool.name, &mut text),
    }
    Ok(text)
}

fn write_generated(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("writing to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Whether the reader of standard output went away. Only [`Output`] says so: a network connection may break its pipe too.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(output::is_reader_gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Plain {
        #[arg(long, required = true)]
        needed: Option<String>,
        #[command(flatten)]
        common: CommonFlags,
    }

    impl CommonArgs for Plain {
        fn common(&self) -> &CommonFlags {
            &self.common
        }
    }

    #[derive(Debug, Parser)]
    struct Writes {
        #[arg(long)]
        also: bool,
        #[command(flatten)]
        common: CommonFlags,
    }

    impl CommonArgs for Writes {
        const GENERATES: &'static [(&'static str, &'static str)] = &[("rules", "Rules")];

        fn common(&self) -> &CommonFlags {
            &self.common
        }
    }

    const TOOL: Tool = Tool { name: "tool", version: "0", destructive: false };

    fn error<A: CommonArgs>(arguments: &[&str]) -> String {
        command::<A>(TOOL).try_get_matches_from(arguments).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn what_every_tool_generates_stands_alone() {
        assert_eq!(error::<Plain>(&["tool", "--generate", "man"]), "", "nothing is required beside it");
        assert!(error::<Plain>(&["tool", "--generate", "man", "--needed", "x"]).contains("cannot be used with"));
        let matches = |arguments: &[&str]| command::<Writes>(TOOL).try_get_matches_from(arguments).unwrap();
        assert!(!stands_beside_others(&matches(&["tool", "--generate", "man"])));
        for other in ["--also", "--quiet"] {
            assert!(stands_beside_others(&matches(&["tool", "--generate", "man", other])), "{other}");
        }
    }

    #[test]
    fn what_a_tool_writes_itself_goes_with_other_flags() {
        let writes = parse::<Writes>(TOOL, ["tool", "--generate", "rules", "--also"].map(OsString::from).into_iter()).unwrap();
        assert_eq!((writes.common.generate(), writes.also), (Some("rules"), true));
        let wrong = error::<Writes>(&["tool", "--generate", "x"]);
        assert!(wrong.contains("man, bash, zsh, fish, rules"), "{wrong}");
        assert!(!error::<Plain>(&["tool", "--generate", "rules"]).contains("fish, rules"));
    }
}

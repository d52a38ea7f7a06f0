//! Texts into documents: multi-document YAML, and JSON values one after the other.
//!
//! Owns the grammar: where a document ends, which of the two it is, the limits, and the line of an error. A document that
//! cannot be read costs itself and not its neighbours. What a document means is [`crate::object`]'s. Pure.

use std::marker::PhantomData;

use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned, UserMessageFormatter};

use crate::tree::{self, All, Branch, DEEPEST, Format, Keep, Node, OfManifests, Text, Tree};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The offset in the text at which it is wrong; none where it is all of it.
    pub(crate) at: Option<usize>,
    /// The cause.
    pub(crate) cause: String,
}

/// The number of the line, from 1, in which a byte of a text stands.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    Lines::new(text).of(offset)
}

/// Counts lines for one offset after the other, without going through the text again for each.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// What was counted last: an offset, and the number of its line.
    known: (usize, usize),
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, known: (0, 1) }
    }

    /// The number of the line in which a byte stands. Offsets that rise take one pass in all.
    pub(crate) fn of(&mut self, offset: usize) -> usize {
        let (start, before) = if offset < self.known.0 { (0, 1) } else { self.known };
        let passed = self.text.as_bytes().get(start..offset.min(self.text.len())).unwrap_or_default();
        let line = before + passed.iter().filter(|byte| **byte == b'\n').count();
        self.known = (offset, line);
        line
    }
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let mut nodes = Vec::new();
    let mut faults = Vec::new();
    for chunk in chunks(text) {
        if let Err(mut fault) = read_chunk(text, chunk, &mut nodes) {
            if chunk.contains("{{") {
                fault.cause.push_str(
                    "; it holds {{, so it seems to be a template: render it first, and pipe that (helm template … | k8s-images -f -)",
                );
            }
            faults.push(fault);
        }
    }
    (nodes, faults)
}

/// Reads all documents of a YAML text, and keeps every scalar of them. (JSON is YAML.)
pub(crate) fn read_all_of_yaml(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let mut nodes = Vec::new();
    let mut faults = Vec::new();
    for chunk in chunks(text) {
        match read_yaml::<All>(text, chunk) {
            Ok(node) => nodes.push(node),
            Err(fault) => faults.push(fault),
        }
    }
    (nodes, faults)
}

/// Reads a text that is one JSON value.
pub(crate) fn json(text: &str) -> Result<Node, Fault> {
    let mut nodes = Vec::new();
    read_json(text, text, &mut nodes)?;
    match nodes.pop() {
        Some(node) if nodes.is_empty() => Ok(node),
        _ => Err(Fault { at: None, cause: "is not one JSON value".to_owned() }),
    }
}

/// Where in `text` a part of it begins.
fn start_of(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}

/// The documents of a YAML stream, each with the `---` that begins it or the `...` that ends it. Within a document no line may
/// begin so (YAML 1.2.2, 9.1.2, `c-forbidden`), so they can be told apart before any of them is parsed.
fn chunks(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut offset = 0;
    // Whether anything but comments and directives came since the last start: these belong to the document that follows.
    let mut begun = false;
    for line in text.split_inclusive('\n') {
        let is_marker =
            |marker: &str| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let (begins, ends) = (is_marker("---"), is_marker("..."));
        if begins && begun {
            starts.push(offset);
        }
        begun |= begins || !(line.trim().is_empty() || line.starts_with(['#', '%']));
        offset += line.len();
        if ends {
            starts.push(offset);
            begun = false;
        }
    }
    if !begun && starts.len() > 1 {
        // What follows the last `...` is no document.
        starts.pop();
    }
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    starts.iter().copied().zip(ends).filter_map(|(start, end)| text.get(start..end)).collect()
}

/// Reads one document, or the JSON values that stand in its place, one after the other.
fn read_chunk(text: &str, chunk: &str, nodes: &mut Vec<Node>) -> Result<(), Fault> {
    let body = without_marker(chunk);
    if !body.trim_start().starts_with(['{', '[']) {
        nodes.push(read_yaml::<OfManifests>(text, chunk)?);
        return Ok(());
    }
    let begin = nodes.len();
    let Err(json) = read_json(text, body, nodes) else { return Ok(()) };
    // A YAML document may begin with a bracket too.
    match read_yaml::<OfManifests>(text, chunk) {
        Ok(node) => {
            nodes.truncate(begin);
            nodes.push(node);
            Ok(())
        }
        Err(yaml) if nodes.len() == begin && !looks_like_json(body) => Err(yaml),
        Err(_) => Err(json),
    }
}

/// The text after a line that is nothing but `---`.
fn without_marker(chunk: &str) -> &str {
    match chunk.split_once('\n') {
        Some((first, rest)) if first.trim_end() == "---" => rest,
        _ => chunk,
    }
}

fn looks_like_json(body: &str) -> bool {
    let inner = body.trim_start().trim_start_matches(['[', '{']).trim_start();
    !body.trim_start().starts_with("{{") && (inner.starts_with(['"', '{']) || inner.is_empty())
}

struct Yaml<K>(PhantomData<K>);

impl<'de, K: Keep> Format<'de> for Yaml<K> {
    type Located = Spanned<Tree<Self>>;
    type Keep = K;

    fn node(located: Self::Located, _: usize) -> Result<Node, String> {
        // The parser reads the whole document in one go, and counts the depth itself. An alias is looked up where its anchor stands: that is where the text is.
        let span = located.defined.span();
        let start = span.byte_offset().and_then(|offset| usize::try_from(offset).ok());
        let length = span.byte_len().and_then(|length| usize::try_from(length).ok());
        Ok(match (located.value.node, start, length) {
            (Node::Text(text), Some(start), _) => Node::Text(Text { start, ..text }),
            (Node::Passed, Some(start), Some(length)) => Node::Unread { start, length },
            (node, ..) => node,
        })
    }
}

fn read_yaml<K: Keep>(text: &str, chunk: &str) -> Result<Node, Fault> {
    let options = serde_saphyr::options! {
        // The text is in memory already, so what is parsed of it once is bounded by it. What multiplies is limited: aliases,
        // merge keys, depth.
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_depth: DEEPEST,
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // A commit such as 12e4567 is a number too large for a float, and no reason to refuse a document.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        ignore_binary_tag_for_string: true,
        emit_comments: false,
        with_snippet: false,
    };
    let tree: Option<Tree<Yaml<K>>> = serde_saphyr::from_str_with_options(chunk, options).map_err(|error| {
        let offset = error.location().map_or(0, |location| offset_of_line(chunk, location.line()));
        let at = Some(start_of(text, chunk) + offset);
        Fault { at, cause: yaml_cause(&error) }
    })?;
    let mut node = tree.map_or(Node::Null, |tree| tree.node);
    settle(&mut node, text, &|offset| start_of(text, chunk) + offset);
    Ok(node)
}

/// What the parser says, for people who do not know that there is one.
fn yaml_cause(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::Budget { breach, .. } = error.without_snippet() {
        return format!(
            "is not read: {}",
            match breach {
                serde_saphyr::budget::BudgetBreach::Depth { .. } => tree::too_deep(),
                _ => "its aliases and merge keys multiply it beyond all measure".to_owned(),
            }
        );
    }
    let message = error.render_with_formatter(&UserMessageFormatter);
    format!("is not YAML that can be read: {}", without_place(&message))
}

/// The message without the line that it names, which counts from the start of its document.
fn without_place(message: &str) -> &str {
    let message = message.lines().next().unwrap_or(message);
    message.split_once(" at line ").map_or(message, |(what, _)| what).trim_end_matches([',', ':', ' '])
}

fn offset_of_line(text: &str, line: u64) -> usize {
    let before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    text.split_inclusive('\n').take(before).map(str::len).sum()
}

struct Json;

impl<'de> Format<'de> for Json {
    type Located = &'de RawValue;
    type Keep = OfManifests;

    fn node(located: Self::Located, depth: usize) -> Result<Node, String> {
        let raw = located.get();
        // The slice lies in the text that is read; what it begins at there is settled afterwards.
        let start = raw.as_ptr().addr();
        let text = if raw.starts_with('"') {
            serde_json::from_str(raw).map_err(|error| error.to_string())?
        } else if raw.starts_with(['{', '[', 'n']) {
            let mut parser = serde_json::Deserializer::from_str(raw);
            return Branch::<Self>::at(depth).deserialize(&mut parser).map(|tree| tree.node).map_err(|error| error.to_string());
        } else {
            raw.to_owned()
        };
        Ok(Node::Text(Text { text, start }))
    }
}

fn read_json(text: &str, body: &str, nodes: &mut Vec<Node>) -> Result<(), Fault> {
    for tree in serde_json::Deserializer::from_str(body).into_iter::<Tree<Json>>() {
        let mut node = tree
            .map_err(|error| {
                let offset = offset_of_line(body, u64::try_from(error.line()).unwrap_or(1));
                let at = Some(start_of(text, body) + offset);
                Fault { at, cause: format!("is not JSON that can be read: {}", without_place(&error.to_string())) }
            })?
            .node;
        settle(&mut node, text, &|address| address.saturating_sub(text.as_ptr().addr()));
        nodes.push(node);
    }
    Ok(())
}

/// Makes each place an offset in the whole text, and takes the numbers and booleans that matter from there.
fn settle(node: &mut Node, text: &str, place: &impl Fn(usize) -> usize) {
    match node {
        Node::Map(map) => map.values_mut().for_each(|value| settle(value, text, place)),
        Node::List(items) => items.iter_mut().for_each(|item| settle(item, text, place)),
        Node::Text(scalar) => scalar.start = place(scalar.start),
        Node::Unread { start, length } => {
            let start = place(*start);
            let written = text.get(start..start + *length).unwrap_or_default();
            *node = Node::Text(Text { text: written.to_owned(), start });
        }
        Node::Null | Node::Passed => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text's documents say, shortened to what a test can be read by.
    fn shown(text: &str) -> Vec<String> {
        let (nodes, faults) = read(text);
        nodes
            .iter()
            .map(|node| show(node, text))
            .chain(faults.iter().map(|fault| format!("{}: {}", line_of(text, fault.at.unwrap_or(0)), fault.cause)))
            .collect()
    }

    fn show(node: &Node, text: &str) -> String {
        match node {
            Node::Map(map) => {
                let pairs: Vec<String> = ["image", "name", "x", "y"]
                    .iter()
                    .filter_map(|key| map.get(key).map(|value| format!("{key}={}", show(value, text))))
                    .collect();
                format!("{{{}}}", pairs.join(" "))
            }
            Node::List(items) => format!("[{}]", items.iter().map(|item| show(item, text)).collect::<Vec<_>>().join(" ")),
            Node::Text(scalar) => format!("{}@{}", scalar.text, line_of(text, scalar.start)),
            Node::Unread { .. } => "unread".to_owned(),
            Node::Null => "null".to_owned(),
            Node::Passed => "_".to_owned(),
        }
    }

    #[test]
    fn documents_are_told_apart_and_lines_are_counted_through() {
        for (text, expected) in [
            ("image: a\n---\nimage: b\n", &["{image=a@1}", "{image=b@3}"][..]),
            ("# c\n\n---\nimage: a\n---   # next\nimage: b", &["{image=a@4}", "{image=b@6}"]),
            ("%YAML 1.2\n---\nimage: a\n", &["{image=a@3}"]),
            ("---\n---\nimage: a\n", &["null", "{image=a@3}"]),
            ("image: a\r\n---\r\nimage: b\r\n", &["{image=a@1}", "{image=b@3}"]),
            ("image: a\n...\n---\nimage: b\n", &["{image=a@1}", "{image=b@4}"]),
            ("x:\n  y: |\n    ---\n    image: no\nimage: a\n", &["{image=a@5 x={}}"]),
            ("{\"image\": \"a\"}\n{\"x\": [1, {\n\"image\": \"b\"}]}", &["{image=a@1}", "{x=[_ {image=b@3}]}"]),
            ("---\n{\"image\": \"a\"}\n---\nimage: b\n", &["{image=a@2}", "{image=b@4}"]),
            ("[{\"image\":\"a\\u0062\"}]", &["[{image=ab@1}]"]),
            ("{image: a, x: [\n{image: b,},]}", &["{image=a@1 x=[{image=b@2}]}"]),
            ("image: a\n...\nimage: b\n...\n", &["{image=a@1}", "{image=b@3}"]),
            ("image: a\r\n... # end\r\n%YAML 1.2\r\n---\r\nimage: b\r\n...\r\n# c\r\n", &["{image=a@1}", "{image=b@5}"]),
            ("image: a\n...\n{\"image\": \"b\"}\n", &["{image=a@1}", "{image=b@3}"]),
            ("x: |\n  ...\n  image: no\nimage: a\n", &["{image=a@4}"]),
            ("x: |\r\n  ---\r\n  image: no\r\nimage: 1.20\r\n", &["{image=1.20@4}"]),
            ("image:\t1.20\t# c\nname:\ta\t\n", &["{image=1.20@1 name=a@2}"]),
            ("", &["null"]),
            ("# nothing\n", &["null"]),
            ("no object", &["no object@1"]),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        for (text, expected) in [
            ("image: 1.20", "{image=1.20@1}"),
            ("image: 0x1F", "{image=0x1F@1}"),
            ("é: ü\nimage: 1.20 # c", "{image=1.20@2}"),
            ("image: 12e45678", "{image=12e45678@1}"),
            ("name: on", "{name=on@1}"),
            ("name: NO\nx: 1e999", "{name=NO@1}"),
            ("image: !!str 1.20", "{image=1.20@1}"),
            ("image: \"1.20\"", "{image=1.20@1}"),
            ("image: ~", "{image=null}"),
            ("image: >-\n  a\n  b", "{image=a b@2}"),
            ("{\"image\": 1.20, \"name\": true}", "{image=1.20@1 name=true@1}"),
            ("{\"image\": null, \"name\": {\"image\": \"a\"}}", "{image=null name={image=a@1}}"),
            ("x: &a\n  image: 1.20\ny: *a", "{x={image=1.20@2} y={image=1.20@2}}"),
            ("x: &a\n  image: a\n  name: n\ny:\n  <<: *a\n  name: m", "{x={image=a@2 name=n@3} y={image=a@2 name=m@6}}"),
            ("image: !Ref a", "{image=a@1}"),
            ("1: a\ntrue: b\nimage: c", "{image=c@3}"),
        ] {
            assert_eq!(shown(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line_and_costs_no_neighbour() {
        for (text, nodes, line, part) in [
            ("image: a\n---\nx: [1\n---\nimage: b\n", 2, 3, "is not YAML"),
            ("image: a\n---\nx: 1\n  y: 2\n", 1, 4, "is not YAML"),
            ("image: a\nimage: b\n", 0, 2, "image"),
            ("{\"image\": \"a\"}\n{\"image\": ", 1, 2, "is not JSON"),
            ("{\"image\": \"a\",\n\"image\": \"b\"}", 0, 2, "\"image\" stands twice"),
            ("x: 1\n{{- if .Values.on }}\nimage: a\n", 0, 2, "helm template"),
            ("image: {{ .Values.image }}\n", 0, 1, "helm template"),
            ("{{ if .Values.on }}\nimage: a\n{{ end }}\n", 0, 1, "helm template"),
            ("a: &a [*a]", 0, 1, "is not YAML"),
        ] {
            let (read, faults) = read(text);
            assert_eq!((read.len(), faults.len()), (nodes, 1), "{text:?} {faults:?}");
            let fault = faults.first().unwrap();
            assert!(fault.cause.contains(part), "{text:?} {fault:?}");
            assert_eq!(line_of(text, fault.at.unwrap()), line, "{text:?} {fault:?}");
            assert!(!fault.cause.contains('\n') && !fault.cause.contains(" line "), "{fault:?}");
        }
    }

    #[test]
    fn what_multiplies_is_limited() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let (nodes, faults) = read(&bomb);
        assert_eq!((nodes.len(), faults.len()), (0, 1), "{faults:?}");
    }

    #[test]
    fn depth_is_limited_well_within_the_stack_of_a_main_thread() {
        // A test's thread has a quarter of it, and a debug build needs more than that.
        let stack = std::thread::Builder::new().stack_size(4 << 20);
        let all = stack.spawn(|| {
            for deep in [format!("x: {}{}", "[".repeat(10_000), "]".repeat(10_000)), "[".repeat(100_000), "{\"x\":".repeat(100_000)] {
                assert_eq!(read(&deep).1.len(), 1);
            }
            let nested =
                |depth: usize| format!("{}image: a", (0..depth).map(|level| format!("x:\n{}", " ".repeat(level + 1))).collect::<String>());
            assert_eq!((read(&nested(90)).1.len(), read(&nested(120)).1.len()), (0, 1));
        });
        all.unwrap().join().unwrap();
    }

    #[test]
    fn depth_is_limited_under_the_keys_that_matter_too() {
        let stack = std::thread::Builder::new().stack_size(4 << 20);
        let all = stack.spawn(|| {
            for key in ["image", "name", "kind", "reference", "uid"] {
                for depth in [DEEPEST + 1, 200, 20_000] {
                    let deep = format!("{}1{}", format!("{{\"{key}\":").repeat(depth), "}".repeat(depth));
                    let (nodes, faults) = read(&deep);
                    assert_eq!((nodes.len(), faults.len()), (0, 1), "{key} {depth}");
                    assert!(faults.iter().all(|fault| fault.cause.contains("deeper than 100 levels")), "{faults:?}");
                }
            }
            let deep = format!("{}1{}", "{\"image\":[".repeat(DEEPEST / 2), "]}".repeat(DEEPEST / 2));
            assert_eq!(read(&deep).1, []);
            let chain = |open: &str, close: &str| {
                let links = 1..300;
                let link = |link: usize| format!("name{link}: &a{link} {}*a{}{}\n", open.repeat(50), link - 1, close.repeat(50));
                format!("x: &a0 y\n{}image: *a299\n", links.map(link).collect::<String>())
            };
            assert_eq!(read(&chain("[", "]")).1.len(), 1);
            assert_eq!(read(&chain("{image: ", "}")).1.len(), 1);
        });
        all.unwrap().join().unwrap();
    }

    #[test]
    fn what_the_parser_says_is_for_people() {
        for (text, part) in [
            ("image: a\nimage: b\n", "duplicate mapping key: image"),
            ("image: a\r---\rimage: b\r", "multiple"),
            ("x: !!binary '/w=='\n? [1, 2]\n: y\n", "is not"),
            ("x: *a\n", "is not YAML"),
        ] {
            let (_, faults) = read(text);
            let cause = faults.first().unwrap().cause.clone();
            assert!(cause.contains(part), "{text:?} {cause}");
            for internal in ["Options", "Policy", "from_str", "from_multiple", "::"] {
                assert!(!cause.contains(internal), "{text:?} {cause}");
            }
        }
    }

    #[test]
    fn lines_are_counted_in_any_order() {
        let mut lines = Lines::new("a\nb\nc");
        assert_eq!([0, 4, 2, 1, 99, 3].map(|offset| lines.of(offset)), [1, 3, 2, 1, 3, 2]);
    }

    #[test]
    fn a_large_list_is_read() {
        let item = "- metadata: {name: a, labels: {a: b, c: d}}\n  spec: {containers: [{name: a, image: b}]}\n";
        let (nodes, faults) = read(&format!("items:\n{}", item.repeat(40_000)));
        assert_eq!((nodes.len(), faults), (1, vec![]));
    }

    #[test]
    fn one_anchor_may_be_used_often() {
        let uses = "- *a\n".repeat(2_000);
        assert_eq!(read(&format!("x: &a {{image: b}}\ny:\n{uses}")).1, []);
    }
}

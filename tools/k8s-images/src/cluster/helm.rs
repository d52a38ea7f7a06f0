//! Helm's history: the images of all revisions of its releases, which `helm rollback` would start again.
//!
//! Owns how a release is kept in a Secret, and whose images it names. What its manifests say is [`crate::object`]'s.
//!
//! Rules: Helm 3, `pkg/storage/driver`: a Secret of the type `helm.sh/release.v1` for each revision, whose `data.release` is the base64
//! text of a gzip of a JSON object, gzip only since Helm 3.0; `pkg/release`: its fields. Helm can keep releases elsewhere too
//! (`HELM_DRIVER`), which nobody sees here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use flate2::read::GzDecoder;
use prost::Message;
use serde::Deserialize;

use super::kinds::Resource;
use super::list::{self, Listed, Query};
use super::message::ObjectMeta;
use super::page::Item;
use super::request::{Failure, Requests};
use super::{Answer, Asked, Gathered, of_the_server};
use crate::document::{Fault, line_of};
use crate::object::{Found, Identity, Object, Role};

/// The kind that the owner of such an image is said to have. Helm has no word of its own that no custom resource has taken (Flux's
/// HelmRelease, Crossplane's Release).
const KIND: &str = "Helm";

/// How many Secrets a page holds: each may have a megabyte. In protobuf, one after the other is taken in as it comes; in JSON, a page is
/// held.
const SECRETS: u32 = 20;

/// The largest release that is unpacked. A Secret holds a megabyte; a gzip of that size may hold a gigabyte.
const LARGEST: u64 = 64 << 20;

/// How a gzip begins (RFC 1952, 2.3.1), by which Helm too tells whether a release is one.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// What Helm keeps its releases in.
pub(crate) fn secrets() -> Resource {
    Resource { kind: "Secret".into(), plural: "secrets".into(), group: "".into() }
}

/// Reads the releases of all namespaces, or of those that are asked for.
pub(super) async fn read(requests: &Requests, asked: &Asked) -> Answer {
    let mut answer = Answer::default();
    for namespace in asked.places() {
        answer.absorb(releases(requests, asked, namespace.as_deref()).await);
    }
    answer
}

async fn releases(requests: &Requests, asked: &Asked, namespace: Option<&str>) -> Answer {
    let query = Query {
        path: secrets().path("v1", namespace),
        kind: Some("SecretList".to_owned()),
        label_selector: asked.selector.clone(),
        field_selector: Some("type=helm.sh/release.v1".to_owned()),
        form: asked.form,
        limit: Some(SECRETS),
    };
    let take = |gathered: &mut Gathered, item: Item<'_>| {
        let (object, problems) = revision(&item, LARGEST);
        object.into_iter().for_each(|object| gathered.gathering.add(object));
        gathered.problems.extend(problems);
        Ok(())
    };
    let listed = list::read(requests, &query, take).await;
    let mut answer = Answer::default();
    match listed {
        Ok(Listed { gathered: Gathered { gathering, problems, .. }, resource_version }) => {
            answer.gathering = gathering;
            answer.problems = problems;
            answer.resource_versions.extend(resource_version.map(|version| (secrets().key(namespace), version)));
        }
        Err(failure) if failure.is_of_the_server() => answer.problems.push(of_the_server(&failure)),
        Err(failure) => answer.lack(asked, &secrets(), &secrets().of(namespace), &of_helm(failure)),
    }
    answer
}

/// Says what the Secrets were wanted for: nobody expects this tool to ask for them.
fn of_helm(failure: Failure) -> Failure {
    Failure { cause: format!("{} (Helm keeps its history in them)", failure.cause), ..failure }
}

/// The revision of a release in a Secret, and what is wrong with it.
fn revision(item: &Item<'_>, largest: u64) -> (Option<Object>, Vec<String>) {
    let Kept { secret, in_namespace, release } = match Kept::read(item) {
        Ok(kept) => kept,
        Err(error) => return (None, vec![format!("one of the secrets with Helm's history cannot be read: {error}")]),
    };
    let place = format!("secret {}/{secret}", in_namespace.as_deref().unwrap_or_default());
    let release = release.and_then(|text| unpack(&text, largest));
    let Release { name, namespace, version, manifest, hooks } = match release {
        Ok(release) => release,
        Err(cause) => return (None, vec![format!("{place} holds no Helm release that can be read: {cause}")]),
    };
    let namespace = namespace.or(in_namespace);
    let who = format!("Helm release {}/{name}, revision {version}", namespace.as_deref().unwrap_or_default());
    let mut mentions = Vec::new();
    let mut problems = Vec::new();
    for manifest in std::iter::once(manifest).chain(hooks.into_iter().map(|hook| hook.manifest)) {
        // Of what a custom resource has in an image's place nothing is said: if it is still there, the cluster has it too.
        let Found { objects, faults, .. } = Found::in_text(&manifest);
        mentions.extend(objects.into_iter().flat_map(|object| object.mentions));
        problems.extend(faults.into_iter().map(|Fault { at, cause }| {
            let line = at.map_or_else(String::new, |at| format!(", line {} of its manifest", line_of(&manifest, at)));
            format!("{who} ({place}){line}: {cause}")
        }));
    }
    let identity = Identity { namespace, kind: Some(KIND.to_owned()), name: Some(name), group: "helm.sh".to_owned() };
    (Some(Object { identity, owner: None, role: Role::History, finished: false, mentions }), problems)
}

/// Unpacks a release, without holding what is not asked for: charts with their files are the most of it.
fn unpack(text: &[u8], largest: u64) -> Result<Release, String> {
    let mut start = [0; GZIP.len()];
    let is_gzip = DecoderReader::new(text, &STANDARD).read_exact(&mut start).is_ok() && start == GZIP;
    let decoder = DecoderReader::new(text, &STANDARD);
    let unpacked: &mut dyn Read = if is_gzip { &mut GzDecoder::new(decoder) } else { &mut { decoder } };
    let mut limited = unpacked.take(largest + 1);
    let release = serde_json::from_reader(std::io::BufReader::new(&mut limited));
    if limited.limit() == 0 {
        return Err(format!("it is larger than {} MiB, unpacked", largest >> 20));
    }
    release.map_err(|error| format!("data.release: {error}"))
}

/// What a Secret keeps.
struct Kept {
    secret: String,
    in_namespace: Option<String>,
    /// The value of `data.release`, or why there is none.
    release: Result<Vec<u8>, String>,
}

impl Kept {
    fn read(item: &Item<'_>) -> Result<Self, String> {
        let none = || "it has no data.release".to_owned();
        Ok(match item {
            Item::Protobuf(bytes) => {
                let Secret { metadata, mut data } = Secret::decode(*bytes).map_err(|error| error.to_string())?;
                let ObjectMeta { name, namespace, .. } = metadata.unwrap_or_default();
                Self { secret: name.unwrap_or_default(), in_namespace: namespace, release: data.remove("release").ok_or_else(none) }
            }
            Item::Json(text) => {
                let JsonSecret { metadata, data } = serde_json::from_str(text).map_err(|error| error.to_string())?;
                let decode = |text: Cow<'_, str>| STANDARD.decode(&*text).map_err(|error| format!("data.release: {error}"));
                let release = data.release.ok_or_else(none).and_then(decode);
                Self { secret: metadata.name, in_namespace: metadata.namespace, release }
            }
        })
    }
}

/// `core/v1.Secret`.
#[derive(Clone, PartialEq, Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(btree_map = "string, bytes", tag = "2")]
    data: BTreeMap<String, Vec<u8>>,
}

#[derive(Deserialize)]
struct JsonSecret<'a> {
    metadata: JsonMeta,
    #[serde(borrow, default)]
    data: JsonData<'a>,
}

#[derive(Deserialize)]
struct JsonMeta {
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
struct JsonData<'a> {
    #[serde(borrow)]
    release: Option<Cow<'a, str>>,
}

/// A release, as far as it is asked for. Helm leaves out what is empty.
#[derive(Debug, Deserialize)]
struct Release {
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    manifest: String,
    #[serde(default, deserialize_with = "or_null")]
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    #[serde(default)]
    manifest: String,
}

fn or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Hook>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::{Value, json};

    use super::*;

    const MANIFEST: &str = "---\n# Source: shop/templates/web.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: app, image: 'web:1'}]}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn secret(release: &[u8]) -> String {
        let data = STANDARD.encode(STANDARD.encode(release));
        json!({"metadata": {"name": "sh.helm.release.v1.shop.v2", "namespace": "prod"}, "data": {"release": data}}).to_string()
    }

    fn release(manifest: &str, hooks: Value) -> Vec<u8> {
        // As Helm writes it: much of the chart, which nobody asks for.
        json!({"name": "shop", "info": {"status": "superseded"}, "chart": {"metadata": {"name": "shop"}, "templates": [{"name": "a", "data": "YQ=="}]},
               "config": {"image": "values:1"}, "manifest": manifest, "hooks": hooks, "version": 2, "namespace": "prod"})
        .to_string()
        .into_bytes()
    }

    /// What a Secret comes to: images, and what is wrong.
    fn read(secret: &str) -> (Vec<String>, Vec<String>) {
        let (object, problems) = revision(&Item::Json(secret), 1 << 20);
        if let Some(object) = &object {
            let Identity { namespace, kind, name, .. } = &object.identity;
            assert_eq!((namespace.as_deref(), kind.as_deref(), name.as_deref()), (Some("prod"), Some("Helm"), Some("shop")));
            assert_eq!(object.role, Role::History);
        }
        (object.into_iter().flat_map(|object| object.mentions).map(|mention| mention.image).collect(), problems)
    }

    #[test]
    fn a_release_in_both_forms() {
        let hook = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\nspec: {template: {spec: {containers: [{name: m, image: 'migrate:1'}]}}}\n";
        let release = release(MANIFEST, json!([{"name": "migrate", "manifest": hook}]));
        for packed in [gzip(&release), release] {
            assert_eq!(read(&secret(&packed)), (vec!["web:1".to_owned(), "migrate:1".to_owned()], vec![]));
        }
    }

    #[test]
    fn a_message_says_the_same() {
        let message = |data: &[(&str, Vec<u8>)]| Secret {
            metadata: Some(ObjectMeta {
                name: Some("sh.helm.release.v1.shop.v2".to_owned()),
                namespace: Some("prod".to_owned()),
                ..ObjectMeta::default()
            }),
            data: data.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        };
        let packed = gzip(&release(MANIFEST, json!([])));
        let text = STANDARD.encode(&packed).into_bytes();
        let (one, _) = revision(&Item::Protobuf(&message(&[("release", text)]).encode_to_vec()), 1 << 20);
        let (other, _) = revision(&Item::Json(&secret(&packed)), 1 << 20);
        assert!(one.as_ref().is_some_and(|object| object.mentions.len() == 1));
        assert_eq!(one, other);
        let (none, problems) = revision(&Item::Protobuf(&message(&[]).encode_to_vec()), 1 << 20);
        assert_eq!(none, None);
        assert_eq!(problems, ["secret prod/sh.helm.release.v1.shop.v2 holds no Helm release that can be read: it has no data.release"]);
    }

    #[test]
    fn a_release_may_have_nothing_to_show() {
        for release in [json!({"name": "shop"}), json!({"name": "shop", "manifest": "\n", "hooks": null, "version": 1})] {
            assert_eq!(read(&secret(&gzip(release.to_string().as_bytes()))), (vec![], vec![]), "{release}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_release() {
        let faulty = MANIFEST.replace("image: 'web:1'", "image: 'web 1'");
        let (images, problems) = read(&secret(&gzip(&release(&faulty, json!([])))));
        assert_eq!(images, [""; 0]);
        assert!(
            matches!(problems.as_slice(), [one] if one.starts_with("Helm release prod/shop, revision 2 (secret prod/sh.helm.release.v1.shop.v2), line 6 of its manifest: Deployment web, container app: ")),
            "{problems:?}"
        );
        let whole = gzip(&release(MANIFEST, json!([])));
        let cut = &whole[..whole.len() - 9];
        for (secret, expected) in [
            (secret(b"no release"), "holds no Helm release that can be read: data.release: "),
            (secret(b""), "holds no Helm release that can be read: data.release: "),
            (secret(cut), "holds no Helm release that can be read: data.release: "),
            (secret(&gzip(b"{\"name\": \"shop\"} and more")), "holds no Helm release that can be read: data.release: "),
            (secret(&gzip(b"{}")), "holds no Helm release that can be read: data.release: missing field `name`"),
            (
                secret(&whole).replace("data\":{\"release", "data\":{\"other"),
                "holds no Helm release that can be read: it has no data.release",
            ),
            (json!({"metadata": {"name": "sh.helm.release.v1.shop.v2", "namespace": "prod"}}).to_string(), "it has no data.release"),
            (
                json!({"metadata": {"name": "sh.helm.release.v1.shop.v2", "namespace": "prod"}, "data": {"release": "?"}}).to_string(),
                "data.release: ",
            ),
        ] {
            let (images, problems) = read(&secret);
            assert_eq!(images, [""; 0]);
            assert!(
                matches!(problems.as_slice(), [one] if one.starts_with("secret prod/sh.helm.release.v1.shop.v2 ") && one.contains(expected)),
                "{expected}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_release_that_unpacks_beyond_measure_is_left() {
        let bomb = |size: usize| gzip(&release(&" ".repeat(size), json!([])));
        assert_eq!(read(&secret(&bomb(900 << 10))), (vec![], vec![]));
        let (_, problems) = read(&secret(&bomb(1 << 20)));
        assert!(matches!(problems.as_slice(), [one] if one.ends_with("it is larger than 1 MiB, unpacked")), "{problems:?}");
    }
}

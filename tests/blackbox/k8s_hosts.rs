//! `k8s-images` on hosts without Kubernetes: Compose files and container engines in, `use` records out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tests::*;

use super::k8s_images::{folder, is_incomplete, source, tool, write};

/// The uses, each as `namespace/kind/name container field image`.
#[track_caller]
fn uses(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |used: &Value| {
        let owner = format!("{}/{}/{}", text(&used["namespace"]), text(&used["kind"]), text(&used["name"]));
        format!("{owner} {} {} {}", text(&used["container"]), text(&used["field"]), text(&used["image"]))
    };
    ran.records_of("use").iter().map(line).collect()
}

mod compose {
    use super::*;

    /// Runs on these files, of which the first is named; they lie in a folder `shop`.
    fn run(files: &[(&str, &str)]) -> Ran {
        run_with(files, |tool| tool)
    }

    fn run_with(files: &[(&str, &str)], change: impl FnOnce(Tool) -> Tool) -> Ran {
        let parent = temporary();
        let shop = parent.path().join("shop");
        for (path, content) in files {
            write(&shop, path, content);
        }
        change(tool().args(["--from", "compose", files[0].0]).in_folder(&shop)).run()
    }

    #[test]
    fn every_image_that_a_project_may_start_is_in_use() {
        let ran = run(&[(
            "compose.yaml",
            r#"
name: My Shop
x-common: &common
  image: registry.example.com/team/common:1
services:
  web:
    image: registry.example.com:5000/team/app:1.2
    deploy: {replicas: 3}
  debug: {image: "registry.example.com/team/debug", profiles: [debug], scale: 0}
  worker: {<<: *common, command: work}
  pinned: {image: "team/pinned@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"}
  data:
    image: postgres:17
    pre_start:
    - {image: "registry.example.com/team/migrate:3", command: up}
    - {command: again}
    volumes:
    - ./data:/data
    - {type: image, source: "registry.example.com/team/files:7", target: /files}
    - {type: volume, source: other, target: /other}
  cloud: {provider: {type: awesomecloud}}
volumes: {other: {}}
models:
  llm: {model: registry.example.com/ai/small:1}
  elsewhere: {model: "hf.co/Some/Model-GGUF"}
"#,
        )])
        .succeeds();
        assert_eq!(
            uses(&ran),
            [
                "myshop/Model/llm - - registry.example.com/ai/small:1",
                "myshop/Service/data - container postgres:17",
                "myshop/Service/data - initContainer registry.example.com/team/migrate:3",
                "myshop/Service/data /files imageVolume registry.example.com/team/files:7",
                "myshop/Service/debug - container registry.example.com/team/debug",
                "myshop/Service/pinned - container team/pinned@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
                "myshop/Service/web - container registry.example.com:5000/team/app:1.2",
                "myshop/Service/worker - container registry.example.com/team/common:1",
            ]
        );
        assert_eq!(
            ran.the("header")["scope"],
            json!({"sources": [{"kind": "compose", "name": "compose.yaml", "server": null, "complete": true, "error": null}], "partial": false})
        );
        assert_eq!(
            ran.records_of("use")[6],
            json!({"type": "use", "image": "registry.example.com:5000/team/app:1.2", "registry": "registry.example.com:5000", "repository": "team/app",
                "tag": "1.2", "digest": null, "runningDigest": null, "configDigest": null, "source": "compose.yaml", "namespace": "myshop",
                "kind": "Service", "name": "web", "container": null, "field": "container", "pods": 0, "pod": null})
        );
    }

    #[test]
    fn what_docker_compose_config_prints_is_read_from_standard_input() {
        // As `docker compose config` of version 2 prints it.
        let config = "name: shop\nservices:\n  web:\n    command:\n      - sh\n      - -c\n      - echo $$HOME\n    image: registry.example.com/team/app:1.2\n    networks:\n      default: null\nnetworks:\n  default:\n    name: shop_default\n";
        let ran = tool().args(["--from", "compose", "-", "--name", "shop"]).stdin(config).run().succeeds();
        assert_eq!(uses(&ran), ["shop/Service/web - container registry.example.com/team/app:1.2"]);
        assert_eq!(source(&ran)["name"], "shop");
        let json = r#"{"name":"shop","services":{"web":{"image":"team/app:1"}}}"#;
        assert_eq!(
            uses(&tool().args(["--from", "compose", "-"]).stdin(json).run().succeeds()),
            ["shop/Service/web - container team/app:1"]
        );
    }

    #[test]
    fn variables_come_from_the_environment_and_from_env_files_beside_the_file() {
        let files = [
            (
                "compose.yaml",
                "services:\n  a: {image: '${REGISTRY:-docker.io}/app:$TAG'}\n  b: {image: '${REGISTRY}/b${SUFFIX:+-$SUFFIX}:${NONE-${TAG}}'}\n  c: {image: 'app:a$$b'}\n",
            ),
            (".env", "# of the shop\nexport REGISTRY=registry.example.com:5000\nTAG='from file'\nSUFFIX=\"${REGISTRY:+x}\"\n"),
        ];
        let ran = run_with(&files, |tool| tool.env("TAG", "1.2"));
        let ran = is_incomplete(ran, "compose.yaml, line 4: service c: \"a$b\" is not");
        assert_eq!(
            uses(&ran),
            [
                "shop/Service/a - container registry.example.com:5000/app:1.2",
                "shop/Service/b - container registry.example.com:5000/b-x:1.2",
            ]
        );
        // What Compose itself is told by its variables.
        let file =
            [("compose.yaml", "services: {a: {image: 'app:${TAG:-1}'}}\n"), (".env", "TAG=2"), ("x.env", "TAG=3"), ("y.env", "TAG=4")];
        let image = |change: fn(Tool) -> Tool| uses(&run_with(&file, change).succeeds());
        assert_eq!(image(|tool| tool), ["shop/Service/a - container app:2"]);
        assert_eq!(image(|tool| tool.env("COMPOSE_ENV_FILES", "x.env,y.env")), ["shop/Service/a - container app:4"]);
        assert_eq!(image(|tool| tool.env("COMPOSE_DISABLE_ENV_FILE", "1")), ["shop/Service/a - container app:1"]);
        // A later file may build on what an earlier one says, and that goes before its own.
        let files = [
            ("compose.yaml", "services: {a: {image: '$IMAGE'}, b: {image: 'b:$TAG'}}\n"),
            ("x.env", "REGISTRY=prod.example.com\nTAG=3\n"),
            ("y.env", "TAG=4\nIMAGE=${REGISTRY:-dev.example.com}/app:$TAG\n"),
        ];
        let ran = run_with(&files, |tool| tool.env("COMPOSE_ENV_FILES", "x.env,y.env")).succeeds();
        assert_eq!(uses(&ran), ["shop/Service/a - container prod.example.com/app:3", "shop/Service/b - container b:4"]);
        assert_eq!(image(|tool| tool.env("COMPOSE_PROJECT_NAME", "Other")), ["other/Service/a - container app:2"]);
    }

    #[test]
    fn a_variable_that_is_not_set_makes_the_source_incomplete() {
        for (image, reason) in [
            ("app:${TAG}", "compose.yaml, line 3: service web: \"app:${TAG}\": the variable TAG is not set"),
            (
                "app:${TAG:?which one}",
                "compose.yaml, line 3: service web: \"app:${TAG:?which one}\": the variable TAG must be set: which one",
            ),
            ("app:${TAG", "compose.yaml, line 3: service web: \"app:${TAG\": \"${TAG\" is no variable"),
            ("app:{{tag}}", "compose.yaml, line 3: service web: \"{{tag}}\" is not"),
            ("${TAG:-}", "compose.yaml, line 3: service web: \"\" is not"),
        ] {
            let file = format!("services:\n  web:\n    image: '{image}'\n    environment: {{X: $UNSET}}\n  other: {{image: other}}\n");
            let ran = is_incomplete(run(&[("compose.yaml", &file)]), reason);
            assert_eq!(uses(&ran), ["shop/Service/other - container other"]);
        }
        let ran = run(&[("compose.yaml", "services: {web: {image: 'app:$TAG'}}\n"), (".env", "TAG=$OTHER\n")]);
        is_incomplete(ran, "the value of TAG cannot be made out: the variable OTHER is not set");
        let ran = run(&[("compose.yaml", "services: {web: {image: app}}\n"), (".env", "TAG=1\nno variable\n")]);
        is_incomplete(ran, ".env, line 2: is not NAME=value");
    }

    #[test]
    fn what_a_service_extends_is_followed() {
        let ran = run(&[
            (
                "compose.yaml",
                r"
services:
  base: {image: 'base:${TAG}'}
  same: {extends: base}
  mapped: {extends: {service: same}, command: x}
  other: {extends: {file: common/base.yaml, service: deep}}
  own: {extends: {file: common/base.yaml, service: deep}, image: own}
",
            ),
            (".env", "TAG=1\n"),
            (
                "common/base.yaml",
                "services:\n  deep: {extends: {file: ../deeper.yml, service: deepest}, volumes: [{type: image, source: 'files:$TAG', target: /f}]}\n  unused: {image: unused}\n",
            ),
            ("deeper.yml", "services:\n  deepest: {image: 'deepest:${TAG}'}\n  unused: {image: '$NONE'}\n"),
        ])
        .succeeds();
        assert_eq!(
            uses(&ran),
            [
                "shop/Service/base - container base:1",
                "shop/Service/mapped - container base:1",
                "shop/Service/other - container deepest:1",
                "shop/Service/other /f imageVolume files:1",
                "shop/Service/own - container own",
                "shop/Service/own /f imageVolume files:1",
                "shop/Service/same - container base:1",
            ]
        );
        for (service, reason) in [
            ("{extends: none}", "compose.yaml, line 2: service web extends none, and compose.yaml holds no service of that name"),
            ("{extends: {file: none.yaml, service: x}}", "none.yaml: cannot be read"),
            ("{extends: web}", "compose.yaml, line 2: service web extends itself"),
            ("{extends: {file: 'https://example.com/x.yaml', service: x}}", "is elsewhere, and is not fetched"),
        ] {
            is_incomplete(run(&[("compose.yaml", &format!("services:\n  web: {service}\n  a: {{image: a}}\n"))]), reason);
        }
    }

    #[test]
    fn what_a_file_includes_is_followed_with_its_own_variables() {
        let ran = run(&[
            (
                "compose.yaml",
                r"
include:
- plain/compose.yaml
- path: [parts/compose.yaml, ./parts/override.yaml]
  env_file: [one.env, two.env]
- {path: far/away/compose.yaml, project_directory: far}
services:
  web: {image: 'web:${TAG}'}
",
            ),
            (".env", "TAG=1\nALL=everywhere\n"),
            ("one.env", "PART=one\nTAG=never\n"),
            ("two.env", "PART=two\n"),
            ("plain/compose.yaml", "name: other\nservices:\n  plain: {image: 'plain:${OWN}-$TAG-$ALL'}\n"),
            ("plain/.env", "OWN=own\nTAG=never\n"),
            ("parts/compose.yaml", "services:\n  part: {image: 'part:$PART-$TAG'}\n"),
            ("parts/override.yaml", "services:\n  part: {profiles: [x]}\n  more: {image: 'more:$PART'}\n"),
            ("parts/.env", "PART=never\n"),
            ("far/away/compose.yaml", "include: [near.yaml]\n"),
            ("far/near.yaml", "services: {near: {image: 'near:$FAR'}}\n"),
            ("far/.env", "FAR=far\n"),
        ])
        .succeeds();
        assert_eq!(
            uses(&ran),
            [
                "shop/Service/more - container more:two",
                "shop/Service/near - container near:far",
                "shop/Service/part - container part:two-1",
                "shop/Service/plain - container plain:own-1-everywhere",
                "shop/Service/web - container web:1",
            ]
        );
        for (include, reason) in [
            ("[none.yaml]", "none.yaml: cannot be read"),
            ("[self.yaml]", "self.yaml, line 1: includes self.yaml, which includes it"),
            ("none.yaml", "compose.yaml, line 1: include is no list"),
            ("['oci://registry.example.com/team/project:1']", "is elsewhere, and is not fetched"),
            ("[{env_file: x.env}]", "compose.yaml, line 1: what is included has no path"),
            ("[{path: ok.yaml, env_file: none.env}]", "none.env: cannot be read"),
            ("['$NONE/x.yaml']", "compose.yaml, line 1: include: \"$NONE/x.yaml\": the variable NONE is not set"),
        ] {
            let file = format!("include: {include}\nservices: {{web: {{image: web}}}}\n");
            let files = [
                ("compose.yaml", &*file),
                ("self.yaml", "include: [self.yaml]\nservices: {a: {image: a}}\n"),
                ("ok.yaml", "services: {b: {image: b}}\n"),
            ];
            is_incomplete(run(&files), reason);
        }
    }

    #[test]
    fn files_under_one_name_are_one_project() {
        let base = "services:\n  web: {image: 'web:${TAG}'}\n  build: {build: .}\n";
        let over = "services:\n  web: {ports: ['80:80']}\n  build: {image: registry.example.com/team/build:1}\n";
        let other = "services:\n  web: {image: 'web:2'}\nnetworks: {}\n";
        let files = folder(&[
            ("shop/compose.yaml", base),
            ("shop/.env", "TAG=1"),
            ("shop/compose.override.yaml", over),
            ("shop/prod/compose.yaml", other),
            ("shop/networks.yaml", "networks: {default: {}}\n"),
            ("else/compose.yaml", "services: {a: {image: 'a:${TAG}'}}\n"),
            ("else/.env", "TAG=never"),
        ]);
        let run = |operands: &[&str]| tool().args(["--from", "compose"]).args(operands).in_folder(files.path()).run();
        let ran =
            run(&["shop/compose.yaml", "shop/compose.override.yaml", "shop/prod/compose.yaml", "shop/networks.yaml", "--name", "all"])
                .succeeds();
        assert_eq!(
            uses(&ran),
            [
                "shop/Service/build - container registry.example.com/team/build:1",
                "shop/Service/web - container web:1",
                "shop/Service/web - container web:2",
            ]
        );
        // Compose would find the override by itself.
        let found =
            run(&["shop/compose.yaml"]).succeeds().stderr_has("shop/compose.override.yaml: is read too, as docker compose does without -f");
        assert_eq!(
            uses(&found),
            ["shop/Service/build - container registry.example.com/team/build:1", "shop/Service/web - container web:1"]
        );
        assert!(!ran.stderr().contains("is read too"), "{ran}");
        // Alone an override is half a project.
        is_incomplete(
            run(&["shop/compose.override.yaml"]),
            "compose.override.yaml, line 2: service web has no image and no build; is it an override?",
        );
        // Other projects have other variables.
        is_incomplete(
            run(&["shop/compose.yaml", "else/compose.yaml", "--name", "host"]),
            "else/.env: is not read: files under one name are one project",
        );
        let ran = run(&["shop/compose.yaml", "else/compose.yaml"]).succeeds();
        let expected = [
            "shop/Service/build - container registry.example.com/team/build:1",
            "shop/Service/web - container web:1",
            "else/Service/a - container a:never",
        ];
        assert_eq!(uses(&ran), expected);
    }

    #[test]
    fn an_image_that_is_built_where_it_runs_is_told_and_is_in_no_registry() {
        let ran = run(&[(
            "compose.yaml",
            "services:\n  web: {build: .}\n  api: {build: {context: .}, image: registry.example.com/team/api:1, pull_policy: build}\n",
        )]);
        let ran =
            ran.succeeds().stderr_has("compose.yaml: service web is built where it runs as shop-web, and its image is in no registry");
        assert_eq!(uses(&ran), ["shop/Service/api - container registry.example.com/team/api:1"]);
        // Nothing but such images looks like a file that was cut.
        is_incomplete(
            run(&[("compose.yaml", "services: {web: {build: .}}\n")]),
            "compose.yaml: names no image: no service in it has an image",
        );
    }

    #[test]
    fn what_could_hide_an_image_makes_the_source_incomplete() {
        for (file, reason) in [
            ("", "compose.yaml: is empty"),
            ("# nothing\n", "compose.yaml: holds no services: it is no Compose file"),
            ("services:\n", "compose.yaml: names no image"),
            ("services:\n  web: {image: a}\n  api:\n", "compose.yaml: service api has no image"),
            ("services:\n  web: {image: a}\n  api: {image: {x: y}}\n", "compose.yaml, line 3: service api: image is no text"),
            ("services:\n  web: {image: a}\n  api: {image: [b], build: .}\n", "compose.yaml, line 3: service api: image is no text"),
            ("services:\n  web: {image: a, extends: [b]}\n", "compose.yaml, line 2: service web: extends names no service"),
            ("services:\n  web: {image: a, extends: {file: b}}\n", "compose.yaml, line 2: service web: extends names no service"),
            ("services:\n  web: {image: a, pre_start: {image: b}}\n", "compose.yaml, line 2: service web: pre_start is no list"),
            ("services:\n  web: {image: a, pre_start: [b]}\n", "compose.yaml, line 2: service web: pre_start holds what is no mapping"),
            (
                "services:\n  web: {image: a, volumes: [{type: image, source: [b]}]}\n",
                "compose.yaml, line 2: service web: source of volumes is no text",
            ),
            ("services:\n  web: {image: a, volumes: {type: image, source: b}}\n", "compose.yaml, line 2: service web: volumes is no list"),
            ("services:\n  web: [a]\n", "compose.yaml, line 2: service web is no mapping"),
            ("services: [web]\n", "compose.yaml, line 1: services is no mapping"),
            ("services:\n  web: {image: a}\n web: {image: b}\n", "compose.yaml, line 3: is not YAML that can be read"),
            ("services:\n  web: {image: a}\n  web: {image: b}\n", "compose.yaml, line 3: is not YAML"),
            ("services:\n  web: {image: No Image}\n", "compose.yaml, line 2: service web: \"No Image\" is not"),
            ("apiVersion: v1\nkind: Service\nmetadata: {name: web}\n", "compose.yaml: holds no services: it is no Compose file"),
            ("web: {image: a}\n", "compose.yaml: holds no services: it is no Compose file"),
            ("just text\n", "compose.yaml: holds no services: it is no Compose file"),
        ] {
            is_incomplete(run(&[("compose.yaml", file)]), reason);
        }
        is_incomplete(tool().args(["--from", "compose", "none.yaml"]).run(), "none.yaml: cannot be read");
    }

    #[test]
    fn it_says_what_it_wants() {
        tool().args(["--from", "compose"]).run().status(2).stderr_has("docker compose --profile '*' config | k8s-images --from compose -");
        tool().args(["--from", "compose", "-", "-"]).run().status(2).stderr_has("named twice");
    }
}

mod docker {
    use super::*;

    fn run(host: &str) -> Ran {
        run_with(host, |tool| tool)
    }

    fn run_with(host: &str, change: impl FnOnce(Tool) -> Tool) -> Ran {
        change(tool().args(["--from", "docker"]).env("DOCKER_HOST", host)).run()
    }

    /// The uses, each as `namespace/kind/name field image running config pods pod`.
    #[track_caller]
    fn uses(ran: &Ran) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), short);
        let line = |used: &Value| {
            let owner = format!("{}/{}/{}", text(&used["namespace"]), text(&used["kind"]), text(&used["name"]));
            let digests = format!("{} {}", text(&used["runningDigest"]), text(&used["configDigest"]));
            let finished = used["finishedPods"].as_u64().map(|finished| format!(" ({finished} finished)")).unwrap_or_default();
            let pods = format!("{}{finished} {}", used["pods"], text(&used["pod"]));
            format!("{owner} {} {} {digests} {pods}", text(&used["field"]), text(&used["image"]))
        };
        ran.records_of("use").iter().map(line).collect()
    }

    /// A text with each digest cut to four digits.
    fn short(text: &str) -> String {
        text.split("sha256:").enumerate().map(|(place, part)| if place == 0 { part } else { &part[..4] }).collect::<Vec<_>>().join("")
    }

    mod real {
        use super::*;

        /// The architecture of this machine, as images name it.
        fn platform() -> String {
            let architecture = match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            };
            format!("linux/{architecture}")
        }

        fn image(version: &str) -> Image {
            Image::docker().platform(&platform()).label("version", version)
        }

        #[test]
        fn every_container_of_an_engine_is_in_use_by_name_and_by_digest() {
            let registry = Registry::start();
            let engine = Engine::start();
            let one = image("1").tag("1").tag("again").push(&registry, "team/app");
            let two = Image::new().platform(&platform()).label("version", "2").tag("2").push(&registry, "team/app");
            let index = Index::new().child(&platform(), image("multi")).tag("1").push(&registry, "team/multi");
            let old = image("old").tag("1").push(&registry, "team/roll");
            let [app, other, multi, roll] =
                ["team/app:1", "team/app:2", "team/multi:1", "team/roll:1"].map(|name| engine.pull(&registry, name));
            let pinned = engine.pull(&registry, &two.by_digest());
            engine.pull(&registry, "team/app:again");
            engine.tag(&app, "registry.example.com/mirror/app:9");

            engine.create("shop-web-1", &app, &[("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")]);
            engine.create("shop-web-2", &app, &[("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")]);
            engine.create("plain", &other, &[]);
            engine.create("pinned", &pinned, &[]);
            engine.create("multi", &multi, &[]);
            engine.create("by-id", &engine.id(&app), &[]);
            engine.create("by-short-id", &engine.id(&app)["sha256:".len()..][..12], &[]);
            engine.create("renamed", "registry.example.com/mirror/app:9", &[]);
            engine.create("old", &roll, &[]);
            image("new").tag("1").push(&registry, "team/roll");
            engine.pull(&registry, "team/roll:1");

            let ran = run(&engine.host()).succeeds();
            let host = registry.host();
            let (one_runs, one_config) = (short(&one.digest), short(&one.config));
            let (two_runs, two_config) = (short(&two.digest), short(&two.config));
            let app_pinned = format!("{host}/team/app@{one_runs}");
            let expected = [
                // The ID of an image is no name: those are taken under which it came from a registry, or else a registry may know it.
                format!("-/Container/by-id container {app_pinned} {one_runs} {one_config} 1 by-id"),
                format!("-/Container/by-id container registry.example.com/mirror/app:9 - {one_config} 1 by-id"),
                format!("-/Container/by-short-id container {app_pinned} {one_runs} {one_config} 1 by-short-id"),
                format!("-/Container/by-short-id container registry.example.com/mirror/app:9 - {one_config} 1 by-short-id"),
                format!(
                    "-/Container/multi container {host}/team/multi:1 {} {} 1 multi",
                    short(&index.digest),
                    short(&index.children[0].config)
                ),
                // Its tag has moved on, and the engine tells the ID in its place.
                format!("-/Container/old container {host}/team/roll:1 {} {} 1 old", short(&old.digest), short(&old.config)),
                format!("-/Container/pinned container {host}/team/app@{two_runs} {two_runs} {two_config} 1 pinned"),
                format!("-/Container/plain container {host}/team/app:2 {two_runs} {two_config} 1 plain"),
                // No registry was ever asked for this name, so where it came from counts too.
                format!("-/Container/renamed container {app_pinned} {one_runs} {one_config} 1 renamed"),
                format!("-/Container/renamed container registry.example.com/mirror/app:9 - {one_config} 1 renamed"),
                format!("shop/Service/web container {host}/team/app:1 {one_runs} {one_config} 2 shop-web-1"),
            ];
            assert_eq!(uses(&ran), expected);
            assert_eq!(
                source(&ran),
                json!({"kind": "docker", "name": engine.name(), "server": engine.host(), "complete": true, "error": null}),
                "{ran}"
            );
            assert_eq!(ran.the("header")["scope"]["partial"], false);

            // An engine is as good as a cluster: its inventory alone is decided on, and what a container was made of stays.
            let again = run_with(&engine.host(), |tool| tool.args(["--name", "build-1"])).succeeds();
            assert_eq!(source(&again)["name"], "build-1");
            let inventory = temporary();
            fs::write(inventory.path().join("in-use.jsonl"), again.stdout_bytes()).unwrap();
            let listed = Tool::new("reg-list").arg(registry.host()).run().succeeds();
            let select = ["--in-use", "in-use.jsonl", "--min-in-use", "1", "--delete-untagged", "--delete-rest", "--all"];
            let plan = Tool::new("reg-select").args(select).in_folder(inventory.path()).stdin(listed.stdout()).run().succeeds();
            let held = |digest: &str| {
                let records = plan.records_of("manifest");
                let record = records.iter().find(|record| record["digest"] == digest).unwrap_or_else(|| panic!("{digest} in\n{plan}"));
                record["verdict"]["action"] == "keep"
            };
            assert!(held(&one.digest) && held(&two.digest) && held(&index.digest), "{plan}");
        }

        #[test]
        fn an_engine_is_reached_over_tls_as_docker_reaches_it() {
            let registry = Registry::start();
            let engine = Engine::start_with_tls();
            image("1").tag("1").push(&registry, "team/app");
            let app = engine.pull(&registry, "team/app:1");
            engine.create("web", &app, &[]);
            let certificates = engine.certificates();
            let verified =
                |folder: &Path| run_with(&engine.address(), |tool| tool.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", folder));
            let ran = verified(certificates.path()).succeeds();
            assert_eq!((source(&ran)["server"].as_str(), super::uses(&ran).len()), (Some(&*engine.address()), 1), "{ran}");
            // The same, kept in a context of docker's.
            let id = "c0ffee";
            let meta =
                json!({"Name": "build", "Metadata": {}, "Endpoints": {"docker": {"Host": engine.address(), "SkipTLSVerify": false}}});
            let mut in_context = tool().args(["--from", "docker"]).env("DOCKER_CONTEXT", "build");
            in_context = in_context.home_file(&format!(".docker/contexts/meta/{id}/meta.json"), meta.to_string());
            for name in ["ca.pem", "cert.pem", "key.pem"] {
                let content = fs::read(certificates.path().join(name)).unwrap();
                in_context = in_context.home_file(&format!(".docker/contexts/tls/{id}/docker/{name}"), content);
            }
            assert_eq!(super::uses(&in_context.run().succeeds()), super::uses(&ran));
            // Without a certificate the engine refuses, without its authority we do, and plain HTTP is none of both.
            fs::remove_file(certificates.path().join("key.pem")).unwrap();
            is_incomplete(verified(certificates.path()), "is not reached");
            fs::remove_file(certificates.path().join("ca.pem")).unwrap();
            is_incomplete(verified(certificates.path()), "is not reached");
            is_incomplete(run(&engine.address()), "is no container engine that answers");
            run_with(&engine.address(), |tool| tool.env("DOCKER_TLS", "1"))
                .status(2)
                .stderr_has("set DOCKER_TLS_VERIFY=1")
                .stdout_is_empty();
        }

        #[test]
        fn an_engine_without_containers_is_doubted() {
            let engine = Engine::start();
            let reason = "has no containers at all: is this the engine that is meant?";
            let ran = is_incomplete(run(&engine.host()), reason);
            assert_eq!(source(&ran)["name"], engine.name().as_str());
        }
    }

    /// Engines that answer as others once did. The files hold the answers byte for byte, but for what nobody asks for.
    mod recorded {
        use super::*;

        /// Serves the answers of a file, each under its version of the API.
        fn engine(recorded: &str) -> ScriptedServer {
            engine_but(recorded, |_| None)
        }

        /// The same, but for what this function answers.
        fn engine_but(recorded: &str, instead: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> ScriptedServer {
            let answers: Value = serde_json::from_str(recorded).unwrap();
            let version = answers["/_ping"]["headers"]["Api-Version"].as_str().or(answers["/_ping"]["headers"]["API-Version"].as_str());
            let version = version.expect("an engine tells its version").to_owned();
            let server = ScriptedServer::start();
            server.handle(instead);
            server.handle(move |request| {
                // An engine answers every version up to its own, and in the same words.
                let path = match request.target.strip_prefix("/v1.") {
                    Some(rest) => {
                        let (minor, _) = rest.split_once('/')?;
                        let newest: u32 = version.strip_prefix("1.")?.parse().ok()?;
                        assert!(minor.parse::<u32>().unwrap() <= newest, "{}", request.line());
                        &rest[minor.len()..]
                    }
                    None => &request.target,
                };
                let answer = answers.get(path)?;
                let status = u16::try_from(answer["status"].as_u64()?).unwrap();
                let mut response = match &answer["body"] {
                    Value::String(text) => Response::text(status, text),
                    json => Response::json(status, json.clone()),
                };
                for (name, value) in answer["headers"].as_object().into_iter().flatten() {
                    response = response.header(name, value.as_str().unwrap());
                }
                Some(response)
            });
            server
        }

        fn run_on(recorded: &str) -> (ScriptedServer, Ran) {
            let server = engine(recorded);
            let ran = run(&format!("tcp://{}", server.host()));
            assert!(server.requests().iter().all(|request| request.method == "GET"));
            (server, ran.succeeds())
        }

        const DOCKER_20_10: &str = include_str!("engines/docker-20.10.json");
        const DOCKER_29: &str = include_str!("engines/docker-29.json");
        const PODMAN_4_3: &str = include_str!("engines/podman-4.3.json");

        #[test]
        fn docker_with_digests_of_configs_for_ids() {
            let (server, ran) = run_on(DOCKER_20_10);
            let expected = [
                "-/Container/by-id container 127.0.0.1:5000/team/app@b1f3 b1f3 c242 1 by-id",
                "-/Container/by-id container 127.0.0.1:5000/team/multi@b069 b069 c242 1 by-id",
                "-/Container/job container 127.0.0.1:5000/team/app:2 b1f3 c242 1 (1 finished) job",
                "-/Container/multi container 127.0.0.1:5000/team/multi:1 b069 c242 1 multi",
                "-/Container/old container 127.0.0.1:5000/team/roll:1 508c 0954 1 old",
                "-/Container/tagged container 127.0.0.1:5000/team/app@c70f c70f 097f 1 tagged",
                "-/Container/tagged container registry.example.com/mirror/app:9 - 097f 1 tagged",
                // What a rollback of the service brings back, and what it runs.
                "shop/Service/api history 127.0.0.1:5000/team/app:1@c70f - - 0 -",
                "shop/Service/api container 127.0.0.1:5000/team/app:2@b1f3 - - 0 -",
                "shop/Service/api container 127.0.0.1:5000/team/app:2@b1f3 b1f3 c242 1 shop_api.1.u82xyqmjj4ithrcn2c4zrygiu",
                "shop/Service/web container 127.0.0.1:5000/team/app:1 c70f 097f 1 shop-web-1",
            ];
            assert_eq!(uses(&ran), expected);
            assert_eq!(
                source(&ran),
                json!({"kind": "docker", "name": "vm", "server": format!("tcp://{}", server.host()), "complete": true, "error": null})
            );
            let ran = ran.stderr_has("vm: container nameless runs sha256:4f328cf7").stderr_has("an image without a name");
            assert!(!ran.stdout().contains("nameless"), "{ran}");
        }

        #[test]
        fn docker_with_digests_of_manifests_for_ids() {
            let (_, ran) = run_on(DOCKER_29);
            let expected = [
                "-/Container/by-id container 127.0.0.1:5000/team/multi@b069 b069 - 1 by-id",
                "-/Container/job container 127.0.0.1:5000/team/app:2 b1f3 - 1 job",
                "-/Container/multi container 127.0.0.1:5000/team/multi:1 b069 - 1 multi",
                "-/Container/old container 127.0.0.1:5000/team/roll:1 508c - 1 old",
                "-/Container/tagged container registry.example.com/mirror/app:9 c70f - 1 tagged",
                "-/Container/volumes container 127.0.0.1:5000/team/app:1 c70f - 1 volumes",
                "-/Container/volumes imageVolume 127.0.0.1:5000/team/app:2 - - 1 volumes",
                "shop/Service/api history 127.0.0.1:5000/team/app:1@c70f - - 0 -",
                "shop/Service/api container 127.0.0.1:5000/team/app:2@b1f3 - - 0 -",
                "shop/Service/api container 127.0.0.1:5000/team/app:2@b1f3 b1f3 - 1 shop_api.1.xoml9hgme468eb1s1fz5zk64l",
                "shop/Service/web container 127.0.0.1:5000/team/app:1 c70f - 1 shop-web-1",
            ];
            assert_eq!(uses(&ran), expected);
            ran.stderr_has("vm: container nameless runs sha256:");
        }

        #[test]
        fn podman() {
            let (_, ran) = run_on(PODMAN_4_3);
            let expected = [
                "-/Container/by-id container 127.0.0.1:5000/team/multi:1 b069 c242 1 by-id",
                "-/Container/by-id container 127.0.0.1:5000/team/multi:1 b1f3 c242 1 by-id",
                "-/Container/job container 127.0.0.1:5000/team/app:2 b069 c242 1 (1 finished) job",
                "-/Container/job container 127.0.0.1:5000/team/app:2 b1f3 c242 1 (1 finished) job",
                "-/Container/multi container 127.0.0.1:5000/team/multi:1 b069 c242 1 multi",
                "-/Container/multi container 127.0.0.1:5000/team/multi:1 b1f3 c242 1 multi",
                // Podman forgets the digests of an image whose tag moved on; its config is known.
                "-/Container/old container 127.0.0.1:5000/team/roll:1 - 0954 1 old",
                "-/Container/tagged container registry.example.com/mirror/app:9 c70f 097f 1 tagged",
                "shop/Service/web container 127.0.0.1:5000/team/app:1 c70f 097f 1 shop-web-1",
            ];
            assert_eq!(uses(&ran), expected);
            ran.stderr_has("vm: container nameless runs sha256:");
        }

        #[test]
        fn what_is_gone_in_between_is_no_problem_and_what_fails_is_one() {
            let broken = |path: &'static str, response: Response| {
                let instead = move |request: &Request| request.path().ends_with(path).then(|| response.clone());
                let server = engine_but(DOCKER_20_10, instead);
                run(&format!("tcp://{}", server.host()))
            };
            let gone = || Response::json(404, json!({"message": "No such thing"}));
            let sick = || Response::json(500, json!({"message": "out of\nmemory"}));
            const OLD: &str = "/containers/1f1e385107e1919d23536d5207c3b4150643d4991b191e390c2b5fcb66d6daf1/json";
            const IMAGE: &str = "/images/sha256:097fb27f1df62329e1726f0e061b6a40d4d5841425cccb1008039cef3444665f/json";
            // A container that is removed meanwhile; an image that was removed under one.
            let ran = broken(OLD, gone()).succeeds();
            assert!(uses(&ran).contains(&"-/Container/old container 127.0.0.1:5000/team/roll@508c 508c 0954 1 old".to_owned()), "{ran}");
            let ran = broken(IMAGE, gone()).succeeds();
            assert!(uses(&ran).contains(&"shop/Service/web container 127.0.0.1:5000/team/app:1 - 097f 1 shop-web-1".to_owned()), "{ran}");
            for path in [OLD, IMAGE, "/services", "/info", "/containers/json"] {
                let ran = is_incomplete(broken(path, sick()), "500 Internal Server Error: out of memory");
                assert_eq!(uses(&ran).is_empty(), ["/info", "/containers/json"].contains(&path), "{ran}");
            }
            is_incomplete(broken("/containers/json", Response::json(200, json!({"x": 1}))), "the answer is not what an engine says");
            is_incomplete(broken("/_ping", Response::text(200, "OK").header("Api-Version", "1.9")), "speaks version 1.9 of the Docker API");
            is_incomplete(broken("/_ping", Response::text(200, "hello")), "answers, and is no container engine");
        }

        #[test]
        fn a_worker_of_a_swarm_says_that_others_know_its_services() {
            let answers: Value = serde_json::from_str(DOCKER_20_10).unwrap();
            let mut info = answers["/info"]["body"].clone();
            info["Swarm"]["ControlAvailable"] = json!(false);
            let worker =
                engine_but(DOCKER_20_10, move |request| request.path().ends_with("/info").then(|| Response::json(200, info.clone())));
            let ran = run(&format!("tcp://{}", worker.host())).succeeds().stderr_has("vm: is a worker of a Swarm");
            assert_eq!(worker.count("GET", "/v1.41/services"), 0, "{ran}");
        }
    }

    #[test]
    fn what_is_no_engine_is_said() {
        let folder = temporary();
        let socket = folder.path().join("engine.sock");
        let host = format!("unix://{}", socket.display());
        let ran = is_incomplete(run(&host), "there is no such socket: is the engine running?");
        assert_eq!(source(&ran)["name"], "docker");
        assert!(ran.stderr().contains(&format!("docker: {host}: there is no such socket")), "{ran}");
        // One that is for others; root may use all, so root asks as nobody.
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o000)).unwrap();
        let asked = shell(
            "[ $(id -u) != 0 ] && exec k8s-images --from docker
            install -m 755 \"$(type -P k8s-images)\" tool && chmod 755 . && exec setpriv --reuid=65534 --regid=65534 --clear-groups ./tool --from docker",
        );
        is_incomplete(asked.env("DOCKER_HOST", &host).run(), "permission denied: the socket is for root and the group that it belongs to");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // A socket that an engine left behind.
        let socket = folder.path().join("left.sock");
        let host = format!("unix://{}", socket.display());
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        is_incomplete(run(&host), "nobody listens at the socket");
        let stranger = ScriptedServer::start();
        is_incomplete(
            run(&format!("tcp://{}", stranger.host())),
            "is no container engine that answers: GET /_ping: 404 Not Found: 404 page not found",
        );
        is_incomplete(run(&format!("tcp://127.0.0.1:{}", ports::free_port())), "is not reached");
        let silent = ScriptedServer::start();
        silent.on("GET", "/_ping", Response::close_without_answer());
        is_incomplete(run(&format!("tcp://{}", silent.host())), "is not reached");
    }

    #[test]
    fn the_engine_that_is_meant_is_never_guessed() {
        for (host, reason) in [
            (
                "ssh://me@build.example.com",
                "ssh -fnNT -L /tmp/engine.sock:/var/run/docker.sock me@build.example.com && DOCKER_HOST=unix:///tmp/engine.sock k8s-images --from docker",
            ),
            ("npipe:////./pipe/docker_engine", "DOCKER_HOST is npipe"),
            ("fd://", "only unix://, tcp:// and http(s):// are asked"),
        ] {
            run(host).status(2).stderr_has(reason).stdout_is_empty();
        }
        let server = ScriptedServer::start();
        let meta = |host: &str, skip: bool| {
            json!({"Name": "build", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}}}).to_string()
        };
        let url = format!("tcp://{}", server.host());
        let plain = || tool().args(["--from", "docker"]);
        let with_meta = |meta: String| plain().home_file(".docker/contexts/meta/abc/meta.json", meta);
        // The context that docker's configuration names, and the one of the environment before it.
        let current = |name: &str| json!({"auths": {}, "currentContext": name}).to_string();
        let ran = with_meta(meta(&url, false)).home_file(".docker/config.json", current("build")).run();
        assert_eq!(source(&ran)["server"], url.as_str(), "{ran}");
        let ran = with_meta(meta(&url, false)).home_file(".docker/config.json", current("other")).env("DOCKER_CONTEXT", "build").run();
        assert_eq!(source(&ran)["server"], url.as_str(), "{ran}");
        let ran = plain()
            .home_file("elsewhere/config.json", current("build"))
            .home_file("elsewhere/contexts/meta/abc/meta.json", meta(&url, false));
        let elsewhere = ran.home().join("elsewhere");
        assert_eq!(source(&ran.env("DOCKER_CONFIG", elsewhere).run())["server"], url.as_str());
        // DOCKER_HOST is before all of them, and the default is docker's.
        let ran = with_meta(meta("tcp://127.0.0.1:1", false)).env("DOCKER_CONTEXT", "build").env("DOCKER_HOST", &url).run();
        assert_eq!(source(&ran)["server"], url.as_str(), "{ran}");
        for (tool, reason) in [
            (plain().env("DOCKER_CONTEXT", "build"), "docker's context build is not in"),
            (plain().home_file(".docker/config.json", current("build")), "docker's context build is not in"),
            (plain().home_file(".docker/config.json", "{"), "say it by DOCKER_HOST"),
            (with_meta("{".to_owned()).env("DOCKER_CONTEXT", "build"), "is not what docker writes"),
            (with_meta(meta("ssh://host", false)).env("DOCKER_CONTEXT", "build"), "docker's context build is ssh://host"),
            (with_meta(meta(&url, true)).env("DOCKER_CONTEXT", "build"), "skips the verification of TLS"),
            (with_meta(json!({"Name": "build", "Endpoints": {}}).to_string()).env("DOCKER_CONTEXT", "build"), "names no engine of Docker"),
        ] {
            tool.run().status(2).stderr_has(reason).stdout_is_empty();
        }
        plain().arg("web1").run().status(2).stderr_has("what is web1?");
    }
}

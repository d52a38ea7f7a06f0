//! `k8s-images` on hosts without Kubernetes: Compose files and container engines in, `use` records out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::*;

fn tool() -> Tool {
    Tool::new("k8s-images")
}

/// Writes files below a new folder.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = temporary();
    for (path, content) in files {
        write(folder.path(), path, content);
    }
    folder
}

fn write(folder: &Path, path: &str, content: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

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

/// The one source in the header's scope.
#[track_caller]
fn source(ran: &Ran) -> Value {
    let sources = ran.the("header")["scope"]["sources"].as_array().unwrap().clone();
    assert_eq!(sources.len(), 1, "{ran}");
    sources.into_iter().next().unwrap()
}

/// Expects a source that is not complete, for a reason that the header and standard error give.
#[track_caller]
fn is_incomplete(ran: Ran, reason: &str) -> Ran {
    let ran = ran.status(1).stderr_has(reason);
    let source = source(&ran);
    assert_eq!(source["complete"], false, "{ran}");
    assert!(source["error"].as_str().unwrap().contains(reason), "{ran}");
    assert_eq!(ran.the("trailer")["complete"], false, "{ran}");
    ran
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
        assert_eq!(uses(&ran), ["shop/Service/web - container web:1", "else/Service/a - container a:never"]);
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
            ("services:\n  web: {image: a}\n  api: {image: {x: y}}\n", "compose.yaml, line 3: service api has no image and no build"),
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
        tool().args(["--from", "compose"]).run().status(2).stderr_has("docker compose config | k8s-images --from compose -");
        tool().args(["--from", "compose", "-", "-"]).run().status(2).stderr_has("named twice");
    }
}

//! How a server is reached and who one is there: proxies, names, certificates, plugins, impersonation; and that no secret is ever shown.

use serde_json::{Value, json};
use tests::ports::free_port;
use tests::*;

use super::quiet::{ALL, not_whole, quiet, sources, uses, whole};

fn tool(kubeconfig: &Kubeconfig) -> Tool {
    Tool::new("k8s-images").env("KUBECONFIG", kubeconfig.path())
}

/// The error of the only source.
#[track_caller]
fn error(ran: &Ran) -> String {
    ran.the("header")["scope"]["sources"][0]["error"].as_str().unwrap_or_else(|| panic!("nothing failed\n{ran}")).to_owned()
}

/// A server whose name only a proxy knows, and whose certificate is of another name.
fn far_away() -> Access {
    quiet().access().server("https://api.prod.invalid:6443").cluster("tls-server-name", json!("localhost"))
}

#[test]
fn proxies_lead_to_what_nobody_else_finds() {
    let tunnel = Tunnel::to(&quiet().url());
    let dead = format!("http://127.0.0.1:{}", free_port());
    let address = tunnel.url().replace("http://", "");
    for (access, variables) in [
        (far_away().proxy(&tunnel.url()), &[][..]),
        (far_away().proxy(&tunnel.socks5()), &[]),
        // What stands in the kubeconfig goes before the environment.
        (far_away().proxy(&tunnel.url()), &[("HTTPS_PROXY", &*dead), ("NO_PROXY", "*")]),
        (far_away(), &[("HTTPS_PROXY", &*tunnel.url()), ("NO_PROXY", "example.com,.prod.example.com,10.0.0.0/8")]),
        (far_away(), &[("https_proxy", &address), ("HTTP_PROXY", &dead), ("NO_PROXY", "api.prod.invalid:443")]),
        (far_away(), &[("HTTPS_PROXY", &tunnel.socks5())]),
    ] {
        let kubeconfig = Kubeconfig::new().context("prod", access);
        let ran = variables.iter().fold(tool(&kubeconfig), |tool, (name, value)| tool.env(name, value)).run().succeeds();
        sources(&ran, &[whole("prod", "https://api.prod.invalid:6443")]);
        uses(&ran, &[("prod", ALL)]);
    }
    assert_eq!(tunnel.targets(), ["api.prod.invalid:6443"]);
}

#[test]
fn no_proxy_leads_to_what_is_near() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let port = quiet().url().rsplit(':').next().unwrap().to_owned();
    // This machine, under an address that is not the loopback's.
    let any = quiet().access().server(&format!("https://0.0.0.0:{port}")).cluster("tls-server-name", json!("127.0.0.1"));
    let near = quiet().access();
    for (access, no_proxy, succeeds) in [
        (&any, "", false),
        (&any, "1.2.3.4,0.0.0.0", true),
        (&any, &*format!("0.0.0.0:{port}"), true),
        (&any, "0.0.0.0:1", false),
        (&any, "*", true),
        // No proxy leads to this machine, as in Go.
        (&near, "", true),
    ] {
        let kubeconfig = Kubeconfig::new().context("prod", access.clone());
        let ran = tool(&kubeconfig).env("HTTPS_PROXY", &dead).env("NO_PROXY", no_proxy).run();
        assert_eq!(ran.code(), Some(if succeeds { 0 } else { 1 }), "{no_proxy}\n{ran}");
        if !succeeds {
            assert!(error(&ran).starts_with("the server cannot be reached: "), "{ran}");
        }
    }
}

#[test]
fn a_proxy_is_shown_its_password_and_nobody_else_is() {
    let tunnel = Tunnel::to(&quiet().url());
    let url = tunnel.url().replace("http://", "http://me:s3cret%40proxy@");
    let access = far_away();
    for (access, variable) in [(access.clone().proxy(&url), ""), (access, &*url)] {
        let kubeconfig = Kubeconfig::new().context("prod", access);
        let ran = tool(&kubeconfig).env("HTTPS_PROXY", variable).arg("--verbose").run().succeeds().stderr_lacks("s3cret");
        assert!(!ran.stdout().contains("s3cret"), "{ran}");
    }
    // "me:s3cret@proxy"
    assert_eq!(tunnel.authorizations(), ["Basic bWU6czNjcmV0QHByb3h5"]);
    let closed = format!("http://me:s3cret@127.0.0.1:{}", free_port());
    for proxy in [&*closed, "socks4://me:s3cret@127.0.0.1:1", "http://me:s3cret@", "socks5://me:s3cret@127.0.0.1:1"] {
        let kubeconfig = Kubeconfig::new().context("prod", far_away().proxy(proxy));
        let ran = tool(&kubeconfig).arg("--verbose").run().status(1).stderr_lacks("s3cret");
        assert!(!ran.stdout().contains("s3cret") && !error(&ran).is_empty(), "{ran}");
    }
}

#[test]
fn a_certificate_is_looked_at() {
    let by_name = quiet().url().replace("127.0.0.1", "localhost");
    let url = quiet().url();
    let strange = |access: Access| access.cluster("tls-server-name", json!("api.example.com"));
    let kubeconfig = Kubeconfig::new()
        .context("name", quiet().access().server(&by_name))
        .context("strange", strange(quiet().access()))
        .context("unsafe", quiet().access().cluster("certificate-authority", Value::Null).cluster("insecure-skip-tls-verify", json!(true)));
    let ran = tool(&kubeconfig).arg("--quiet").run().status(1);
    let sources = &ran.the("header")["scope"]["sources"];
    assert_eq!((&sources[0], &sources[2]), (&whole("name", &by_name), &whole("unsafe", &url)), "{ran}");
    let why = sources[1]["error"].as_str().unwrap();
    assert!(why.contains("certificate not valid for name \"api.example.com\""), "{ran}");
    uses(&ran, &[("name", ALL), ("unsafe", ALL)]);
    // Whoever wants to hear little must still know whom he trusts.
    ran.stderr_has(
        "k8s-images: unsafe: the server's certificate is not looked at (insecure-skip-tls-verify): anybody could answer in its place\n",
    );
}

/// An answer of a credential plugin with this token.
fn credential(token: &str) -> String {
    json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"}})
    .to_string()
}

#[test]
fn a_plugin_is_asked_once_and_told_what_it_needs() {
    let mut exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "./login", "args": ["--role", "a b"], "interactiveMode": "IfAvailable",
        "env": [{"name": "PROFILE", "value": "prod"}], "provideClusterInfo": true,
    });
    let proxy = Proxy::before_cluster(quiet());
    // A command with a slash begins at the folder of its kubeconfig.
    let access = |exec: &Value| quiet().access().anonymous().server(&proxy.url()).user("exec", exec.clone());
    let folder = temporary();
    Kubeconfig::new().context("prod", access(&exec)).write_to(&folder.path().join("config"));
    exec["command"] = json!("");
    let tool = Tool::new("k8s-images")
        .program(
            "login",
            "echo \"$PROFILE|$*|$KUBERNETES_EXEC_INFO\" >> \"$HOME/asked\"; cat >> \"$HOME/read\"; echo note >&2; cat \"$HOME/credential\"",
        )
        .home_file("credential", credential(&quiet().token()))
        .env("KUBECONFIG", folder.path().join("config"));
    let home = tool.home().to_owned();
    std::os::unix::fs::symlink(home.join("bin/login"), folder.path().join("login")).unwrap();
    // Standard input is somebody else's.
    let ran = tool.args(["--from", "lines", "-", "--context", "prod"]).stdin("registry.example.com/team/listed:1\n").run().succeeds();
    assert_eq!(ran.records_of("use").len(), 4, "{ran}");
    assert_eq!(std::fs::read_to_string(home.join("read")).unwrap(), "", "{ran}");
    let asked = std::fs::read_to_string(home.join("asked")).unwrap();
    let asked: Vec<&str> = asked.lines().collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let mut words = asked[0].splitn(3, '|');
    assert_eq!((words.next(), words.next()), (Some("prod"), Some("--role a b")));
    let info: Value = serde_json::from_str(words.next().unwrap()).unwrap();
    assert_eq!((&info["kind"], &info["apiVersion"]), (&json!("ExecCredential"), &json!("client.authentication.k8s.io/v1beta1")));
    assert_eq!((&info["spec"]["interactive"], &info["spec"]["cluster"]["server"]), (&json!(false), &json!(proxy.url())), "{info}");
}

#[test]
fn a_plugin_that_gives_nothing_is_told_without_what_it_printed() {
    let hint = "get it from https://example.com/login\n  and put it on PATH";
    let always = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "good", "interactiveMode": "Always"});
    let expired = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {}});
    let missing = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-login", "installHint": hint});
    let access = || quiet().access().anonymous();
    let kubeconfig = Kubeconfig::new()
        .context("prod", access().exec("good", &[]))
        .context("missing", access().user("exec", missing))
        .context("fails", access().exec("fails", &[]))
        .context("babbles", access().exec("babbles", &[]))
        .context("empty", access().exec("empty", &[]))
        .context("wrong", access().exec("wrong", &[]))
        .context("talks", access().user("exec", always));
    let ran = tool(&kubeconfig)
        .program("good", "cat \"$HOME/good\"")
        .program("fails", "echo s3cret; echo 'your session has ended:' >&2; echo 'log in again' >&2; exit 1")
        .program("babbles", "echo 'Welcome! s3cret'")
        .program("empty", "cat \"$HOME/empty\"")
        .program("wrong", "cat \"$HOME/wrong\"")
        .home_file("good", credential(&quiet().token()))
        .home_file("empty", expired.to_string())
        .home_file("wrong", credential("s3cret\n"))
        .arg("--verbose")
        .run()
        .status(1)
        .stderr_lacks("s3cret");
    let url = quiet().url();
    let told = |name: &str, what: &str| format!("the credential plugin {name} of the user {name} {what}");
    sources(
        &ran,
        &[
            whole("prod", &url),
            not_whole(
                "missing",
                &url,
                "the credential plugin no-such-login of the user missing is not there; its kubeconfig says: get it from https://example.com/login and put it on PATH",
            ),
            not_whole("fails", &url, &told("fails", "failed with exit status: 1")),
            not_whole("babbles", &url, &told("babbles", "printed something else than an ExecCredential")),
            not_whole("empty", &url, &told("empty", "printed an ExecCredential without a token and without a certificate")),
            not_whole("wrong", &url, "the token that a credential plugin gave the user wrong holds characters that no request can carry"),
            not_whole(
                "talks",
                &url,
                "the credential plugin good of the user talks wants to talk with somebody (interactiveMode: Always), and nobody is here: use a user that needs nobody",
            ),
        ],
    );
    uses(&ran, &[("prod", ALL)]);
    ran.stderr_has("k8s-images: fails: your session has ended:\n").stderr_has("k8s-images: fails: log in again\n");
}

#[test]
fn one_acts_as_another_with_the_rights_of_both() {
    let user = quiet().user();
    let kubeconfig = Kubeconfig::new()
        .context("prod", quiet().access())
        .context("jane", quiet().access().impersonate("jane", &["system:masters"]))
        .context("limited", quiet().access().token(&user.token));
    let run = |arguments: &[&str]| tool(&kubeconfig).args(arguments).run();
    uses(&run(&["--context", "jane"]).succeeds(), &[("jane", ALL)]);
    // A flag goes before the kubeconfig, but leaves it its groups, as in kubectl.
    uses(&run(&["--context", "jane", "--as", "joe"]).succeeds(), &[("jane", ALL)]);
    let path = kubeconfig.path().display().to_string();
    let said = quiet().kubectl(&["--kubeconfig", &path, "--context", "jane", "--as", "joe", "auth", "whoami", "-o", "json"]);
    let who = &serde_json::from_str::<Value>(&said).unwrap()["status"]["userInfo"];
    assert_eq!((&who["username"], &who["groups"][0]), (&json!("joe"), &json!("system:masters")));
    let ran = run(&["--context", "jane", "--as", "joe", "--as-group", "other"]).status(1);
    assert!(error(&ran).contains("User \"joe\" cannot list"), "{ran}");
    let ran = run(&["--context", "prod", "--as", "joe"]).status(1);
    assert!(error(&ran).starts_with("may not list pods: 403 Forbidden: pods is forbidden: User \"joe\" cannot list"), "{ran}");
    uses(&run(&["--context", "prod", "--as", "joe", "--as-group", "a", "--as-group", "system:masters"]).succeeds(), &[("prod", ALL)]);
    // To act as another is a right.
    let ran = run(&["--context", "limited", "--as", "joe"]).status(1);
    let expected = format!("users \"joe\" is forbidden: User \"{}\" cannot impersonate resource \"users\"", user.name);
    assert!(error(&ran).contains(&expected), "{ran}");
    run(&["--as-group", "a"]).status(2).stdout_is_empty().stderr_has("--as");
}

/// Tokens, passwords, what a plugin printed: in no record and no sentence, whatever goes wrong and however much is to be said.
#[test]
fn no_secret_is_shown() {
    let proxy = Proxy::before_cluster(quiet());
    let token = quiet().token();
    let access = || Access::to(&proxy.url());
    let echo = ScriptedServer::start();
    echo.fallback(Response::json(500, json!({"kind": "Status", "reason": "InternalError", "message": "out of order"})));
    let kubeconfig = Kubeconfig::new()
        .context("token", access().token(&token))
        .context("wrong", access().token("s3cret-token"))
        .context("lines", access().token("s3cret\ntoken"))
        .context("basic", access().user("username", json!("me")).user("password", json!("s3cret-password")))
        .context("url", Access::to(&proxy.url().replace("http://", "http://me:s3cret-url@")).token(&token))
        .context("no-url", Access::to("https://me:s3cret-url@[").token(&token))
        .context(
            "certificate",
            quiet().access().anonymous().user("client-certificate-data", json!("czNjcmV0")).user("client-key-data", json!("czNjcmV0")),
        )
        .context(
            "not-base64",
            quiet().access().anonymous().user("client-certificate-data", json!("s3cret!")).user("client-key-data", json!("s3cret!")),
        )
        .context("type", access().token(&token).user("as-groups", json!({"s3cret": 1})).user("as", json!("x")))
        .context("error", Access::to(&echo.url()).token("s3cret-token"))
        .context("plugin", access().exec("plugin", &["s3cret-argument"]))
        .context(
            "oidc",
            access()
                .user("auth-provider", json!({"name": "oidc", "config": {"id-token": "s3cret.s3cret.s3cret", "refresh-token": "s3cret"}})),
        );
    for arguments in [&["--verbose"][..], &[], &["--format", "table", "--verbose"]] {
        let ran = tool(&kubeconfig)
            .program("plugin", "cat credential.json")
            .home_file("credential.json", credential(&token))
            .env("RUST_LOG", "trace")
            .args(arguments)
            .run()
            .status(1);
        for secret in ["s3cret", "czNjcmV0", &token] {
            let shown = [ran.stdout(), ran.stderr().to_owned()].iter().any(|text| text.contains(secret));
            assert!(!shown, "{secret} is shown\n{ran}");
        }
    }
    let ran = tool(&kubeconfig).args(["--context", "token", "--verbose"]).run().succeeds();
    ran.stderr_has("/api/v1/pods");
}

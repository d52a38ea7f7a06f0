//! What configurations and variables come to; each rule was seen at work in the registry itself.

use super::*;

const FILE: &str = "version: 0.1\nstorage: {filesystem: {rootdirectory: /file}, cache: {blobdescriptor: inmemory}}\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    Config::parse(text, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn storage(storage: &str, variables: &[(&str, &str)]) -> Result<Config, Error> {
    parse(&format!("version: 0.1\nstorage: {storage}\n"), variables)
}

/// The root, or the error as people read it.
fn root_of(result: Result<Config, Error>) -> String {
    result.map_or_else(|error| format!("error: {error}"), |config| config.root.display().to_string())
}

#[test]
fn variables_overwrite_the_file_in_the_order_of_their_names() {
    const ROOT: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "/file"),
        (&[(ROOT, "/env")], "/env"),
        // Whatever the order in which they come.
        (&[(ROOT, "/leaf"), ("REGISTRY_STORAGE", "filesystem")], "/leaf"),
        (&[("REGISTRY_STORAGE", "filesystem")], "/var/lib/registry"),
        (&[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /map}}")], "/map"),
        (&[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /map}")], "/map"),
        (&[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /map}"), (ROOT, "/leaf")], "/leaf"),
        (&[("REGISTRY_STORAGE_FILESYSTEM", "{}")], "/var/lib/registry"),
        (&[("REGISTRY_STORAGE_FILESYSTEM", "")], "/var/lib/registry"),
        // Names are in capitals: others are of no struct, and in a map they are new.
        (&[("REGISTRY_storage_filesystem_rootdirectory", "/x")], "/file"),
        (&[("registry_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/x")], "/file"),
        (&[("REGISTRY_STORAGE_FILESYSTEM_rootDirectory", "/x")], "/x"),
        (&[("REGISTRY_STORAGE_filesystem_ROOTDIRECTORY", "/x")], "/x"),
        (&[("REGISTRY_STORAGE_filesystem_MAXTHREADS", "50")], "/var/lib/registry"),
        // What no part is called, and what is no variable of a registry.
        (&[("REGISTRY_PORT", "tcp://10.0.0.1:5000"), ("REGISTRY_LOG_LEVEL", "debug"), ("REGISTRY_HTTP_SERVICE_HOST", "::")], "/file"),
        (&[("REGISTRY_CONFIGURATION_PATH", "/etc/other.yml"), ("REGISTRY_", "x"), ("REGISTRY", "y"), ("XREGISTRY_STORAGE", "s3")], "/file"),
        (&[("REG_STORAGE", "s3"), ("STORAGE", "s3"), ("REGISTRY_VERSION", "0.2")], "/file"),
        // The value is YAML.
        (&[(ROOT, "'/quoted'")], "/quoted"),
        (&[(ROOT, "/with # a comment")], "/with"),
        (&[(ROOT, "5000")], "5000"),
        (&[(ROOT, "")], "error: storage.filesystem.rootdirectory has no value that can be used"),
        (&[(ROOT, "[/a]")], "error: storage.filesystem.rootdirectory has no value that can be used"),
    ];
    for (variables, expected) in cases {
        assert_eq!(root_of(parse(FILE, variables)), *expected, "{variables:?}");
    }
    let unreadable = parse(FILE, &[(ROOT, "a: b: c")]);
    assert_eq!(unreadable, Err(Error::Variable { name: ROOT.into() }));
    let no_mapping = parse(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "/x")]);
    assert_eq!(no_mapping, Err(Error::Variable { name: "REGISTRY_STORAGE_FILESYSTEM".into() }));
}

#[test]
fn what_is_no_configuration_is_told_by_its_line() {
    let cases = [
        ("", Error::Version),
        ("# nothing\n", Error::Version),
        ("storage: filesystem\n", Error::Version),
        ("version: 0.2\nstorage: filesystem\n", Error::Version),
        ("version: 0.1\n", Error::NoStorage),
        ("version: 0.1\nstorage:\n", Error::NoStorage),
        ("version: 0.1\nstorage: {delete: {enabled: true}}\n", Error::NoStorage),
        ("version: 0.1\nstorage: [filesystem]\n", Error::File { line: Some(2) }),
        ("version: 0.1\nstorage:\n  filesystem: /x\n", Error::File { line: Some(3) }),
        ("version: 0.1\nhttp: {addr: {}}\n", Error::File { line: Some(2) }),
        ("- version: 0.1\n", Error::File { line: Some(1) }),
        ("{\"manifests\": [}", Error::File { line: Some(1) }),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text, &[]), Err(expected), "{text}");
    }
    // As the registry itself: of two keys the last counts, and the variables give what the file lacks.
    assert_eq!(root_of(parse(&format!("{FILE}storage: {{filesystem: {{rootdirectory: /a, rootdirectory: /b}}}}\n"), &[])), "/b");
    assert_eq!(root_of(parse("version: 0.1\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/x")])), "/x");
    assert_eq!(root_of(parse("\u{feff}version: '0.1'\nstorage: filesystem\n", &[])), "/var/lib/registry");
    assert_eq!(root_of(parse("# a\n---\nversion: 0.1\nstorage:\n  filesystem:\n", &[])), "/var/lib/registry");
}

#[test]
fn one_driver_and_that_a_filesystem() {
    let driver = |name: &str| Err(Error::Refused(Refusal::Driver { name: name.to_owned() }));
    let two = || Err(Error::Refused(Refusal::TwoDrivers { names: vec!["filesystem".into(), "s3".into()] }));
    for name in ["inmemory", "s3", "s3aws", "azure", "gcs", "swift", "oss", "Filesystem"] {
        assert_eq!(storage(name, &[]), driver(name));
        assert_eq!(storage(&format!("{{{name}: {{}}, tag: {{concurrencylimit: 8}}, redirect: {{disable: true}}}}"), &[]), driver(name));
    }
    assert_eq!(storage("{filesystem: {}, s3: {bucket: b}}", &[]), two());
    assert_eq!(storage("filesystem", &[("REGISTRY_STORAGE_S3_BUCKET", "b")]), two());
    assert_eq!(storage("filesystem", &[("REGISTRY_STORAGE_S3_USERAGENT_X", "b")]), two());
    assert_eq!(storage("filesystem", &[("REGISTRY_STORAGE", "s3"), ("REGISTRY_STORAGE_S3_BUCKET", "b")]), driver("s3"));
    assert_eq!(root_of(storage("{s3: {bucket: b}}", &[("REGISTRY_STORAGE", "filesystem")])), "/var/lib/registry");
    // Such a file no registry starts with, whatever the variables say.
    assert_eq!(storage("{filesystem: {}, s3: {bucket: b}}", &[("REGISTRY_STORAGE", "filesystem")]), two());
}

#[test]
fn who_keeps_books_elsewhere_is_refused() {
    let with = |more: &str| parse(&format!("version: 0.1\nstorage: {{s3: {{}}, filesystem: {{}}}}\n{more}\n"), &[]);
    let refused = |result: Result<Config, Error>| match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    for more in [
        "auth: {token: {issuer: harbor-token-issuer}}",
        "auth: {htpasswd: {realm: harbor-registry-basic-realm, path: /etc/registry/passwd}}",
        "notifications: {endpoints: [{name: other}, {name: harbor, disabled: false}]}",
    ] {
        assert!(matches!(refused(with(more)), Refusal::Harbor { .. }), "{more}");
    }
    for enabled in ["true", "prefer", "'true'", "yes"] {
        assert!(matches!(refused(with(&format!("database: {{enabled: {enabled}}}"))), Refusal::GitLabDatabase { .. }), "{enabled}");
    }
    for (url, shown) in [
        ("https://registry-1.docker.io", "https://registry-1.docker.io"),
        ("https://user:p@ss@mirror.test/x", "https://mirror.test/x"),
        ("user:pass@mirror.test", "mirror.test"),
    ] {
        let proxy = format!("proxy: {{remoteurl: '{url}', ttl: 168h}}");
        assert_eq!(refused(with(&proxy)), Refusal::PullThroughCache { remote: Some(shown.to_owned()) });
    }
    for (name, value) in [
        ("REGISTRY_PROXY_REMOTEURL", "https://a.test"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "harbor"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS", "[{name: harbor}]"),
        ("REGISTRY_DATABASE_ENABLED", "true"),
        ("REGISTRY_AUTH_TOKEN_ISSUER", "harbor-token-issuer"),
    ] {
        refused(parse(FILE, &[(name, value)]));
    }
    let plain = "auth: silly\nproxy: {remoteurl: ''}\ndatabase: {enabled: false}\nnotifications: {endpoints: [{name: audit}]}\nredis:\n";
    assert_eq!(root_of(parse(&format!("{FILE}{plain}"), &[])), "/file");
}

#[test]
fn slices_are_set_by_index() {
    let notifications = "notifications: {endpoints: [{name: audit}]}\n";
    let harbor = |index: &str| {
        let name = format!("REGISTRY_NOTIFICATIONS_ENDPOINTS_{index}_NAME");
        parse(&format!("{FILE}{notifications}"), &[(&name, "harbor")])
    };
    for index in ["0", "1"] {
        assert!(matches!(harbor(index), Err(Error::Refused(Refusal::Harbor { .. }))), "{index}");
    }
    for index in ["2", "x", "-1", ""] {
        assert_eq!(root_of(harbor(index)), "/file", "{index}");
    }
}

#[test]
fn read_only_is_what_the_registry_would_hear() {
    let block = "{filesystem: {}, maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: false}}}";
    let readonly = |storage_text: &str, name: &str, value: &str| {
        let config = storage(storage_text, &[(name, value)]).unwrap();
        (config.readonly, config.ineffective)
    };
    const BELOW: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";
    for text in ["filesystem", block] {
        // With a block it is passed over; without one the registry does not start.
        assert_eq!(readonly(text, BELOW, "true"), (false, vec![BELOW.to_owned()]));
        assert_eq!(readonly(text, "REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"), (true, vec![]));
        assert_eq!(readonly(text, "REGISTRY_STORAGE_MAINTENANCE", "{readonly: {enabled: true}}"), (true, vec![]));
        assert_eq!(readonly(text, "REGISTRY_STORAGE_MAINTENANCE_READONLY", "true"), (false, vec![]));
    }
    assert!(storage("{filesystem: {}, maintenance: {readonly: {enabled: true}}}", &[]).unwrap().readonly);
    assert!(storage("{filesystem: {}, maintenance: {readonly: {enabled: yes}}}", &[]).unwrap().readonly);
}

#[test]
fn how_it_is_reached() {
    let config = parse("version: 0.1\nstorage: filesystem\nhttp: {addr: ':5000', prefix: /registry/, secret: 1}\n", &[]).unwrap();
    assert_eq!((config.address.as_deref(), &*config.prefix, config.tls), (Some(":5000"), "/registry/", false));
    assert!(!config.deletion_enabled);
    let cases: &[(&str, &str, Option<&str>, bool)] = &[
        ("REGISTRY_HTTP_ADDR", "127.0.0.1:80", Some("127.0.0.1:80"), false),
        ("REGISTRY_HTTP_NET", "unix", None, false),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/tls.crt", Some(":5000"), true),
        ("REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE", "/cache", Some(":5000"), true),
        ("REGISTRY_HTTP_TLS", "{certificate: /tls.crt}", Some(":5000"), true),
        ("REGISTRY_HTTP", "", None, false),
    ];
    for (name, value, address, tls) in cases {
        let config = parse(&format!("{FILE}http: {{addr: ':5000'}}\n"), &[(name, value)]).unwrap();
        assert_eq!((config.address.as_deref(), config.tls), (*address, *tls), "{name}");
    }
    assert!(parse(FILE, &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")]).unwrap().deletion_enabled);
    assert!(!parse(FILE, &[("REGISTRY_STORAGE_DELETE_ENABLED", "'true'")]).unwrap().deletion_enabled);
}

#[test]
fn where_descriptors_are_cached() {
    let of = |cache: &str, variables: &[(&str, &str)]| storage(&format!("{{filesystem: {{}}, cache: {cache}}}"), variables).unwrap().cache;
    assert_eq!(storage("filesystem", &[]).unwrap().cache, Cache::None);
    let cases = [
        ("{blobdescriptor: inmemory}", Cache::InMemory),
        ("{layerinfo: inmemory}", Cache::InMemory),
        ("{blobdescriptor: inmemory, layerinfo: redis}", Cache::InMemory),
        ("{blobdescriptor: null, layerinfo: inmemory}", Cache::None),
        ("{blobdescriptor: inMemory}", Cache::None),
        ("{blobdescriptor: ''}", Cache::None),
        ("", Cache::None),
        ("{blobdescriptor: redis}", Cache::Redis(None)),
    ];
    for (cache, expected) in cases {
        assert_eq!(of(cache, &[]), expected, "{cache}");
    }
    assert_eq!(of("{blobdescriptor: inmemory}", &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "")]), Cache::None);
    assert_eq!(of("{}", &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "redis")]), Cache::Redis(None));
    assert_eq!(storage("filesystem", &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")]).unwrap().cache, Cache::InMemory);
}

#[test]
fn how_redis_is_reached() {
    let of = |redis: &str, variables: &[(&str, &str)]| {
        let text = format!("version: 0.1\nstorage: {{filesystem: {{}}, cache: {{blobdescriptor: redis}}}}\nredis: {redis}\n");
        match parse(&text, variables) {
            Ok(Config { cache: Cache::Redis(settings), .. }) => Ok(settings.map(|settings| *settings)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    };
    let plain = |address: &str| RedisSettings {
        addresses: vec![address.to_owned()],
        username: String::new(),
        password: Password(String::new()),
        database: 0,
        tls: None,
        sentinel: None,
    };
    assert_eq!(of("{addr: 'r:6379'}", &[]), Ok(Some(plain("r:6379"))));
    assert_eq!(of("{addrs: ['r:6379']}", &[]), Ok(Some(plain("r:6379"))));
    assert_eq!(of("{addr: 'r:6379', addrs: ['r:6379']}", &[]), Ok(Some(plain("r:6379"))));
    assert_eq!(of("{addr: 'a:6379', addrs: ['b:6379']}", &[]), Ok(None));
    assert_eq!(of("", &[("REGISTRY_REDIS_ADDR", "r:1")]), Ok(Some(plain("r:1"))));
    assert_eq!(of("", &[("REGISTRY_REDIS_ADDRS", "['r:1']")]), Ok(Some(plain("r:1"))));
    // An item of a list of texts cannot be set, though it is made.
    assert_eq!(of("", &[("REGISTRY_REDIS_ADDRS_0", "r:1")]), Ok(None));
    // Passwords are texts, whatever they look like.
    for (written, password) in [("012345", "012345"), ("1e5", "1e5"), ("yes", "yes"), ("'null'", "null"), ("~", ""), ("0x1F", "0x1F")] {
        let settings = of(&format!("{{addr: 'r:1', db: 3, password: {written}}}"), &[]).unwrap().unwrap();
        assert_eq!((settings.password.reveal(), settings.database), (password, 3));
        let settings = of("{addr: 'r:1', db: 3}", &[("REGISTRY_REDIS_PASSWORD", written), ("REGISTRY_REDIS_DB", "4")]).unwrap().unwrap();
        assert_eq!((settings.password.reveal(), settings.database), (password, 4));
        assert!(!format!("{settings:?}").contains(&format!("{password}\"")) || password.is_empty(), "{settings:?}");
    }
    assert_eq!(of("{addr: 'r:1', db: one}", &[]), Err(Error::Value { key: "redis.db" }));

    let sentinels = of("{addrs: ['a:1', 'b:1'], mastername: m, username: u, sentinelpassword: s}", &[]).unwrap().unwrap();
    assert_eq!(sentinels.sentinel.as_ref().map(|sentinel| (&*sentinel.master, sentinel.password.reveal())), Some(("m", "s")));
    assert!(!sentinels.is_cluster());
    assert!(of("{addrs: ['a:1', 'b:1']}", &[]).unwrap().unwrap().is_cluster());

    let tls = |tls: &str| of(&format!("{{addr: 'r:1', tls: {tls}}}"), &[]).unwrap().unwrap().tls;
    assert_eq!(tls("{enabled: true}"), Some(RedisTls::default()));
    assert_eq!(tls("{enabled: false}"), None);
    assert_eq!(tls("{rootcas: [/ca.crt]}").unwrap().authorities, [PathBuf::from("/ca.crt")]);
}

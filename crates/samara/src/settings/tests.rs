use super::*;
use proptest::prelude::*;
use std::io::Write;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a Origin {
    &loaded.origins[position(key).unwrap()]
}

#[test]
fn the_environment_stands_above_the_file_and_the_file_above_the_default() {
    let file = file("port = 7000\nlimit_up = '1M'\nbind = ['::1', '127.0.0.1']\n");
    let loaded = load(Some(file.path()), env(&[("SAMARA_PORT", "8000"), ("HOME", "x")])).unwrap();
    assert_eq!((loaded.settings.port, loaded.settings.limit_up), (Some(8000), Some(1 << 20)));
    assert_eq!(loaded.settings.bind.len(), 2);
    assert_eq!(origin(&loaded, "port"), &Origin::Env("SAMARA_PORT".to_owned()));
    assert_eq!(origin(&loaded, "limit-up"), &Origin::File(file.path().to_owned()));
    assert_eq!(origin(&loaded, "limit-down"), &Origin::Default);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let file = file("limt-up = '1M'\n");
    let failure = load(Some(file.path()), []).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.what.contains("unknown option `limt-up`"), "{failure}");
    assert!(failure.hint.unwrap().contains("did you mean `limit-up`?"));
}

#[test]
fn wrong_values_name_their_place() {
    for (text, expected) in [
        ("port = 70000", "`70000` is not a port"),
        ("limit-up = 'fast'", "not a rate"),
        ("bind = '10.0.0'", "neither an IP address"),
        ("sequential = 3", "not true or false"),
        ("max-peers = 0", "not a number from 1 to 100000"),
        ("network-threads = 65", "not a number from 1 to 64"),
        ("[output]\nx = 1", "not a table"),
        ("port = ", "1"),
    ] {
        let file = file(text);
        let failure = load(Some(file.path()), []).unwrap_err();
        assert!(failure.what.contains(expected), "{failure}");
        assert!(failure.what.contains(file.path().to_str().unwrap()), "{failure}");
    }
    let failure = load(None, env(&[("SAMARA_SEED_TIME", "soon")])).unwrap_err();
    assert!(failure.what.starts_with("$SAMARA_SEED_TIME"), "{failure}");
}

#[test]
fn a_chosen_file_must_exist_and_a_near_miss_in_the_environment_warns() {
    assert_eq!(load(Some(Path::new("/no/such/file")), []).unwrap_err().exit, Exit::Usage);
    assert_eq!(load(None, env(&[(ENV_FILE, "/no/such/file")])).unwrap_err().exit, Exit::Usage);
    let loaded = load(None, env(&[("SAMARA_LIMT_UP", "1"), ("SAMARA_ELSEWHERE", "1")])).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("$SAMARA_LIMIT_UP"));
}

/// The template that `samara config --template` prints must be accepted once its lines are uncommented.
#[test]
fn every_example_is_valid_and_every_value_can_be_shown() {
    for key in KEYS {
        let file = file(&format!("{} = {}\n", key.name, key.example));
        let loaded = load(Some(file.path()), []).unwrap();
        assert!(!(key.show)(&loaded.settings).is_empty());
    }
}

fn nothing_yet() -> Loaded {
    let origins = vec![Origin::Default; KEYS.len()];
    let settings = Settings::default();
    Loaded { settings, origins, file: None, file_found: false, warnings: Vec::new() }
}

/// Near enough to a file of settings to get past its first checks.
fn settings_text() -> impl Strategy<Value = String> {
    let key = (0..KEYS.len()).prop_map(|at| KEYS[at].name.to_owned());
    let key = prop_oneof![9 => key, 1 => "[a-z_-]{1,12}"];
    let value = prop_oneof![
        "'[0-9:., kMGTiB/s-]{0,16}'",
        "'[a-zA-Z0-9:/@.,*%-]{0,30}'",
        "-?[0-9]{1,20}",
        Just("true".to_owned()),
        "\\['[a-z0-9.:]{0,12}', [0-9]{1,3}\\]",
        "\\PC{0,20}",
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key} = {value}"));
    prop::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused_with_its_name(text in settings_text()) {
        let mut loaded = nothing_yet();
        if let Err(failure) = loaded.apply_file(Path::new("settings.toml"), &text) {
            prop_assert_eq!(failure.exit, Exit::Usage);
            prop_assert!(failure.what.starts_with("settings.toml: "), "{}", failure.what);
        }
    }

    #[test]
    fn any_text_is_a_value_or_refused(at in 0..KEYS.len(), text in "\\PC{0,60}") {
        let mut settings = Settings::default();
        if let Err(why) = (KEYS[at].set)(&mut settings, &text) {
            prop_assert!(!why.is_empty());
        }
    }
}

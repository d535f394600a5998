//! Who the coordinator is to NATS, and who NATS is to the coordinator.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use async_nats::ConnectOptions;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use integration::ok;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::story::{Story, assert_whole, short, status_when};

/// An NKey of a user of these tests, and its public half.
const SEED: &str = "SUACBMB3H4X6XOTG4TVGJ6VKZXU527MDK4ALOFGHNKP4FLD4WRVI3ZDGII";
const KEY: &str = "UBV26G3ZUBSZA2S2UL55SP5HJY3XKL2RK3A6NNO7DLBFKIJKRYNB4CKB";

#[test]
fn each_login_gets_in_and_a_wrong_one_is_told_without_its_secret() {
    let user = "authorization: { users: [{ user: ada, password: hunter2, permissions: {
        publish: ['garrison.>', '$JS.API.STREAM.INFO.GARRISON', '$JS.API.STREAM.CREATE.GARRISON',
                  '$JS.API.STREAM.MSG.GET.GARRISON'],
        subscribe: '_INBOX.>' } }] }";
    let options = ConnectOptions::with_user_and_password("ada".to_owned(), "hunter2".to_owned());
    let mut story = Story::with(&["fra"], &short("fra"), user, options);
    let file = story.world.dir.path().join("nats-secret");
    let secret = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    story.nats.start();
    secret("hunter3\n");
    story.configure(&format!("user = \"ada\"\npassword_file = {file:?}"));
    let run = story.runs(1);
    let words = "authorization violation";
    ok(garrison::site::wait("a refusal", || story.log().contains(words).then_some(())));
    assert!(!story.log().contains("hunter"), "{}", story.log());
    // The right one is read without a restart.
    secret("hunter2\n");
    assert_whole(&story.told(&run), &run);

    let token = "authorization: { token: opensesame }";
    let options = ConnectOptions::with_token("opensesame".to_owned());
    secret("opensesame");
    logs_in(token, options, &format!("token_file = {file:?}"));

    let options = ConnectOptions::with_nkey(SEED.to_owned());
    secret(SEED);
    let nkey = format!("authorization: {{ users: [{{ nkey: {KEY} }}] }}");
    logs_in(&nkey, options, &format!("nkey_file = {file:?}"));
}

#[test]
fn a_servers_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert"), made.cert.pem()).unwrap();
    fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let server = format!("tls: {{ cert_file: {:?}, key_file: {:?} }}", path("cert"), path("key"));
    let options = ConnectOptions::new().add_root_certificates(path("cert")).require_tls(true);
    logs_in(&server, options.clone(), &format!("ca_file = {:?}", path("cert")));

    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("other"), other.cert.pem()).unwrap();
    let mut story = Story::with(&["fra"], &short("fra"), &server, options);
    story.nats.start();
    story.configure(&format!("ca_file = {:?}", path("other")));
    story.runs(1);
    let refused = || story.log().contains("invalid peer certificate").then_some(());
    ok(garrison::site::wait("a refusal", refused));
    assert!(story.messages().is_empty());
}

/// A JWT of NATS: who `issuer` says that `subject` is.
/// <https://docs.nats.io/running-a-nats-service/nats_admin/security/jwt>
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats,
    });
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let signed = format!("{head}.{}", part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An operator's server with an account that has JetStream; gives its configuration, and the
/// credentials of a user.
fn operated() -> (String, String) {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (system, user) = (KeyPair::new_account(), KeyPair::new_user());
    let own = jwt(&operator, &operator, "op", &json!({ "type": "operator", "version": 2 }));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_account = jwt(&operator, &account, "garrison", &of_account);
    let without = json!({ "subs": -1, "data": -1, "payload": -1, "wildcards": true, "conn": -1 });
    let of_system = json!({ "type": "account", "version": 2, "limits": without });
    let of_system = jwt(&operator, &system, "system", &of_system);
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let of_user = jwt(&account, &user, "coordinator", &of_user);
    let (account, system) = (account.public_key(), system.public_key());
    let server = format!(
        "operator: {own}\nsystem_account: {system}\nresolver: MEMORY\n\
         resolver_preload: {{ {account}: {of_account}, {system}: {of_system} }}"
    );
    let block = |name: &str, text: &str| {
        format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n\n")
    };
    let seed = user.seed().unwrap();
    (server, block("NATS USER JWT", &of_user) + &block("USER NKEY SEED", &seed))
}

#[test]
fn a_credentials_file_gets_in() {
    let (server, credentials) = operated();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nats.creds");
    fs::write(&file, &credentials).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let options = ConnectOptions::with_credentials(&credentials).unwrap();
    logs_in(&server, options.clone(), &format!("credentials_file = {file:?}"));
    // Those of somebody else do not.
    let (_, others) = operated();
    fs::write(&file, others).unwrap();
    let mut story = Story::with(&["fra"], &short("fra"), &server, options);
    story.nats.start();
    story.configure(&format!("credentials_file = {file:?}"));
    let trouble = status_when(&story.world, "a refusal", |it| !it["trouble"].is_null());
    let reason = trouble["trouble"]["reason"].as_str().unwrap();
    assert!(reason.contains("authorization violation"), "{reason}");
    assert_eq!(story.world.finished(story.world.trigger())["status"], "succeeded");
}

/// Checks that a coordinator with these keys gets into a server with this configuration.
fn logs_in(server: &str, options: ConnectOptions, keys: &str) {
    let mut story = Story::with(&["fra"], &short("fra"), server, options);
    story.nats.start();
    story.configure(keys);
    let run = story.runs(1);
    assert_whole(&story.told(&run), &run);
}

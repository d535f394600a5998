//! Certificates: the guide's script, and the pipeline that rolls them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use garrison::site::Port;
use integration::ok;
use lab::operator::CONTROL_PLANE;

use crate::desk::{Desk, status};

/// Lines of `sha256sum` by file.
fn sums(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, file)| (file.into(), sum.into()))
        .collect()
}

#[test]
fn certificates_are_rolled_and_their_authority_stays() {
    let Some(desk) = Desk::new() else { return };
    let host = desk.lab.outside.host();
    let port = Port::reserve(host).unwrap();
    desk.set_grpc(&port.to_string());

    // The guide's script with the guide's files, as they stand there.
    let made = desk.certify();
    let (before, after) = (sums(&made.join("before.txt")), sums(&made.join("after.txt")));
    assert_eq!(before.len(), 10, "the authority and four pairs: {before:?}");
    for (file, sum) in &before {
        assert_eq!(after[file] != *sum, file.starts_with("metal-api-grpc/"), "{file}");
    }

    // What the guide leaves to its reader: the name by which the metal-api is found.
    let file = "files/certs/metal-api-grpc/server.json";
    let request = fs::read_to_string(desk.operator.site.repository().join(file)).unwrap();
    let named = request.replace("<your-metal-api-dns-ingress-domain>", &host.to_string());
    assert_ne!(named, request);
    ok(desk.operator.site.commit(&[(file, &named)]));
    let token = ["tokens", "create", "roll-certs", "--role", "admin", "--partition", CONTROL_PLANE];
    desk.set_secret("SECRETS_TOKEN", desk.garrison(&token).out.trim().as_bytes());

    let run = desk.trigger("roll-certs", &["--input", "target=grpc"]);
    let gate = desk.gate(run);
    assert!(
        gate["message"].as_str().unwrap().contains("for grpc; the authority stays."),
        "{gate:#}"
    );
    let log = desk.log(run, "expiry");
    assert_eq!(log.matches("notAfter=").count(), 5, "{log}");
    assert!(
        log.contains("CN = metal-control-plane") && log.contains("CN = masterdata-api"),
        "{log}"
    );
    desk.approve(run);

    // The server that the metal-api would be, with what is deployed.
    let (certificate, key) =
        (desk.deployed().join("server.pem"), desk.deployed().join("server-key.pem"));
    let deployed =
        ok(desk.operator.when(run, "deploy", |detail| status(detail, "deploy") == "succeeded"));
    assert!(certificate.exists(), "{deployed:#}");
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", &port.to_string()]);
    server.arg("-cert").arg(&certificate).arg("-key").arg(&key).stdin(Stdio::piped());
    let mut server = server.stdout(Stdio::null()).spawn().unwrap();
    let ended = desk.operator.finished(run);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(ok(ended)["status"], "succeeded", "{}", desk.logs(run));

    // Another certificate than before; of what was not meant, no secret was set again.
    let old = fs::read(made.join("metal-api-grpc/server.pem")).unwrap();
    assert_ne!(fs::read(&certificate).unwrap(), old);
    let listed = desk.garrison(&["secrets", "list", "-o", "json"]).json();
    let version = |name: &str| {
        let secrets = listed.as_array().unwrap();
        secrets.iter().find(|it| it["name"] == name).unwrap()["version"].as_u64().unwrap()
    };
    let versions = ["GRPC_SERVER", "GRPC_CLIENT", "MASTERDATA_SERVER", "CA_KEY"].map(version);
    assert_eq!(versions, [2, 2, 1, 1], "{listed:#}");

    // No key is in a log or among the files that the run leaves.
    let written = fs::read_to_string(&key).unwrap();
    let line = written.lines().nth(3).unwrap();
    assert!(!desk.logs(run).contains(line) && !desk.logs(run).contains("PRIVATE KEY"));
    let files = Command::new("grep")
        .args(["-rl", "PRIVATE KEY"])
        .arg(desk.artifacts(run))
        .output()
        .unwrap();
    assert!(files.stdout.is_empty(), "{files:?}");
}

//! Rendered files, and artifacts as people get them: by the command line, the API and the pages.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use garrison::site::OPEN_POLICY;
use integration::{World, ok};
use proto::content::Store;
use serde_json::json;
use sha2::{Digest, Sha256};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\nvariables: { VLAN: \"4000\" }\njobs:\n  \
                        firewall:\n    render: { template: templates/fw.j2, to: \"out/{{ partition }} 1.conf\" }\n  \
                        used:\n    needs: [firewall]\n    process: {}\n    artifacts: { paths: [used/] }\n    \
                        run: mkdir used; cp out/*.conf used/; ln -s 'fra 1.conf' used/link; printf x > used/run.sh; chmod +x used/run.sh\n";

const TEMPLATE: &str = "# {{ partition }}, VLAN {{ variables.VLAN }}\n\
                        {% for name, device in devices|items %}\n{% if device.role == 'leaf' %}\n\
                        {% include 'templates/device.j2' %}\n{% endif %}\n{% endfor %}\n";

const RENDERED: &str = "# fra, VLAN 4000\nhost leaf01 10.0.0.11 {\"rack\": \"r1\"}\n";

fn inventory() -> String {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    format!(
        "partition: fra\ndevices:\n  leaf01: {{ address: 10.0.0.11, user: admin, role: leaf, labels: {{ rack: r1 }}, host_key: {key} }}\n  \
         spine01: {{ address: 10.0.0.12, user: admin, host_key: {key} }}\n"
    )
}

fn world(policy: &str) -> World {
    let mut world = World::without_agents(&["fra", "muc"], PIPELINE);
    ok(world.site.commit(&[
        ("templates/fw.j2", TEMPLATE),
        (
            "templates/device.j2",
            "host {{ name }} {{ device.address }} {{ device.labels | tojson }}\n",
        ),
        ("partitions/fra.yaml", &inventory()),
    ]));
    ok(world.site.add_agent("fra", "mgmt01", 8, policy));
    world
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_file_is_rendered_and_reaches_later_jobs_and_people() {
    let world = world(OPEN_POLICY);
    let run = world.trigger();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.log(run, 0));
    let hash = sha256(RENDERED.as_bytes());
    let said = format!("render: out/fra 1.conf, {} bytes, SHA-256 {hash}\n", RENDERED.len());
    assert!(world.log(run, 0).starts_with(&said), "{}", world.log(run, 0));

    let listed = world.garrison(&["artifacts", &run.to_string(), "-o", "json"]).json();
    let size = RENDERED.len();
    assert_eq!(
        listed[0]["files"],
        json!([{ "path": "out/fra 1.conf", "size": size, "sha256": hash }])
    );
    assert_eq!(
        listed[1]["files"],
        json!([
            { "path": "used/fra 1.conf", "size": size, "sha256": hash },
            { "path": "used/run.sh", "size": 1, "sha256": sha256(b"x"), "executable": true },
        ])
    );
    assert_eq!(listed[1]["links"], json!([{ "path": "used/link", "target": "fra 1.conf" }]));
    let table = world.garrison(&["artifacts", &format!("{run}.1")]).out;
    assert!(table.contains(&hash) && table.contains("used/link -> fra 1.conf"), "{table}");

    let kept = world.dir.path().join("kept");
    let folder = kept.to_str().unwrap();
    let said = world.garrison(&["artifacts", &run.to_string(), "--download", folder]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("used/link is a symlink"), "{said:?}");
    let file = kept.join(format!("{run}.0/out/fra 1.conf"));
    assert_eq!(fs::read_to_string(&file).unwrap(), RENDERED);
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    let used = kept.join(format!("{run}.1/used"));
    assert_eq!(fs::read_dir(&used).unwrap().count(), 2);
    let mode = fs::metadata(used.join("run.sh")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o755);
    let one =
        ["artifacts", &format!("{run}.0.1"), "--file", "out/fra 1.conf", "--download", folder];
    assert_eq!(world.garrison(&one).code, 0);
    assert_eq!(fs::read_to_string(kept.join("out/fra 1.conf")).unwrap(), RENDERED);
    let said = world.garrison(&["artifacts", &run.to_string(), "--file", "out/other"]);
    assert_eq!((said.code, said.err.contains("has left no file out/other")), (4, true), "{said:?}");
}

#[test]
fn who_may_see_the_run_gets_its_files_with_a_checksum_and_nobody_else() {
    let world = world(OPEN_POLICY);
    let run = world.trigger();
    world.finished(run);
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let agent: ureq::Agent = config.max_redirects_will_error(false).build().into();
    let url = ok(world.site.url());
    let token = |partition: &str| {
        let create = ["tokens", "create", partition, "--role", "view", "--partition", partition];
        world.garrison(&create).out.trim().to_owned()
    };
    let (fra, muc) = (token("fra"), token("muc"));
    let get = |path: &str, token: &str| {
        let address = format!("{url}/api/v1/attempts/{run}.0.1/artifacts{path}");
        agent.get(address).header("authorization", format!("Bearer {token}")).call().unwrap()
    };
    let mut answer = get("/out/fra%201.conf", &fra);
    assert_eq!(answer.body_mut().read_to_string().unwrap(), RENDERED);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let digest = BASE64_STANDARD.encode(Sha256::digest(RENDERED));
    assert_eq!(header("repr-digest"), format!("sha-256=:{digest}:"));
    assert_eq!(header("etag"), format!("\"{}\"", sha256(RENDERED.as_bytes())));
    assert_eq!(header("content-length"), RENDERED.len().to_string());
    let disposition = header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"fra_1.conf\""), "{disposition}");
    for (path, token, status) in [
        ("", &fra, 200),
        ("", &muc, 404),
        ("/out/fra%201.conf", &muc, 404),
        ("/out/fra%201.conf", &"none".to_owned(), 401),
        ("/out", &fra, 404),
        ("/../log", &fra, 404),
        ("/out%2f..%2f..%2fetc%2fpasswd", &fra, 404),
    ] {
        assert_eq!(get(path, token).status(), status, "{path}");
    }

    let link = world.garrison(&["open"]).out;
    let opened = agent.post(link.trim()).send_form(std::iter::empty::<(&str, &str)>()).unwrap();
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let page = |path: &str| {
        let answer = agent.get(format!("{url}{path}")).header("cookie", cookie).call();
        answer.unwrap().body_mut().read_to_string().unwrap()
    };
    let shown = page(&format!("/runs/{run}"));
    assert!(shown.contains(&format!("<a href=\"/attempts/{run}.0.1/artifacts\">1 file</a>")));
    let shown = page(&format!("/attempts/{run}.0.1/artifacts"));
    let address = format!("/attempts/{run}.0.1/artifacts/out/fra%201%2Econf");
    assert!(
        shown.contains(&format!("<a href=\"{address}\" download>out/fra 1.conf</a>")),
        "{shown}"
    );
    assert!(shown.contains(&sha256(RENDERED.as_bytes())), "{shown}");
    assert_eq!(page(&address), RENDERED);
}

#[test]
fn what_does_not_come_as_it_was_left_is_not_kept() {
    let world = world(OPEN_POLICY);
    let run = world.trigger();
    world.finished(run);
    let upstream = ok(world.site.url()).trim_start_matches("http://").to_owned();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let (kept, job) = (world.dir.path().join("kept"), format!("{run}.0"));
    let said = thread::scope(|scope| {
        let flipping = scope.spawn(|| {
            // All is asked for over one connection.
            for stream in proxy.incoming().take(1) {
                flip(&stream.unwrap(), &TcpStream::connect(&upstream).unwrap());
            }
        });
        let download = ["--url", &url, "artifacts", &job, "--download", kept.to_str().unwrap()];
        let said = world.garrison(&download);
        flipping.join().unwrap();
        said
    });
    assert_eq!(said.code, 70, "{said:?}");
    assert!(said.err.contains("it was not kept"), "{said:?}");
    assert_eq!(fs::read_dir(kept.join("out")).unwrap().count(), 0);

    // The coordinator's own disk is not trusted either.
    let detail = world.finished(run);
    let left = &detail["jobs"][0]["attempts"][0]["artifacts"][0];
    let store = Store::open(&world.site.data().join("content/store")).unwrap();
    let archive = store.path(&left["sha256"].as_str().unwrap().parse().unwrap());
    let mut bytes = fs::read(&archive).unwrap();
    let at = memchr::memmem::find(&bytes, b"VLAN 4000").unwrap();
    bytes[at] = b'W';
    fs::write(&archive, bytes).unwrap();
    let said = world.garrison(&["artifacts", &format!("{run}.0")]);
    assert_eq!(
        (said.code, said.err.contains("does not give what was written")),
        (5, true),
        "{said:?}"
    );
    // As when they have expired.
    fs::remove_file(archive).unwrap();
    let said = world.garrison(&["artifacts", &format!("{run}.0")]);
    assert_eq!((said.code, said.err.contains("have expired")), (4, true), "{said:?}");
}

/// Passes on what both say, and changes a letter of the rendered file.
fn flip(client: &TcpStream, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut &*client, &mut &*server);
            let _ = server.shutdown(Shutdown::Both);
        });
        let mut piece = vec![0; 64 << 10];
        while let Ok(read @ 1..) = (&*server).read(&mut piece) {
            let piece = &mut piece[..read];
            if let Some(at) = memchr::memmem::find(piece, b"VLAN 4000") {
                piece[at] = b'W';
            }
            if (&*client).write_all(piece).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_template_that_cannot_be_rendered_or_holds_a_secret_fails_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "correct horse battery\n").unwrap();
    let world = world(&format!("[mask]\nfiles = [{secret:?}]\n"));
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  \
                    broken: { render: { template: templates/broken.j2, to: out } }\n  \
                    missing: { render: { template: templates/none.j2, to: out } }\n  \
                    leaks: { render: { template: templates/leaks.j2, to: out } }\n  \
                    link: { render: { template: templates/fw.j2, to: away/out } }\n";
    std::os::unix::fs::symlink("templates", world.site.repository().join("away")).unwrap();
    ok(world.site.commit(&[
        (".garrison/deploy.yaml", pipeline),
        ("templates/fw.j2", "x"),
        ("templates/broken.j2", "{% include 'templates/part.j2' %}"),
        ("templates/part.j2", "\n{{ devices.leaf02.address }}"),
        ("templates/leaks.j2", "password correct horse battery\n"),
    ]));
    let run = world.trigger();
    let detail = world.finished(run);
    for (index, words) in [
        (0, "failed: templates/part.j2, line 2: `devices.leaf02.address` is not there"),
        (1, "failed: there is no such file in the commit: "),
        (2, "failed: out would hold a secret"),
        (3, "failed: away/out cannot be made: away is no folder in the commit"),
    ] {
        let job = &detail["jobs"][index];
        assert!(job["detail"].as_str().unwrap().starts_with(words), "{job:#}");
        let said = world.garrison(&["artifacts", &format!("{run}.{index}")]);
        assert_ne!(said.code, 0, "{said:?}");
    }
    assert!(!world.log(run, 2).contains("horse"), "{}", world.log(run, 2));
}

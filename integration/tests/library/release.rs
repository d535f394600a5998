//! A release of metal-stack on its way to the control plane.

use std::fs;

use integration::ok;
use serde_json::json;

use crate::desk::{Desk, ROLES, found, job, status};

#[test]
fn a_release_is_compared_checked_approved_and_deployed() {
    let Some(desk) = Desk::new() else { return };
    desk.certify();
    let run = desk.trigger("control-plane", &[]);
    let gate = desk.gate(run);
    let message = gate["message"].as_str().unwrap();
    assert!(message.starts_with("metal-stack v0.22.3 for control-plane. "), "{message}");
    assert!(message.contains("lets 2 jobs through in control-plane: deploy, healthy"), "{message}");

    // While it stands at its gate: what changes, which roles the release pins, and nothing is deployed.
    let log = desk.log(run, "changes");
    let row = |text: &str| {
        let row = text.lines().find(|line| line.starts_with("ansible-roles/metal-roles "));
        row.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(log.contains("metal-stack v0.22.2 to v0.22.3\n"), "{log}");
    assert_eq!(row(&log)[1..], ["v0.17.27", "v0.17.29"], "{log}");
    assert!(!log.contains("ansible-roles/ansible-common"), "what stays is not in the table: {log}");
    let files = desk.artifacts(run);
    let changes = fs::read_to_string(found(&files, "changes.txt")).unwrap();
    assert_eq!(row(&changes)[1..], ["v0.17.27", "v0.17.29"]);
    let requirements = fs::read_to_string(found(&files, "requirements.yaml")).unwrap();
    for (role, version, _) in ROLES {
        let entry = format!(
            "- src: https://github.com/metal-stack/{role}\n  name: {role}\n  version: {version}\n"
        );
        assert!(requirements.contains(&entry), "{requirements}");
    }
    let detail = ok(desk.operator.when(run, "be there", |_| true));
    let roles = "ansible-common v0.7.4, metal-ansible-modules v0.2.11, metal-roles v0.17.29";
    assert_eq!(
        job(&detail, "requirements")["outputs"],
        json!({ "release": "v0.22.3", "roles": roles })
    );
    let shown = desk.garrison(&["show", &run.to_string()]).out;
    assert!(shown.contains("requirements: 1 host, 1 changed\n"), "{shown}");
    assert!(shown.contains("check: 1 host, would change 1\n"), "{shown}");
    let deployed = desk.deployed();
    assert_eq!(fs::read_dir(&deployed).unwrap().count(), 0, "{}", desk.logs(run));

    desk.approve(run);
    desk.succeeded(run);
    for part in
        ["ingress-controller", "prepare", "nsq", "metal-db", "ipam-db", "masterdata-db", "metal"]
    {
        assert_eq!(fs::read_to_string(deployed.join(part)).unwrap(), "v0.22.3", "{part}");
    }

    // Again, and of one tag alone: the roles are kept, and nothing changes.
    let run = desk.trigger("control-plane", &["--input", "tags=metal", "--input", "from=v0.22.3"]);
    desk.gate(run);
    desk.approve(run);
    desk.succeeded(run);
    let log = desk.log(run, "requirements");
    assert!(log.contains("hit") && !log.contains("was installed successfully"), "{log}");
    assert!(desk.log(run, "changes").contains("none of 82 components changes\n"));
    let deploy = desk.log(run, "deploy");
    assert!(deploy.contains("deploy metal]") && !deploy.contains("deploy nsq]"), "{deploy}");
    let shown = desk.garrison(&["show", &run.to_string()]).out;
    assert!(shown.contains("deploy: 1 host, no change\n"), "{shown}");

    // Another branch is not deployed, whoever approves.
    ok(desk.operator.site.git(&["branch", "elsewhere"]));
    let run = desk.trigger("control-plane", &["--ref", "elsewhere"]);
    desk.gate(run);
    desk.approve(run);
    let detail = ok(desk.operator.finished(run));
    assert_eq!(status(&detail, "deploy"), "failed", "{detail:#}");
    assert!(desk.log(run, "deploy").contains("from main alone, not from refs/heads/elsewhere\n"));
}

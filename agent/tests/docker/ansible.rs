//! What a container's Ansible finds, and what is read of it, without an Ansible.

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan::{Ansible, AnsibleInventory};

use crate::engine::{Docker, shared};
use crate::host::*;

#[tokio::test]
async fn a_container_finds_its_inventory_and_leaves_a_recap_however_it_ends() {
    let docker = Docker::new(shared().await).await;
    let lines = [
        "cat $ANSIBLE_INVENTORY $GARRISON_KNOWN_HOSTS $GARRISON_SSH_CONFIG",
        "echo $ANSIBLE_HOST_KEY_CHECKING $ANSIBLE_CALLBACK_PLUGINS",
        "grep CALLBACK_NAME /run/garrison/ansible/callbacks/*.py",
        "if touch /run/garrison/ansible/here; then exit 9; fi",
        r#"echo '{"call": true, "check": false}' >> $GARRISON_RECAP"#,
        r#"echo '{"host": "leaf01", "ok": 2, "changed": 1}' >> $GARRISON_RECAP"#,
        "exit 3",
    ];
    let attempt = docker.attempt(&lines, |job, _| {
        job.ansible = Some(Ansible { inventory: true });
        job.env = [("ANSIBLE_CALLBACK_PLUGINS".into(), "own:more".into())].into();
    });
    let mut order = Order::from_bytes(&attempt.order().unwrap()).unwrap();
    order.inventory = Some(AnsibleInventory {
        partition: order.partition.clone(),
        hosts: "all: the hosts\n".to_owned(),
        known_hosts: "leaf01 a-key\n".to_owned(),
    });
    std::fs::write(attempt.dir().join("order"), order.to_bytes()).unwrap();
    let (attempt, verdict) = docker.finish(docker.spawn(&attempt).await).await;
    let output = output(&attempt);
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(3) }, "{output}");
    for line in [
        "\nall: the hosts\nleaf01 a-key\nHost *\n",
        "\nUserKnownHostsFile \"/run/garrison/ansible/known_hosts\"\n",
        "\nTrue /run/garrison/ansible/callbacks:own:more\n",
        "CALLBACK_NAME = \"garrison_recap\"\n",
    ] {
        assert!(output.contains(line), "{line} is missing: {output}");
    }
    assert_eq!(verdict.recap.unwrap().to_string(), "1 host, 1 changed");
}

//! The guide of metal-stack, followed as an operator would who copies its lines into a pipeline: what is wrong
//! with them is told before anything starts.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::guide::{Block, blocks};
use integration::{Said, cases, program};
use tempfile::TempDir;

/// The repository that the guide makes, and the line that runs it.
fn followed(guide: &str) -> (TempDir, String) {
    let repository = tempfile::Builder::new().prefix("garrison-seed-").tempdir().unwrap();
    let blocks = blocks(guide);
    let run = blocks.iter().find(|block| block.text.contains("docker run")).unwrap();
    for Block { file, text } in &blocks {
        if let Some(file) = file {
            write(repository.path(), file, text);
        }
    }
    git(repository.path(), &["init", "--quiet"]);
    (repository, run.text.clone())
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn git(folder: &Path, arguments: &[&str]) {
    assert!(Command::new("git").current_dir(folder).args(arguments).status().unwrap().success());
}

/// A pipeline with these lines as the script of one job.
fn pipeline(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra-equ01]\njobs:\n  deploy:\n    \
         container: metalstack/metal-deployment-base:v0.7.3\n    run: |\n{lines}"
    )
}

fn lint(repository: &Path) -> Said {
    let mut command = Command::new(program());
    command.current_dir(repository).args(["lint", "--source", "--output", "json"]);
    Said::from(command.output().unwrap())
}

/// What was found beside the inventory, which is another repository's: code, marked text, and advice.
fn found(said: &Said) -> Vec<(String, String, String)> {
    let json = said.json();
    let found = json["diagnostics"].as_array().unwrap().iter();
    let text = |it: &serde_json::Value| it.as_str().unwrap_or_default().to_owned();
    let marked = |it: &serde_json::Value| {
        let [offset, width] = ["offset", "width"].map(|key| it[key].as_u64().unwrap() as usize);
        text(&it["text"]).chars().skip(offset).take(width).collect()
    };
    found
        .filter(|it| it["code"] != "P024")
        .map(|it| (text(&it["code"]), marked(&it["excerpt"]), text(&it["help"])))
        .collect()
}

#[test]
fn what_is_wrong_with_the_guides_own_lines_is_told_before_they_run() {
    let Some(seeds) = cases::seeds(1, "guide of metal-stack") else { return };
    let guide = fs::read_to_string(seeds.join("deploying-metal-stack.md")).unwrap();
    let (repository, run) = followed(&guide);
    let root = repository.path();
    for file in ["generate_role_requirements.yaml", "deploy_metal_control_plane.yaml"] {
        assert!(root.join(file).exists(), "{file} of the guide");
    }
    // What the guide leaves to its reader.
    let run = run.replace("<path-to-your-cluster-kubeconfig>", "/home/operator/.kube/config");
    let run = run.replace("%s", "v0.7.3");
    write(root, ".garrison/deploy.yaml", &pipeline(&run));

    let said = lint(root);
    assert_eq!(said.code, 2, "{said:?}");
    let told = found(&said);
    let short: Vec<_> = told.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
    let expected = [
        ("P153", "/home/operator/.kube/config"),
        ("P152", "-it"),
        ("P150", "obtain_role_requirements.yaml"),
    ];
    assert_eq!(short, expected, "{said:?}");
    assert_eq!(told[2].2, "did you mean `generate_role_requirements.yaml`?");

    let mended = run.replace("obtain_role_requirements", "generate_role_requirements");
    let mended = mended.replace(" -it ", " ").replace("/home/operator/.kube/config", "kubeconfig");
    write(root, ".garrison/deploy.yaml", &pipeline(&mended));
    let said = lint(root);
    assert_eq!((said.code, found(&said)), (0, vec![]), "{said:?}");

    // As it is meant to be written: the image is the job's, and its shell's lines are the script.
    let shell =
        run.split("/bin/bash -ce").nth(1).unwrap().trim_start_matches([' ', '\\', '\n', '"']);
    let lines: String = shell.lines().map(|line| format!("{}\n", line.trim())).collect();
    write(root, ".garrison/deploy.yaml", &pipeline(&lines.replace('"', "")));
    let told = found(&lint(root));
    let short: Vec<_> = told.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
    assert_eq!(short, [("P150", "obtain_role_requirements.yaml")]);
}

#[test]
fn scripts_that_cannot_run_and_placeholders_are_told() {
    let repository = tempfile::tempdir().unwrap();
    let root = repository.path();
    git(root, &["init", "--quiet"]);
    write(root, ".garrison/deploy.yaml", &pipeline("./deploy.sh"));
    write(root, "deploy.sh", "#!/bin/sh\n");
    git(root, &["add", "deploy.sh"]);
    write(root, "inventories/group_vars/all.yaml", "hmac: change-me # CHANGE_ME\n");
    let said = lint(root);
    let told: Vec<_> = found(&said).into_iter().map(|(code, marked, _)| (code, marked)).collect();
    let expected = [("P151", "./deploy.sh"), ("P154", "change-me")];
    assert_eq!(
        told,
        expected.map(|(code, marked)| (code.to_owned(), marked.to_owned())),
        "{said:?}"
    );
    assert!(said.out.contains("\"file\": \"inventories/group_vars/all.yaml\""), "{said:?}");
    git(root, &["update-index", "--chmod=+x", "deploy.sh"]);
    assert_eq!(found(&lint(root)).len(), 1);
}

#[test]
fn a_folder_without_git_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ".garrison/deploy.yaml", &pipeline("true"));
    let mut command = Command::new(program());
    command.env("GIT_CEILING_DIRECTORIES", folder.path().parent().unwrap());
    let said = Said::from(command.args(["lint", "--source"]).arg(folder.path()).output().unwrap());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("not a git repository"), "{said:?}");
}

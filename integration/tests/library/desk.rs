//! An operator's desk: the library with the files of metal-stack's guide, and a site that it deploys to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use garrison::site::OPEN_POLICY;
use integration::guide::blocks;
use integration::{Said, World, cases, ok, program};
use serde_json::Value;
use tempfile::TempDir;

use crate::web::Web;

pub(crate) const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/library");
pub(crate) const PARTITION: &str = "control-plane";
/// What jobs of the library run in, instead of which the tests have processes.
const CONTAINER: &str = "container: { image: \"{{ variables.DEPLOYMENT_IMAGE }}\" }";

/// The roles that a release names, in the versions of v0.22.3, and the roles within them that the guide's
/// playbook has.
pub(crate) const ROLES: [(&str, &str, &[&str]); 3] = [
    ("ansible-common", "v0.7.4", &["roles/helm-chart"]),
    ("metal-ansible-modules", "v0.2.11", &[]),
    (
        "metal-roles",
        "v0.17.29",
        &["prepare", "nsq", "metal-db", "ipam-db", "masterdata-db", "metal"],
    ),
];

/// An operator's repository of the library and of the guide's files, and a site that it deploys to.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) dir: TempDir,
    web: Web,
}

impl Desk {
    /// None where the guide and the releases are not at hand.
    pub(crate) fn new() -> Option<Desk> {
        let cases = cases::folder(2, "releases of metal-stack")?;
        let guide = cases::seeds(2, "guides of metal-stack")?.join("deploying-metal-stack.md");
        let dir = tempfile::Builder::new().prefix("garrison-library-").tempdir().unwrap();
        let www = dir.path().join("www");
        for release in ["v0.22.2", "v0.22.3"] {
            let text = fs::read_to_string(cases.join(format!("releases/release-{release}.yaml")));
            write(&www, &format!("{release}/release.yaml"), &text.unwrap());
        }
        write(&www, "metal/v1/health", "{\"status\":\"healthy\"}");
        fs::create_dir(dir.path().join("deployed")).unwrap();
        make_roles(&dir.path().join("roles"));

        let world = World::without_agents(&[PARTITION], &certificates_at_home());
        let desk = Desk { web: Web::start(&www), world, dir };
        let repository = desk.world.site.repository();
        assert!(run("cp", &["-rT", LIBRARY, repository.to_str().unwrap()]));
        for block in blocks(&fs::read_to_string(guide).unwrap()) {
            let Some(file) = block.file else { continue };
            // Where the guide's tree of files has it, and the release that its pages are made with.
            let file = file.replace("files/roll_certs.sh", "files/certs/roll_certs.sh");
            write(&repository, &file, &block.text.replace("%s", "v0.22.3"));
        }
        for file in [".garrison/include/control-plane.yaml", ".garrison/roll-certs.yaml"] {
            let text = fs::read_to_string(repository.join(file)).unwrap();
            assert!(text.contains(CONTAINER), "{file}");
            write(&repository, file, &text.replace(CONTAINER, "process: {}"));
        }
        desk.set_grpc("127.0.0.1:1");
        Some(desk)
    }

    /// The inventory, with the address of the metal-api's gRPC.
    pub(crate) fn set_grpc(&self, grpc: &str) {
        let here = self.dir.path().display();
        let programs = program();
        let inventory = format!(
            "partition: {PARTITION}\nlabels: {{ kind: control-plane }}\ndevices: {{}}\nvariables:\n  \
             DEPLOYMENT_IMAGE: none\n  RELEASES: {web}\n  METAL_API: {web}/metal\n  METAL_API_GRPC: {grpc}\n  \
             COORDINATOR_API: {coordinator}\n  DEPLOYED: {here}/deployed\n  GIT_CONFIG_GLOBAL: {here}/roles/config\n  \
             ANSIBLE_STDOUT_CALLBACK: default\n  PATH: {programs}:/usr/local/bin:/usr/bin:/bin\n",
            web = self.web.url,
            coordinator = ok(self.world.site.url()),
            programs = programs.parent().unwrap().display(),
        );
        ok(self.world.site.commit(&[(&format!("partitions/{PARTITION}.yaml"), &inventory)]));
    }

    pub(crate) fn add_agent(&mut self) {
        ok(self.world.site.add_agent(PARTITION, "mgmt01", 8, OPEN_POLICY));
    }

    pub(crate) fn trigger(&self, pipeline: &str, more: &[&str]) -> u64 {
        let trigger = ["trigger", pipeline, "--repository", "infra", "-o", "json"];
        let said = self.world.garrison(&[&trigger[..], more].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.json()["id"].as_u64().unwrap()
    }

    /// The gate of a run that waits for people.
    pub(crate) fn gate(&self, run: u64) -> Value {
        let detail = self.world.run_when(run, "be there", |_| true);
        let jobs =
            detail["jobs"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap());
        jobs.take_while(|&job| job != "approve").for_each(|job| drop(self.log(run, job)));
        self.world.run_when(run, "wait at its gate or end", |detail| {
            status(detail, "approve") == "open" || !detail["finished_us"].is_null()
        });
        let gates = self.world.garrison(&["gates", "list", "-o", "json"]).json();
        assert!(gates[0]["message"].is_string(), "{gates:#}\n{}", self.logs(run));
        gates[0].clone()
    }

    /// Somebody else than who triggered the run approves.
    pub(crate) fn approve(&self, run: u64) {
        let token =
            self.world.garrison(&["tokens", "create", &format!("anna-{run}"), "--role", "admin"]);
        assert_eq!(token.code, 0, "{token:?}");
        let mut command = Command::new(program());
        command
            .env("GARRISON_URL", ok(self.world.site.url()))
            .env("GARRISON_TOKEN", token.out.trim());
        let said = Said::from(command.args(["approve", &run.to_string()]).output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }

    pub(crate) fn set_secret(&self, name: &str, value: &[u8]) {
        let set = ["secrets", "set", name, "--partition", PARTITION];
        let said = self.world.garrison_reads(&set, value);
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// The files that a run leaves.
    pub(crate) fn artifacts(&self, run: u64) -> PathBuf {
        let folder = self.dir.path().join(format!("artifacts-{run}"));
        let folder_name = folder.to_str().unwrap();
        let said = self.world.garrison(&["artifacts", &run.to_string(), "--download", folder_name]);
        assert_eq!(said.code, 0, "{said:?}");
        folder
    }

    /// The whole log of a job, once it has ended, however long that takes.
    pub(crate) fn log(&self, run: u64, job: &str) -> String {
        let detail = self.world.run_when(run, "be there", |_| true);
        let jobs = detail["jobs"].as_array().unwrap();
        self.world.log(run, jobs.iter().position(|it| it["name"] == job).unwrap())
    }

    /// What its jobs said, for a failed test's message.
    pub(crate) fn logs(&self, run: u64) -> String {
        let show = self.world.garrison(&["show", &run.to_string()]).out;
        let logs: String =
            (0..6).map(|job| self.world.garrison(&["logs", &format!("{run}.{job}")]).out).collect();
        format!("{show}\n{logs}")
    }

    /// Makes the first certificates by the guide's script, and sets them as its README says; gives the
    /// folder with them.
    pub(crate) fn certify(&self) -> PathBuf {
        let run = self.trigger("deploy", &[]);
        self.log(run, "certificates");
        let detail = self.world.finished(run);
        assert_eq!(detail["status"], "succeeded", "{}", self.logs(run));
        let made = found(&self.artifacts(run), "certs");
        for (secret, file) in [
            ("GRPC_SERVER", "metal-api-grpc/server"),
            ("GRPC_CLIENT", "metal-api-grpc/client"),
            ("MASTERDATA_SERVER", "masterdata-api/server"),
            ("MASTERDATA_CLIENT", "masterdata-api/client"),
        ] {
            let parts = [".pem", "-key.pem"]
                .map(|end| fs::read(made.join(format!("{file}{end}"))).unwrap());
            self.set_secret(secret, &parts.concat());
        }
        self.set_secret("CA_KEY", &fs::read(made.join("ca-key.pem")).unwrap());
        self.set_secret("KUBECONFIG", b"apiVersion: v1\nkind: Config\n");
        let authority = fs::read_to_string(made.join("ca.pem")).unwrap();
        ok(self.world.site.commit(&[("files/certs/ca.pem", &authority)]));
        made
    }
}

/// What an operator does once at home: certificates of everything, then the server's and client's of gRPC again.
fn certificates_at_home() -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [{PARTITION}]\njobs:\n  certificates:\n    process: {{}}\n    run:\n      \
         - cp -r files/certs certs\n      - cd certs\n      - bash roll_certs.sh\n      \
         - sha256sum *.pem */*.pem > before.txt\n      - bash roll_certs.sh -t=grpc\n      \
         - sha256sum *.pem */*.pem > after.txt\n    artifacts: {{ paths: [certs/] }}\n"
    )
}

/// The roles of a release as repositories, and git's configuration by which they are found there. Each says in
/// a file that it was deployed.
fn make_roles(folder: &Path) {
    let task = |name: &str, content: &str| {
        format!(
            "- name: deploy {name}\n  copy:\n    dest: \"{{{{ lookup('env', 'DEPLOYED') }}}}/{name}\"\n    \
             content: \"{content}\"\n"
        )
    };
    for (role, version, parts) in ROLES {
        let root = folder.join(role);
        write(&root, "meta/main.yml", "galaxy_info: {}\n");
        write(&root, "tasks/main.yaml", "[]\n");
        for part in parts {
            let (path, name) = match part.strip_prefix("roles/") {
                Some(_) => ((*part).to_owned(), "ingress-controller"),
                None => (format!("control-plane/roles/{part}"), *part),
            };
            let mut tasks = task(name, "{{ metal_stack_release_version }}");
            if name == "metal" {
                tasks += &task("server.pem", "{{ metal_api_grpc_certs_server_cert }}");
                tasks += &task("server-key.pem", "{{ metal_api_grpc_certs_server_key }}");
            }
            write(&root, &format!("{path}/tasks/main.yaml"), &tasks);
        }
        let git = |arguments: &[&str]| {
            let identity = [
                "-C",
                root.to_str().unwrap(),
                "-c",
                "user.name=R",
                "-c",
                "user.email=r@example.org",
            ];
            assert!(run("git", &[&identity[..], arguments].concat()), "{arguments:?}");
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message=Roles"]);
        git(&["tag", version]);
    }
    let here = folder.display();
    let config =
        format!("[url \"file://{here}/\"]\n\tinsteadOf = https://github.com/metal-stack/\n");
    write(folder, "config", &config);
}

pub(crate) fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().unwrap().success()
}

/// The file or folder of this name, somewhere below.
pub(crate) fn found(folder: &Path, name: &str) -> PathBuf {
    let output =
        Command::new("find").arg(folder).args(["-name", name, "-print", "-quit"]).output().unwrap();
    let path = String::from_utf8(output.stdout).unwrap();
    assert!(!path.is_empty(), "there is no {name} in {}", folder.display());
    PathBuf::from(path.trim())
}

pub(crate) fn job<'a>(detail: &'a Value, name: &str) -> &'a Value {
    detail["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == name)
        .unwrap_or(&Value::Null)
}

pub(crate) fn status(detail: &Value, name: &str) -> String {
    job(detail, name)["status"].as_str().unwrap_or_default().to_owned()
}

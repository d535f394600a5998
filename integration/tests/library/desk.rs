//! An operator's desk: the library with the files of metal-stack's guide, and a control plane that it deploys to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::guide::blocks;
use integration::{Said, cases, garrison, ok, program};
use lab::Lab;
use lab::operator::{API, CONTROL_PLANE, Operator, deployment_image};
use serde_json::Value;
use tempfile::TempDir;

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

/// An operator's repository of the library and of the guide's files, and a site without partitions. Jobs run in
/// the deployment image on the machine that stands for the control plane's host; what is deployed lies in a
/// folder of its web server, which stands for the cluster.
pub(crate) struct Desk {
    pub(crate) operator: Operator,
    pub(crate) lab: Lab,
    dir: TempDir,
}

impl Desk {
    /// None where the guide and the releases are not at hand.
    pub(crate) fn new() -> Option<Desk> {
        let cases = cases::folder(2, "releases of metal-stack")?;
        let guide = cases::seeds(2, "guides of metal-stack")?.join("deploying-metal-stack.md");
        let dir = tempfile::Builder::new().prefix("garrison-lab-").tempdir().unwrap();
        let lab = ok(Lab::new(&dir.path().join("lab"), &[]));
        let operator = ok(Operator::start(&lab, &program()));
        let desk = Desk { operator, lab, dir };

        let www = desk.operator.control.disk("srv/www");
        for release in ["v0.22.2", "v0.22.3"] {
            let text = fs::read_to_string(cases.join(format!("releases/release-{release}.yaml")));
            write(&www, &format!("{release}/release.yaml"), &text.unwrap());
        }
        write(&www, "metal/v1/health", "{\"status\":\"healthy\"}");
        make_roles(&desk.dir.path().join("roles"), &www.join("git"));
        let repository = desk.operator.site.repository();
        for block in blocks(&fs::read_to_string(guide).unwrap()) {
            let Some(file) = block.file else { continue };
            // Where the guide's tree of files has it, and the release that its pages are made with.
            let file = file.replace("files/roll_certs.sh", "files/certs/roll_certs.sh");
            write(&repository, &file, &block.text.replace("%s", "v0.22.3"));
        }
        let authority = fs::read_to_string(desk.operator.proxy.authority()).unwrap();
        write(&repository, "files/coordinator-ca.pem", &authority);
        write(&repository, ".garrison/at-home.yaml", &certificates_at_home());
        desk.set_grpc(&format!("{}:1", desk.lab.outside.host()));
        Some(desk)
    }

    /// The inventory, with the address of the metal-api's gRPC.
    pub(crate) fn set_grpc(&self, grpc: &str) {
        let inventory = format!(
            "partition: {CONTROL_PLANE}\nlabels: {{ kind: control-plane }}\ndevices: {{}}\nvariables:\n  \
             DEPLOYMENT_IMAGE: {image}\n  RELEASES: {web}\n  METAL_API: {web}/metal\n  METAL_API_GRPC: {grpc}\n  \
             COORDINATOR_API: {API}\n  COORDINATOR_CA: files/coordinator-ca.pem\n  DEPLOYED: {web}/deployed\n  \
             GIT_CONFIG_COUNT: \"1\"\n  GIT_CONFIG_KEY_0: url.{web}/git/.insteadOf\n  \
             GIT_CONFIG_VALUE_0: https://github.com/metal-stack/\n  ANSIBLE_STDOUT_CALLBACK: default\n",
            image = deployment_image(),
            web = format_args!("http://{}", self.lab.outside.control()),
        );
        let file = format!("partitions/{CONTROL_PLANE}.yaml");
        ok(self.operator.site.commit(&[(&file, &inventory)]));
    }

    /// What of the release is deployed, by what it is of.
    pub(crate) fn deployed(&self) -> PathBuf {
        self.operator.control.disk("srv/www/deployed")
    }

    pub(crate) fn garrison(&self, arguments: &[&str]) -> Said {
        garrison(&self.operator.site.data(), arguments)
    }

    pub(crate) fn trigger(&self, pipeline: &str, more: &[&str]) -> u64 {
        ok(self.operator.trigger(pipeline, more))
    }

    /// Waits for the end of a run, which has to be a good one.
    pub(crate) fn succeeded(&self, run: u64) -> Value {
        let detail = ok(self.operator.finished(run));
        assert_eq!(detail["status"], "succeeded", "{}", self.logs(run));
        detail
    }

    /// The gate of a run that waits for people.
    pub(crate) fn gate(&self, run: u64) -> Value {
        if let Err(failure) = self.operator.at_gate(run, "approve") {
            panic!("{failure}\n{}", self.logs(run));
        }
        let gates = self.garrison(&["gates", "list", "-o", "json"]).json();
        gates[0].clone()
    }

    /// Somebody else than who triggered the run approves, from elsewhere.
    pub(crate) fn approve(&self, run: u64) {
        let token = self.garrison(&["tokens", "create", &format!("anna-{run}"), "--role", "admin"]);
        assert_eq!(token.code, 0, "{token:?}");
        let mut command = Command::new(program());
        command.env("GARRISON_URL", self.operator.proxy.url());
        command.env("GARRISON_CA_FILE", self.operator.proxy.authority());
        command.env("GARRISON_TOKEN", token.out.trim());
        let said = Said::from(command.args(["approve", &run.to_string()]).output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }

    pub(crate) fn set_secret(&self, name: &str, value: &[u8]) {
        let file = self.dir.path().join("secret");
        fs::write(&file, value).unwrap();
        let set = ["secrets", "set", name, "--partition", CONTROL_PLANE, "--file"];
        let said = self.garrison(&[&set[..], &[file.to_str().unwrap()]].concat());
        assert_eq!(said.code, 0, "{said:?}");
    }

    /// The files that a run leaves.
    pub(crate) fn artifacts(&self, run: u64) -> PathBuf {
        let folder = self.dir.path().join(format!("artifacts-{run}"));
        let folder_name = folder.to_str().unwrap();
        let said = self.garrison(&["artifacts", &run.to_string(), "--download", folder_name]);
        assert_eq!(said.code, 0, "{said:?}");
        folder
    }

    /// The whole log of a job, once it has ended.
    pub(crate) fn log(&self, run: u64, job: &str) -> String {
        let detail: Value = ok(ok(self.operator.site.client()).get(&format!("/api/v1/runs/{run}")));
        let jobs = detail["jobs"].as_array().unwrap();
        let index = jobs.iter().position(|it| it["name"] == job).unwrap();
        self.garrison(&["logs", &format!("{run}.{index}"), "--follow"]).out
    }

    /// What its jobs said, for a failed test's message.
    pub(crate) fn logs(&self, run: u64) -> String {
        let show = self.garrison(&["show", &run.to_string()]).out;
        let logs: String =
            (0..6).map(|job| self.garrison(&["logs", &format!("{run}.{job}")]).out).collect();
        format!("{show}\n{logs}")
    }

    /// Makes the first certificates by the guide's script, and sets them as its README says; gives the
    /// folder with them.
    pub(crate) fn certify(&self) -> PathBuf {
        let run = self.trigger("at-home", &[]);
        self.succeeded(run);
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
        ok(self.operator.site.commit(&[("files/certs/ca.pem", &authority)]));
        made
    }
}

/// What an operator does once at home: certificates of everything, then the server's and client's of gRPC again.
fn certificates_at_home() -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [{CONTROL_PLANE}]\njobs:\n  certificates:\n    process: {{}}\n    run:\n      \
         - cp -r files/certs certs\n      - cd certs\n      - bash roll_certs.sh\n      \
         - sha256sum *.pem */*.pem > before.txt\n      - bash roll_certs.sh -t=grpc\n      \
         - sha256sum *.pem */*.pem > after.txt\n    artifacts: {{ paths: [certs/] }}\n"
    )
}

/// The roles of a release as repositories that a web server gives. Each puts what it deploys to where `DEPLOYED`
/// says, if it is not there yet.
fn make_roles(folder: &Path, web: &Path) {
    let tasks = |name: &str, wanted: &str| {
        let url = format!("\"{{{{ lookup('env', 'DEPLOYED') }}}}/{name}\"");
        let differs = "it.status == 404 or it.content != wanted";
        format!(
            "- name: what {name} is\n  uri: {{ url: {url}, return_content: true, status_code: [200, 404] }}\n  \
             check_mode: false\n  register: it\n\
             - name: deploy {name}\n  debug: {{ msg: {name} }}\n  changed_when: {differs}\n  \
             vars: {{ wanted: \"{wanted}\" }}\n\
             - name: store {name}\n  \
             uri: {{ url: {url}, method: PUT, body: \"{wanted}\", status_code: [201, 204] }}\n  \
             when: not ansible_check_mode and ({differs})\n  vars: {{ wanted: \"{wanted}\" }}\n"
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
            let mut text = tasks(name, "{{ metal_stack_release_version }}");
            if name == "metal" {
                text += &tasks("server.pem", "{{ metal_api_grpc_certs_server_cert }}");
                text += &tasks("server-key.pem", "{{ metal_api_grpc_certs_server_key }}");
            }
            write(&root, &format!("{path}/tasks/main.yaml"), &text);
        }
        let git = |folder: &Path, arguments: &[&str]| {
            let identity = ["-c", "user.name=R", "-c", "user.email=r@example.org"];
            let mut git = Command::new("git");
            git.arg("-C").arg(folder).args(identity).args(arguments);
            assert!(git.status().unwrap().success(), "{arguments:?}");
        };
        git(&root, &["init", "--quiet"]);
        git(&root, &["add", "--all"]);
        git(&root, &["commit", "--quiet", "--message=Roles"]);
        git(&root, &["tag", version]);
        let served = web.join(role);
        git(&root, &["clone", "--quiet", "--bare", ".", served.to_str().unwrap()]);
        git(&served, &["update-server-info"]);
    }
}

pub(crate) fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
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

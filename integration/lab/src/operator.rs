//! Who operates the lab: a repository that was copied from the library, keys, a coordinator, a machine
//! outside of the partitions with the first agents, and hands for what people do at consoles.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use garrison::exit::Failure;
use garrison::site::{REPOSITORY, Site, wait_within};
use serde_json::Value;

use crate::inventory;
use crate::machine::{Factory, Machine};
use crate::network::said;
use crate::proxy::Proxy;
use crate::topology::{MANAGEMENT, Place, Role, WAN};
use crate::{Lab, Partition, insist};

/// What operators copy.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/library");

/// How long a run may take.
const RUN: Duration = Duration::from_secs(60 * 60);

/// The partition that stands for the control plane's cluster.
pub const CONTROL_PLANE: &str = "control-plane";

/// Where the images of machines come from, and the image that Ansible runs in.
const IMAGE: (&str, &str) = ("metal-deployment-base", "v1");

/// Where the registry's content is kept between labs.
const CACHE: &str = "/var/cache/garrison-lab";

/// Where machines reach the coordinator's API: through its TLS proxy.
pub const API: &str = "https://garrison.lab";

/// The operator; the coordinator and the machine outside end when it is dropped.
pub struct Operator {
    /// Repository and coordinator.
    pub site: Site,
    /// The machine outside of the partitions. Its web server gives what lies in its `/srv/www`, and lets
    /// anybody put files into `deployed` there.
    pub control: Machine,
    /// The coordinator's TLS proxy.
    pub proxy: Proxy,
    dir: PathBuf,
    program: PathBuf,
}

impl Operator {
    /// Fills the desk: keys, the repository with the library and an inventory of each partition, a
    /// coordinator, and an agent for each partition on a machine that stands outside of them.
    pub fn start(lab: &Lab, program: &Path) -> Result<Operator, Failure> {
        let dir = lab.dir().join("operator");
        fs::create_dir_all(&dir)?;
        let names: Vec<&str> = lab.partitions.iter().map(|it| it.name.as_str()).collect();
        let mut site = Site::new(&dir, program, &[&[CONTROL_PLANE], &names[..]].concat())?;
        site.set_address(lab.outside.host());
        for key in ["deploy", "host-ca"] {
            make_key(&dir.join(key))?;
        }
        fill_registry()?;
        let control = Operator::place_control(lab, program)?;
        let proxy = Proxy::new(&dir.join("proxy"), lab.outside.host())?;
        let mut operator = Operator { site, control, proxy, dir, program: program.to_owned() };
        operator.write_repository(lab, "")?;
        operator.site.start_coordinator()?;
        operator.proxy.start(&operator.site.url()?)?;
        operator.write_repository(lab, &operator.agents_url()?)?;
        operator.give_secrets(lab)?;
        for name in [&[CONTROL_PLANE], &names[..]].concat() {
            operator.add_outside_agent(name)?;
        }
        Ok(operator)
    }

    /// Runs `garrison` on the coordinator's host; gives what it prints.
    pub fn garrison(&self, arguments: &[&str]) -> Result<String, Failure> {
        let data = self.site.data();
        let data = data.to_string_lossy();
        said(&self.program.to_string_lossy(), &[&["--data", &data], arguments].concat())
    }

    /// Starts a pipeline; gives its run.
    pub fn trigger(&self, pipeline: &str, arguments: &[&str]) -> Result<u64, Failure> {
        let trigger = ["trigger", pipeline, "--repository", REPOSITORY, "--output", "json"];
        let said = self.garrison(&[&trigger[..], arguments].concat())?;
        let run: Value = serde_json::from_str(&said).map_err(Failure::internal)?;
        run["id"].as_u64().ok_or_else(|| Failure::internal(format!("no run in {said}")))
    }

    /// Starts `bootstrap-partition`, and does what its gates ask for; gives the run, which goes on.
    pub fn bootstrap(&self, lab: &Lab, partition: &Partition) -> Result<u64, Failure> {
        let run = self.trigger("bootstrap-partition", &["--limit", &partition.name])?;
        self.at_gate(run, "firewalls-loaded")?;
        self.load_firewalls(partition, run)?;
        self.acknowledge(run, "firewalls-loaded")?;
        self.at_gate(run, "servers-booted")?;
        self.install_servers(lab, partition, run)?;
        self.invite_servers(&partition.name)?;
        self.acknowledge(run, "servers-booted")?;
        Ok(run)
    }

    /// Waits until a run is at a gate.
    pub fn at_gate(&self, run: u64, gate: &str) -> Result<(), Failure> {
        self.when(run, &format!("be at {gate}"), |detail| {
            let jobs = detail["jobs"].as_array();
            jobs.is_some_and(|jobs| {
                jobs.iter().any(|job| job["name"] == gate && job["status"] == "open")
            })
        })
        .map(drop)
    }

    /// Says that what a gate asks for was done.
    pub fn acknowledge(&self, run: u64, gate: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/runs/{run}");
        let detail: Value = self.site.client()?.get(&path)?;
        let jobs = detail["jobs"].as_array().into_iter().flatten();
        let words = jobs
            .filter(|job| job["name"] == gate)
            .find_map(|job| job["gate"]["acknowledge"].as_str());
        let words =
            words.ok_or_else(|| Failure::internal(format!("{gate} is no gate: {detail:#}")))?;
        self.garrison(&["acknowledge", &run.to_string(), gate, "--confirm", words]).map(drop)
    }

    /// Waits for the end of a run, and until its logs are here; gives what is to be seen of it.
    pub fn finished(&self, run: u64) -> Result<Value, Failure> {
        self.when(run, "end", is_over)
    }

    /// Waits until a run is as wanted; one that is over will not be.
    pub fn when(
        &self,
        run: u64,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let path = format!("/api/v1/runs/{run}");
        let found = wait_within(RUN, &format!("run {run} to {what}"), || {
            let detail: Value = self.site.client().ok()?.get(&path).ok()?;
            (is(&detail) || is_over(&detail)).then_some(detail)
        });
        match found {
            Ok(detail) if is(&detail) => Ok(detail),
            Ok(_) | Err(_) => {
                let story = self.story(run);
                Err(Failure::internal(format!("run {run} did not {what}:\n{story}")))
            }
        }
    }

    /// What is to be seen of a run, with the logs of what failed.
    pub fn story(&self, run: u64) -> String {
        let mut story = self.garrison(&["show", &run.to_string()]).unwrap_or_default();
        let detail = self.site.client().and_then(|it| it.get(&format!("/api/v1/runs/{run}")));
        let detail: Value = detail.unwrap_or_default();
        let jobs = detail["jobs"].as_array().into_iter().flatten();
        for job in jobs.filter(|job| job["status"] == "failed") {
            let id = job["id"].as_str().unwrap_or_default();
            let log = self.garrison(&["logs", id]).unwrap_or_default();
            story.push_str(&format!("--- {id}\n{log}"));
        }
        story
    }

    /// Loads what a run rendered for the firewalls' consoles, together with their host keys.
    pub fn load_firewalls(&self, partition: &Partition, run: u64) -> Result<(), Failure> {
        let files = self.download(run)?;
        for number in [1, 2] {
            let name = Place { role: Role::MgmtFirewall, number }.name();
            let key = fs::read_to_string(self.host_key(&partition.name, number))?;
            let script = find(&files, &format!("console/{name}.sh"))?;
            let script = fs::read_to_string(script)?;
            let host_key = "/etc/ssh/ssh_host_ed25519_key";
            partition.machine(&name)?.console(&format!(
                "umask 077; cat > {host_key} <<'END'\n{key}END\nssh-keygen -yf {host_key} > {host_key}.pub\n\
                 umask 022\n{script}"
            ))?;
        }
        Ok(())
    }

    /// Has the management servers boot from the ISO that a run made, by their BMCs, and signs the
    /// host keys that they show on their consoles.
    pub fn install_servers(
        &self,
        lab: &Lab,
        partition: &Partition,
        run: u64,
    ) -> Result<(), Failure> {
        let files = self.download(run)?;
        for number in [1, 2] {
            let place = Place { role: Role::MgmtServer, number };
            let server = partition.machine(&place.name())?;
            let iso = find(&files, &format!("{}.iso", place.name()))?;
            fs::copy(iso, server.chassis().join("media.iso"))?;
            let firewall =
                lab.outside.firewall(partition.number, Place { role: Role::MgmtFirewall, number });
            power(&firewall.to_string(), &["chassis", "bootdev", "cdrom"])?;
            power(&firewall.to_string(), &["chassis", "power", "on"])?;
        }
        for number in [1, 2] {
            let place = Place { role: Role::MgmtServer, number };
            let server = partition.machine(&place.name())?;
            let path = "/etc/ssh/ssh_host_ed25519_key";
            let key = server.insist(&format!("cat {path}.pub"))?;
            let firewall =
                lab.outside.firewall(partition.number, Place { role: Role::MgmtFirewall, number });
            let names = format!(
                "{0},{0}-outside,{1},{firewall}",
                place.name(),
                place.loopback(partition.number)
            );
            let certificate = self.sign(&place.name(), &names, &key)?;
            // Its sshd has just written the key, and may not listen yet.
            server.insist(&format!(
                "cat > {path}-cert.pub <<'END'\n{certificate}END\n\
                 echo 'HostCertificate {path}-cert.pub' > /etc/ssh/sshd_config.d/host-certificate.conf\n\
                 systemctl reload ssh"
            ))?;
        }
        Ok(())
    }

    /// A certificate of the authority for host keys.
    fn sign(&self, id: &str, names: &str, key: &str) -> Result<String, Failure> {
        let file = self.dir.join(format!("sign-{id}.pub"));
        fs::write(&file, key)?;
        let authority = self.dir.join("host-ca");
        let (authority, file) = (authority.to_string_lossy(), file.to_string_lossy());
        said("ssh-keygen", &["-q", "-s", &authority, "-I", id, "-h", "-n", names, &file])?;
        Ok(fs::read_to_string(self.dir.join(format!("sign-{id}-cert.pub")))?)
    }

    /// What the jobs of a run left, in a folder.
    fn download(&self, run: u64) -> Result<PathBuf, Failure> {
        let folder = self.dir.join(format!("run-{run}"));
        self.garrison(&["artifacts", &run.to_string(), "--download", &folder.to_string_lossy()])?;
        Ok(folder)
    }

    fn host_key(&self, partition: &str, firewall: u8) -> PathBuf {
        self.dir.join(format!("{partition}-fw0{firewall}"))
    }

    /// Where agents reach the coordinator.
    fn agents_url(&self) -> Result<String, Failure> {
        let text = fs::read_to_string(self.site.data().join("local-admin.json"))?;
        let admin: Value = serde_json::from_str(&text).map_err(Failure::internal)?;
        let address = admin["agents"].as_str();
        address.map(str::to_owned).ok_or_else(|| Failure::internal("no address for agents"))
    }

    fn write_repository(&self, lab: &Lab, coordinator: &str) -> Result<(), Failure> {
        let repository = self.site.repository();
        said("cp", &["--recursive", &format!("{LIBRARY}/."), &repository.to_string_lossy()])?;
        let read = |key: &str| fs::read_to_string(self.dir.join(key));
        let (deploy, ca) = (read("deploy.pub")?, read("host-ca.pub")?);
        let image = deployment_image();
        for partition in &lab.partitions {
            let mut firewalls = [const { String::new() }; 2];
            for (number, key) in (1..).zip(&mut firewalls) {
                let path = self.host_key(&partition.name, number);
                if !path.exists() {
                    make_key(&path)?;
                }
                *key = fs::read_to_string(path.with_extension("pub"))?;
            }
            let site = inventory::Site {
                partition: &partition.name,
                number: partition.number,
                image: &image,
                deploy_key: deploy.trim(),
                host_ca: ca.trim(),
                firewalls: [&firewalls[0], &firewalls[1]],
                coordinator,
            };
            let text = inventory::text(&site, &lab.outside);
            self.site.commit(&[(&format!("partitions/{}.yaml", partition.name), &text)])?;
        }
        let bmcs = lab.partitions.iter().map(|it| inventory::bmcs(&it.name, it.number));
        self.site.commit(&[("files/bmcs.txt", &bmcs.collect::<String>())])?;
        let control = format!(
            "partition: {CONTROL_PLANE}\nlabels: {{ kind: control-plane }}\n\
             variables: {{ DEPLOYMENT_IMAGE: \"{image}\" }}\ndevices: {{}}\n"
        );
        self.site.commit(&[(&format!("partitions/{CONTROL_PLANE}.yaml"), &control)])?;
        Ok(())
    }

    fn give_secrets(&self, lab: &Lab) -> Result<(), Failure> {
        for partition in &lab.partitions {
            let scope = ["--partition", &partition.name];
            for name in ["SSH_KEY", "ANSIBLE_PRIVATE_KEY_FILE"] {
                self.set_secret(name, &scope, &self.dir.join("deploy"))?;
            }
            self.set_secret("HOST_CA", &scope, &self.dir.join("host-ca"))?;
            let password = self.dir.join("bmc-password");
            fs::write(&password, "calvin")?;
            for name in ["BMC_PASSWORD", "IPMI_PASSWORD"] {
                self.set_secret(name, &scope, &password)?;
            }
        }
        Ok(())
    }

    /// Lets the agents of the management servers join; what they get for it is good for ten minutes.
    fn invite_servers(&self, partition: &str) -> Result<(), Failure> {
        for server in ["mgmt01", "mgmt02"] {
            let token = self.dir.join(format!("join-{partition}-{server}"));
            fs::write(&token, self.site.join_token(partition, server)?)?;
            let device = format!("{server}-outside");
            let scope = ["--partition", partition, "--device", &device];
            self.set_secret("JOIN_TOKEN", &scope, &token)?;
        }
        Ok(())
    }

    fn set_secret(&self, name: &str, scope: &[&str], file: &Path) -> Result<(), Failure> {
        let file = file.to_string_lossy();
        self.garrison(&[&["secrets", "set", name, "--file", &file], scope].concat()).map(drop)
    }

    /// The machine outside of the partitions: a registry, an engine, and the program.
    fn place_control(lab: &Lab, program: &Path) -> Result<Machine, Failure> {
        let dir = lab.dir().join("outside/cp01");
        let hosts = lab.hosts();
        let factory = Factory { hosts: &hosts, services: &[], port: MANAGEMENT };
        let namespace = lab.outside.place("cp01")?;
        let mut control = Machine::new("cp01", dir, namespace, &factory)?;
        let stripped = control.chassis().join("garrison");
        said("strip", &["-o", &stripped.to_string_lossy(), &program.to_string_lossy()])?;
        control.plug_in()?;
        let address = lab.outside.control();
        control.insist(&format!(
            "ip address replace {address}/24 dev {WAN}\n\
             install -m 755 /run/chassis/garrison /usr/local/bin/garrison\n\
             mkdir -p /etc/docker/registry /etc/garrison\n\
             echo DOCKER_OPTS= > /etc/default/docker\n\
             cat > /etc/docker/registry/garrison.yml <<'END'\nversion: 0.1\n\
             storage: {{ filesystem: {{ rootdirectory: {CACHE}/storage }}, maintenance: {{ readonly: {{ enabled: true }} }} }}\n\
             http: {{ addr: \":5000\" }}\nEND\n\
             install -d -o www-data /srv/www /srv/www/deployed\n\
             cat > /etc/nginx/sites-available/default <<'END'\nserver {{\n    listen 80 default_server;\n    \
             root /srv/www;\n    location /deployed/ {{ dav_methods PUT; }}\n}}\nEND\n\
             systemctl enable --now docker registry nginx\n\
             printf '[process]\\nallow = true\\nrepositories = [\"*\"]\\n' > /etc/garrison/policy.toml\n"
        ))?;
        Ok(control)
    }

    /// An agent of a partition on the machine outside.
    fn add_outside_agent(&self, partition: &str) -> Result<(), Failure> {
        let token = self.site.join_token(partition, "outside")?;
        let url = self.agents_url()?;
        self.control.console(&format!(
            "cat > /etc/garrison/{partition}.toml <<'END'\ncoordinator = \"{url}\"\n\
             state = \"/var/lib/garrison-{partition}\"\npolicy = \"/etc/garrison/policy.toml\"\n\
             labels = {{ place = \"outside\" }}\nEND\n\
             echo '{token}' > /etc/garrison/{partition}.token\n\
             mkdir -p /etc/sv/garrison-{partition}\ncat > /etc/sv/garrison-{partition}/run <<'END'\n\
             #!/bin/sh\nexec garrison agent --config /etc/garrison/{partition}.toml \
             --join-token-file /etc/garrison/{partition}.token >> /var/log/garrison-{partition}.log 2>&1\nEND\n\
             chmod +x /etc/sv/garrison-{partition}/run\nsystemctl enable --now garrison-{partition}"
        ))?;
        Ok(())
    }
}

/// What Ansible runs in.
pub fn deployment_image() -> String {
    format!("registry.lab:5000/{}:{}", IMAGE.0, IMAGE.1)
}

/// Whether a run has ended, and its logs are here.
fn is_over(detail: &Value) -> bool {
    let jobs = detail["jobs"].as_array().into_iter().flatten();
    let mut attempts = jobs.filter_map(|job| job["attempts"].as_array()).flatten();
    !detail["finished_us"].is_null() && attempts.all(|attempt| attempt["log_complete"] == true)
}

/// Tells a BMC behind its firewall what to do.
fn power(address: &str, words: &[&str]) -> Result<String, Failure> {
    let login = ["-I", "lanplus", "-C", "3", "-H", address, "-U", "admin", "-P", "calvin"];
    // It gets its address from the firewall, which may just have begun to give it.
    insist(|| said("ipmitool", &[&login[..], words].concat()))
}

/// A file below a folder, by the end of its path.
fn find(folder: &Path, end: &str) -> Result<PathBuf, Failure> {
    let found = said("find", &[&folder.to_string_lossy(), "-path", &format!("*/{end}")])?;
    let path = found.lines().next();
    path.map(PathBuf::from).ok_or_else(|| Failure::internal(format!("the run left no {end}")))
}

fn make_key(path: &Path) -> Result<(), Failure> {
    let path = path.to_string_lossy();
    said("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &path]).map(drop)
}

fn fill_registry() -> Result<(), Failure> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/machine/make-registry");
    let made = Command::new(script).args([CACHE, IMAGE.0, IMAGE.1]).status()?;
    match made.success() {
        true => Ok(()),
        false => Err(Failure::internal("the image for Ansible was not made")),
    }
}

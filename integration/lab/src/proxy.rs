//! The TLS proxy before the coordinator's API and pages, with a certificate that is its own authority.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use garrison::exit::Failure;

use crate::network::said;

/// The proxy: nginx at `https://garrison.lab`, which is this host as machines know it. It ends when it is
/// dropped.
pub struct Proxy {
    dir: PathBuf,
    address: Ipv4Addr,
    server: Option<Child>,
}

impl Proxy {
    /// A proxy with its files in `dir` and a certificate; it does not serve yet.
    pub fn new(dir: &Path, address: Ipv4Addr) -> Result<Proxy, Failure> {
        fs::create_dir_all(dir)?;
        let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
        let names = format!("subjectAltName=DNS:garrison.lab,IP:{address}");
        said(
            "openssl",
            &[
                ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
                    .as_slice(),
                &["-days", "30", "-subj", "/CN=garrison.lab", "-addext", &names],
                &["-addext", "basicConstraints=critical,CA:FALSE"],
                &["-keyout", &key.to_string_lossy(), "-out", &certificate.to_string_lossy()],
            ]
            .concat(),
        )?;
        Ok(Proxy { dir: dir.to_owned(), address, server: None })
    }

    /// What clients trust, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// Its address as this host knows it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Serves what is at `url`, the coordinator's own address.
    pub fn start(&mut self, url: &str) -> Result<(), Failure> {
        let Proxy { dir, address, .. } = self;
        let here = dir.display();
        let config = format!(
            "daemon off;\npid {here}/pid;\nerror_log {here}/error.log;\nevents {{}}\nhttp {{\n    \
             access_log off;\n    client_body_temp_path {here};\n    proxy_temp_path {here};\n    \
             fastcgi_temp_path {here};\n    uwsgi_temp_path {here};\n    scgi_temp_path {here};\n    \
             server {{\n        listen {address}:443 ssl;\n        \
             ssl_certificate {here}/certificate.pem;\n        ssl_certificate_key {here}/key.pem;\n        \
             client_max_body_size 0;\n        \
             location / {{ proxy_pass {url}; proxy_buffering off; }}\n    }}\n}}\n"
        );
        fs::write(self.dir.join("nginx.conf"), config)?;
        let server = Command::new("nginx")
            .arg("-c")
            .arg(self.dir.join("nginx.conf"))
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .stderr(fs::File::create(self.dir.join("log"))?)
            .spawn();
        let server = server.map_err(|error| {
            Failure::usage(format!("nginx: {error}; apt-get install nginx-light"))
        })?;
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let process = nix::unistd::Pid::from_raw(server.id().cast_signed());
        // Its workers end with it only if it is asked.
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
        let _ = server.wait();
    }
}

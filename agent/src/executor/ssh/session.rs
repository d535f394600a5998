//! The job's own session on a device: its start, its output and its end.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use pipelines::outcome::Exit;
use pipelines::plan::Ssh;
use proto::log::Stream;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::connection::{self, Connection};
use super::device::{ANSWER, END, RECEIVE, become_user, parse_group};
use crate::executor::script::{self, quoted};
use crate::output::Output;

/// How long a device may take to start a shell.
const PATIENCE: Duration = Duration::from_secs(15);

/// Most bytes that a login shell may print before the job.
const MOST_NOISE: usize = 64 << 10;

/// Carries out `$1` in a process group of its own, or says why not. sshd makes a session for each
/// command, and then this shell leads it already; `setsid` would fork then, and hide the exit status.
/// Without single quotes, newlines and `!`, so that any login shell can pass it on.
const LEAD: &str = concat!(
    r#"r=$1; s=; { read -r s < /proc/$$/stat; } 2> /dev/null; set -- ${s##*) }; "#,
    r#"[ -n "$3" ] || set -- - - $(ps -o pgid= -p $$); "#,
    r#"case $3 in $$) eval "$r"; exit ;; "#,
    r#"?*) command -v setsid > /dev/null && exec setsid /bin/sh -c "$r" ;; esac; "#,
    r#"echo "no process group of its own can be made: install setsid" >&2; exit 1"#,
);

/// A shell on the device, and then the job.
pub(super) struct Session {
    channel: Channel<Msg>,
    /// How the job ended.
    pub(super) exit: Option<Result<(), Exit>>,
    /// Nothing more comes.
    pub(super) is_closed: bool,
    /// Nothing more comes, since the connection has ended.
    pub(super) is_cut: bool,
    /// Output that could not be written.
    pub(super) unwritten: Option<io::Error>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Connection(#[from] connection::Error),
    #[error("it started no shell within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it did not start the job's shell, but said '{0}'; see the user's login shell there")]
    NoShell(String),
    #[error("the environment variable '{0}' has a name that a shell cannot set")]
    Variable(String),
}

impl Session {
    /// Follows what was started on `channel`.
    pub(super) fn of(channel: Channel<Msg>) -> Self {
        Self { channel, exit: None, is_closed: false, is_cut: false, unwritten: None }
    }

    /// Starts a shell that waits for a program of so many bytes; says its process group. It ends by
    /// itself if the connection does.
    pub(super) async fn open(
        connection: &Connection,
        target: &Ssh,
        mark: Uuid,
        length: usize,
    ) -> Result<(Self, i32), Error> {
        let open = async {
            let receive = match target.pty {
                true => receive_from_terminal(length),
                false => RECEIVE.to_owned(),
            };
            let program = format!("echo \"{ANSWER}{mark} $$\"; {receive}");
            let become_user = become_user(target);
            let command = format!("exec {become_user}/bin/sh -c '{LEAD}' garrison '{program}'");
            let mut channel = match target.pty {
                true => connection.start_with_terminal(&command).await?,
                false => connection.start(&command).await?,
            };
            let group = group(&mut channel, mark).await?;
            Ok((Self::of(channel), group))
        };
        timeout(PATIENCE, Box::pin(open)).await.unwrap_or(Err(Error::Silent))
    }

    /// Has the shell carry out `program`. After an error it may or may not do so.
    pub(super) async fn send(&mut self, program: String) -> Result<(), connection::Error> {
        self.channel.data_bytes(program).await?;
        Ok(self.channel.eof().await?)
    }

    /// Waits for one message and deals with it; may be dropped while it waits.
    pub(super) async fn step(&mut self, output: &mut Output) {
        match self.channel.wait().await {
            Some(ChannelMsg::Data { data }) => self.write(Stream::Stdout, &data, output),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                self.write(Stream::Stderr, &data, output);
            }
            Some(ChannelMsg::ExitStatus { exit_status: 0 }) => self.exit = Some(Ok(())),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.exit = Some(Err(Exit::Code(exit_status.cast_signed())));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.exit = Some(Err(Exit::Signal(number(&signal_name))));
            }
            Some(ChannelMsg::Close) => self.is_closed = true,
            None => (self.is_closed, self.is_cut) = (true, true),
            Some(_) => {}
        }
    }

    /// Goes on until nothing more comes, for at most `patience`.
    pub(super) async fn drain(&mut self, patience: Duration, output: &mut Output) {
        let deadline = Instant::now() + patience;
        while !self.is_closed && timeout_at(deadline, self.step(output)).await.is_ok() {}
    }

    fn write(&mut self, stream: Stream, data: &[u8], output: &mut Output) {
        if let Err(error) = output.write(stream, data) {
            self.unwritten.get_or_insert(error);
        }
    }
}

/// As [`RECEIVE`], from a terminal, whose input has no end.
fn receive_from_terminal(length: usize) -> String {
    RECEIVE.replacen("cat", &format!("head -c {length}"), 1)
}

/// What the shell carries out: the `environment`, then the `lines`. With a terminal its input is that,
/// as terminals are; else it is empty.
pub(super) fn program(
    environment: &BTreeMap<String, String>,
    lines: &[String],
    terminal: bool,
) -> Result<String, Error> {
    let input = match terminal {
        true => "stty sane -echo 2> /dev/null",
        false => "exec < /dev/null",
    };
    let exports = exports(environment)?;
    Ok(format!("{input}\nunset p r s\nset --\n{exports}set -e\n{}{END}", script::of(lines)))
}

/// What gives a shell the environment, a line for each variable.
pub(super) fn exports(environment: &BTreeMap<String, String>) -> Result<String, Error> {
    let export = |(name, value): (&String, &String)| match is_name(name) {
        true => Ok(format!("export {name}={}\n", quoted(value))),
        false => Err(Error::Variable(name.clone())),
    };
    environment.iter().map(export).collect()
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(inner) && text.starts_with(|first: char| !first.is_ascii_digit())
}

/// The group that the shell names in its first line, behind what its login may have printed.
async fn group(channel: &mut Channel<Msg>, mark: Uuid) -> Result<i32, Error> {
    let wanted = format!("{ANSWER}{mark} ");
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    while said.len() + complaint.len() < MOST_NOISE {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => said.extend_from_slice(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => complaint.extend_from_slice(&data),
            Some(ChannelMsg::Close) | None => break,
            Some(_) => continue,
        }
        let text = String::from_utf8_lossy(&said);
        let line = text.split_once(&wanted).and_then(|(_, rest)| rest.split_once('\n'));
        if let Some(group) = line.and_then(|(line, _)| parse_group(line.trim_end())) {
            return Ok(group);
        }
    }
    let text = String::from_utf8_lossy(if complaint.is_empty() { &said } else { &complaint });
    Err(Error::NoShell(text.trim().chars().take(200).collect()))
}

/// The signal's number here, which the same on Linux systems of the usual kinds; 0 for one
/// that has no name in SSH (RFC 4254, section 6.10).
fn number(signal: &Sig) -> i32 {
    let name = match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    };
    Signal::from_str(&format!("SIG{name}")).map_or(0, |signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// A local shell that takes a program.
    fn shell() -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", LEAD, "garrison", &format!("echo $$; ps -o pgid= -p $$; {RECEIVE}")]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    }

    /// What `shell` makes of `sent`.
    fn receive(mut shell: Command, sent: &[u8]) -> (Option<i32>, String) {
        let mut shell = shell.spawn().unwrap();
        // One that has ended takes nothing.
        let _ = shell.stdin.take().unwrap().write_all(sent);
        let out = shell.wait_with_output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        (out.status.code(), said)
    }

    #[test]
    fn a_program_runs_in_a_group_of_its_own() {
        let env = [("A".to_owned(), "it's $(x)\n`y`".to_owned())].into();
        let program = program(&env, &["echo \"$A\"".into(), "exit 7".into()], false).unwrap();
        let mut leader = shell();
        leader.process_group(0);
        for shell in [leader, shell()] {
            let (code, said) = receive(shell, program.as_bytes());
            let (pid, rest) = said.split_once('\n').unwrap();
            let (group, said) = rest.split_once('\n').unwrap();
            assert_eq!((code, group.trim()), (Some(7), pid));
            assert_eq!(said, "$ echo \"$A\"\nit's $(x)\n`y`\n$ exit 7\n");
        }
    }

    #[test]
    fn without_a_group_of_its_own_nothing_runs() {
        let mut bare = shell();
        bare.env("PATH", "/none");
        let (code, said) = receive(bare, b"echo ran\n#garrison-end");
        assert_eq!(code, Some(1));
        assert!(
            said.starts_with("no process group") && said.ends_with("install setsid\n"),
            "{said}"
        );
    }

    #[test]
    fn a_program_that_was_cut_anywhere_does_nothing() {
        let program = program(&[].into(), &["echo ran".into()], false).unwrap();
        for cut in (0..program.len()).step_by(7).chain([program.len() - 1]) {
            let (code, said) = receive(shell(), &program.as_bytes()[..cut]);
            assert_eq!((code, said.contains("ran")), (Some(0), false), "{cut}");
        }
    }

    #[test]
    fn a_name_that_would_be_more_than_a_name_is_refused() {
        for name in ["", "1A", "A B", "A;id", "A=B", "Ä"] {
            let environment = [(name.to_owned(), String::new())].into();
            assert!(program(&environment, &[], false).is_err(), "{name}");
        }
    }

    #[test]
    fn signals_have_their_numbers() {
        assert_eq!(number(&Sig::KILL), 9);
        assert_eq!(number(&Sig::Custom("USR2".into())), 12);
        assert_eq!(number(&Sig::Custom("SIG@openssh.com".into())), 0);
    }
}

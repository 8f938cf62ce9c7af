//! The nodes: processes of this very program.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;
use crate::cli::Client;
use crate::limits::{DEMO_LAST_WORDS_LINES, DEMO_POLL_TIMEOUT, DEMO_START_TIMEOUT};
use crate::net::Host;

/// How often a starting node is asked whether it is there.
const START_POLL: Duration = Duration::from_millis(50);

/// All node processes and their files. Dropping it kills the processes, whatever ends the demonstration.
pub(super) struct Nodes {
    directory: PathBuf,
    program: PathBuf,
    pub(super) all: Vec<Node>,
}

/// One node process.
pub(super) struct Node {
    /// `node-1` and so on.
    pub(super) name: String,
    /// Its REST.
    pub(super) client: Client,
    /// Whether the demonstration has killed it.
    pub(super) killed: bool,
    log: PathBuf,
    child: Child,
}

impl Nodes {
    /// An empty directory for them.
    pub(super) fn new() -> Result<Self, Error> {
        let directory = std::env::temp_dir().join(format!("fipple-demo-{}", std::process::id()));
        // Left by an earlier process of the same id; if there is none, all the better.
        let _absent = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(Error::io(format!("make {}", directory.display())))?;
        let program = std::env::current_exe().map_err(Error::io("find this program's own file"))?;
        Ok(Self { directory, program, all: Vec::new() })
    }

    /// This machine, for what runs in the demonstration's own process.
    pub(super) fn host(&self) -> Result<Host, Error> {
        Host::system(&self.directory).map_err(Error::io(format!("open {}", self.directory.display())))
    }

    /// Makes a new cluster's first node and runs it.
    pub(super) async fn start_first(&mut self, switches: &[String]) -> Result<(), Error> {
        let data = self.data_directory(1);
        self.finish(["init", "--name", "node-1", "--cluster-name", "demo"], &data)?;
        let token = self.token_file();
        self.finish(["token", "create", "--out", &token.to_string_lossy()], &data)?;
        self.start(1, switches, &[]).await
    }

    /// Runs another node, which joins by the first.
    pub(super) async fn start_next(&mut self, switches: &[String], seed: &str) -> Result<(), Error> {
        let token = self.token_file();
        let join = ["--seed", seed, "--token-file", &token.to_string_lossy()].map(str::to_owned);
        self.start(self.all.len() + 1, switches, &join).await
    }

    async fn start(&mut self, number: usize, switches: &[String], join: &[String]) -> Result<(), Error> {
        let name = format!("node-{number}");
        let data = self.data_directory(number);
        let log = self.directory.join(format!("{name}.log"));
        let log_file = create(&log)?;
        let mut command = self.command(&data);
        command.args(["node", "--name", &name, "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]).args(join);
        command.args(switches.iter().flat_map(|switch| ["--switch", switch]));
        command.stdout(Stdio::null()).stderr(Stdio::from(log_file));
        let child = command.spawn().map_err(Error::io(format!("start {name}")))?;
        let mut starting = Starting { name, data, log, child: Some(child) };
        let client = starting.wait().await?;
        let Starting { name, log, child, .. } = &mut starting;
        if let Some(child) = child.take() {
            self.all.push(Node {
                name: std::mem::take(name),
                client,
                killed: false,
                log: std::mem::take(log),
                child,
            });
        }
        Ok(())
    }

    /// The nodes that have not been killed.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Node> {
        self.all.iter().filter(|node| !node.killed)
    }

    /// Ends all processes at once.
    pub(super) fn kill_all(&mut self) {
        self.all.iter_mut().for_each(Node::kill);
    }

    /// Removes every trace, logs included.
    pub(super) fn remove_files(&self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("warning: cannot remove {}: {error}", self.directory.display());
        }
    }

    /// Where the logs are, and how each ends.
    pub(super) fn last_words(&self) -> String {
        let mut text = format!("The nodes' logs and data are kept in {}", self.directory.display());
        for node in &self.all {
            text.push_str(&format!("\n--- {} ends with\n{}", node.name, end_of(&node.log)));
        }
        text
    }

    fn data_directory(&self, number: usize) -> PathBuf {
        self.directory.join(format!("node-{number}"))
    }

    fn token_file(&self) -> PathBuf {
        self.directory.join("join.token")
    }

    /// This program on a data directory, without any setting of the surroundings.
    fn command(&self, data: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(data).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FIPPLE_") {
                command.env_remove(name);
            }
        }
        // Ctrl-C is meant for the demonstration, which then stops its nodes itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Runs a command that ends by itself.
    fn finish<const N: usize>(&self, arguments: [&str; N], data: &Path) -> Result<(), Error> {
        let what = format!("fipple {}", arguments.join(" "));
        let output = self.command(data).args(arguments).output().map_err(Error::io(format!("run {what}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Demo(format!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Node {
    /// The process's id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a power cut would (SIGKILL).
    pub(super) fn kill(&mut self) {
        self.killed = true;
        end(&mut self.child);
    }

    /// How the process ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

/// A process that does not answer yet; it is killed if the start is given up.
struct Starting {
    name: String,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Starting {
    /// Waits until its REST answers.
    async fn wait(&mut self) -> Result<Client, Error> {
        let give_up_at = Instant::now() + DEMO_START_TIMEOUT;
        loop {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(self.failed(&format!("ended with {status}")));
            }
            if let Ok(client) = Client::open(&self.data).map(|client| client.with_timeout(DEMO_POLL_TIMEOUT))
                && client.get("/health").await.is_ok()
            {
                return Ok(client);
            }
            if Instant::now() > give_up_at {
                return Err(self.failed(&format!("did not answer within {} s", DEMO_START_TIMEOUT.as_secs())));
            }
            sleep(START_POLL).await;
        }
    }

    fn failed(&self, how: &str) -> Error {
        Error::Demo(format!("{} {how}. Its log ends with\n{}", self.name, end_of(&self.log)))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.child.as_mut().into_iter().for_each(end);
    }
}

/// A child that has ended already cannot be killed, and that is fine.
fn end(child: &mut Child) {
    let _ended = child.kill();
    let _reaped = child.wait();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demonstration is a tool beside the nodes, on a real machine"
)]
fn create(path: &Path) -> Result<fs::File, Error> {
    fs::File::create(path).map_err(Error::io(format!("write {}", path.display())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the demonstration is a tool beside the nodes, on a real machine"
)]
fn end_of(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(DEMO_LAST_WORDS_LINES)..].join("\n")
}

/// Where a node's QUIC listens, as the others have to be told.
pub(super) async fn seed_address(node: &Node) -> Result<String, Error> {
    let members = node.client.get("/v2/cluster/members").await?;
    let local = members.as_array().into_iter().flatten().find(|member| member["local"] == true);
    let address = local.and_then(|member| member["address"].as_str()).unwrap_or_default();
    match address.parse::<SocketAddr>() {
        Ok(parsed) if parsed.port() != 0 => Ok(address.to_owned()),
        _ => Err(Error::Demo(format!("{} does not say where it listens: {address:?}", node.name))),
    }
}

//! A real `fipple node` process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::{Client, eventually};

/// A running `fipple node`; it is killed when dropped.
pub struct NodeProcess {
    killer: Killer,
    data_directory: PathBuf,
    /// A client of its REST.
    pub client: Client,
}

/// Kills a node from wherever the moment is noticed.
#[derive(Clone)]
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// SIGKILL: no farewell, no flush. When this returns the process is gone.
    pub fn kill(&self) {
        let mut child = self.child();
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeProcess {
    /// The program under test, which `cargo test --workspace` has built beside the tests.
    ///
    /// # Panics
    /// If it has not been built.
    pub fn program() -> PathBuf {
        let test = std::env::current_exe().expect("a test knows where it is");
        // Tests are in target/PROFILE/deps, other programs in target/PROFILE.
        let folders = test.ancestors().skip(1).take(2);
        let program = folders.map(|folder| folder.join("fipple")).find(|program| program.exists());
        program.expect("fipple is missing beside the test: run `cargo build --bin fipple` first")
    }

    /// Runs `fipple` with these arguments to its end.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(data_directory: &Path, arguments: &[&str]) -> String {
        let output = command()
            .args(arguments)
            .arg("--data-dir")
            .arg(data_directory)
            .output()
            .expect("fipple can be started");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "fipple {arguments:?}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `fipple node` on free ports of loopback, and waits until its REST answers. Its log is in its
    /// data directory, `node.log`.
    pub fn start(data_directory: &Path, arguments: &[String]) -> Self {
        // Left over from an earlier life, it would lead the client to the wrong port.
        let _absent = std::fs::remove_file(data_directory.join("api.json"));
        std::fs::create_dir_all(data_directory).expect("a data directory can be made");
        let log = data_directory.join("node.log");
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log can be made");
        let child = command()
            .args(["node", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data-dir"])
            .arg(data_directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("fipple can be started");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = Client { address, token: String::new() };
        let killer = Killer(Arc::new(Mutex::new(child)));
        let mut node = Self { killer, data_directory: data_directory.to_owned(), client };
        node.client = eventually("a node answers", || node.reach());
        node
    }

    fn reach(&mut self) -> Result<Client, String> {
        if let Ok(Some(status)) = self.killer.child().try_wait() {
            panic!("the node ended with {status}:\n{}", self.log());
        }
        let read = |name| {
            std::fs::read_to_string(self.data_directory.join(name))
                .map_err(|error| format!("{name}: {error}"))
        };
        let api: Value = serde_json::from_str(&read("api.json")?).map_err(|error| error.to_string())?;
        let address = api["address"].as_str().and_then(|address| address.parse().ok());
        let client = Client {
            address: address.ok_or("api.json holds no address")?,
            token: read("admin.key")?.trim().to_owned(),
        };
        client.get("/health").map(|_| client)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_directory.join("node.log")).unwrap_or_default()
    }

    /// The data of `GET path`.
    ///
    /// # Errors
    /// If no answer comes, or not one of success.
    pub fn data(&self, path: &str) -> Result<Value, String> {
        let answer = self.client.get(path)?;
        if answer.status != 200 {
            return Err(format!("{path}: {answer:?}"));
        }
        Ok(answer.body["data"].clone())
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        self.killer.kill();
    }

    /// What kills it.
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.killer.child().id()
    }

    /// Where it keeps its data.
    pub fn data_directory(&self) -> &Path {
        &self.data_directory
    }
}

/// `fipple`, without the settings in the environment of who runs the tests: they are not the test's, and a variable
/// that is meant for the test itself would be no setting of the node.
fn command() -> Command {
    let mut command = Command::new(NodeProcess::program());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"FIPPLE_")) {
        command.env_remove(name);
    }
    command
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let mut child = self.killer.child();
        let _already_dead = child.kill();
        let _status = child.wait();
        if std::thread::panicking() {
            eprintln!("--- log in {}:\n{}", self.data_directory.display(), self.log());
        }
    }
}

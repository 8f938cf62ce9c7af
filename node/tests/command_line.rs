//! The program as people meet it: real processes, real files, real sockets.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests of processes, files and sockets")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

/// How often a test looks again for what it waits for, and how often before it gives up (a minute).
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS: usize = 1200;

/// A directory that is removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fipple-command-line-{name}-{}", std::process::id()));
        let _absent = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn data(&self, node: &str) -> PathBuf {
        self.0.join(node)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left_over = fs::remove_dir_all(&self.0);
    }
}

/// The program on a data directory, in an environment without settings.
fn fipple(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fipple"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FIPPLE_")) {
        command.env_remove(name);
    }
    command.env("FIPPLE_DATA_DIR", data).args(arguments).stdin(Stdio::null());
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    fipple(data, arguments).output().unwrap()
}

/// What a command printed; it has to succeed.
fn printed(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The exit status of a command that fails, and what it said.
fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A node process that is killed with the test.
struct Node {
    child: Child,
    data: PathBuf,
}

impl Node {
    /// Starts one and waits until it answers.
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let loopback = ["node", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--log-level", "error"];
        let child = fipple(data, &[&loopback, arguments].concat()).spawn().unwrap();
        let mut node = Self { child, data: data.to_owned() };
        for _ in 0..LOOKS {
            assert_eq!(node.child.try_wait().unwrap(), None, "the node ended");
            if run(data, &["status"]).status.success() {
                return node;
            }
            sleep(LOOK_EVERY);
        }
        panic!("the node does not answer");
    }

    fn api_address(&self) -> String {
        let file = fs::read_to_string(self.data.join("api.json")).unwrap();
        serde_json::from_str::<Value>(&file).unwrap()["address"].as_str().unwrap().to_owned()
    }

    fn admin_key(&self) -> String {
        fs::read_to_string(self.data.join("admin.key")).unwrap().trim().to_owned()
    }

    /// A request as any HTTP client would send it; the status, the headers and the body.
    fn http(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.api_address()).unwrap();
        let key = key.map(|key| format!("X-Auth-Token: {key}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-Request-Id: test-1\r\n{key}\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is refused for its size is not read to its end: the write may fail, the answer stands.
        let _refused_early = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _reset_after_answer = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    /// The status and the word of an error.
    fn error(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.http(method, path, Some(&self.admin_key()), body);
        let envelope: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(envelope["status"], "error", "{envelope}");
        assert_eq!(envelope["request_id"], "test-1");
        assert!(envelope["message"].as_str().unwrap().len() > 20, "a message that helps: {envelope}");
        (status, envelope["error"].as_str().unwrap().to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn help_teaches_by_examples() {
    let directory = Directory::new("help");
    let help = printed(&directory.0, &["--help"]);
    for part in ["fipple demo", "fipple init", "token create", "--switch fs1=", "Exit status"] {
        assert!(help.contains(part), "{part} is not in: {help}");
    }
    let help = printed(&directory.0, &["node", "--help"]);
    for part in ["FIPPLE_LISTEN", "--token-file", "[[switch]]", "SIGTERM"] {
        assert!(help.contains(part), "{part} is not in: {help}");
    }
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let directory = Directory::new("missing");
    let data = directory.data("node");
    let (status, said) = refused(fipple(&data, &["node"]));
    assert_eq!(status, 1);
    assert!(
        said.contains("holds no node") && said.contains("fipple init") && said.contains("--token-file"),
        "{said}"
    );
    let (status, said) = refused(fipple(&data, &["members"]));
    assert!(status == 1 && said.contains("fipple init"), "{said}");
    assert!(!data.exists(), "looking makes nothing");
    assert!(printed(&data, &["init", "--name", "west-1"]).contains("fipple node"));
    let key = fs::read_to_string(data.join("admin.key")).unwrap();
    let (status, said) = refused(fipple(&data, &["init"]));
    assert!(status == 1 && said.contains("already holds node"), "{said}");
    assert_eq!(fs::read_to_string(data.join("admin.key")).unwrap(), key, "the second init changed nothing");
    let (status, said) = refused(fipple(&data, &["members"]));
    assert!(
        status == 1 && said.contains("does not run") && said.contains("fipple node --data-dir"),
        "{said}"
    );
}

#[test]
fn a_wrong_setting_is_named() {
    let directory = Directory::new("settings");
    let data = directory.data("node");
    printed(&data, &["init"]);
    fs::write(data.join("fipple.toml"), "zone = \"west\"\nlistn = \"0.0.0.0:7400\"\n").unwrap();
    let (status, said) = refused(fipple(&data, &["node"]));
    assert_eq!(status, 2);
    for part in ["fipple.toml", "line 2", "`listn`", "`listen`"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let mut mistyped = fipple(&data, &["status"]);
    mistyped.env("FIPPLE_LISTN", "0.0.0.0:7400");
    let (status, said) = refused(mistyped);
    assert!(status == 2 && said.contains("FIPPLE_LISTN") && said.contains("FIPPLE_LISTEN"), "{said}");
    fs::write(data.join("fipple.toml"), "zone = \"west\"\n").unwrap();
    let (status, said) = refused(fipple(&data, &["node", "--log-level", "fipple=loud"]));
    assert!(status == 2 && said.contains("loud"), "{said}");
    let (status, _) = refused(fipple(&data, &["call", "a-uuid", "dance"]));
    assert_eq!(status, 2);
}

#[test]
fn a_running_node_answers_and_says_what_is_wrong() {
    let directory = Directory::new("running");
    let data = directory.data("node");
    printed(&data, &["init", "--name", "west-1"]);
    // Nothing listens at the switch's address: the discard port of this machine.
    let mut node = Node::start(&data, &["--zone", "west", "--switch", "fs1=127.0.0.1:9"]);
    let members: Value = serde_json::from_str(&printed(&data, &["members", "--json"])).unwrap();
    let member = &members.as_array().unwrap()[0];
    assert_eq!(
        (&member["name"], &member["state"], &member["zone"]),
        (&"west-1".into(), &"alive".into(), &"west".into())
    );
    let status: Value = serde_json::from_str(&printed(&data, &["status", "--json"])).unwrap();
    assert_eq!((&status["ready"], &status["channels"]), (&true.into(), &0.into()), "{status}");
    assert!(printed(&data, &["members"]).contains("west-1 (this)"));
    assert!(printed(&data, &["switches"]).contains("fs1"));

    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(node.http("GET", path, None, "").0, 200, "{path} needs no key");
    }
    for key in [None, Some("wrong")] {
        let (status, _, body) = node.http("GET", "/v2/channels", key, "");
        assert!(status == 401 && body.contains("admin.key"), "{body}");
    }
    let (_, head, body) = node.http("GET", "/v2", Some(&node.admin_key()), "");
    assert!(body.contains("/v2/channels/{uuid}") && head.contains("x-request-id: test-1"), "{head}");

    let channel = "/v2/channels/8f9a2f4e-0000-4000-8000-000000000000";
    let play = r#"{"data":{"action":"play","file":"x"}}"#;
    assert_eq!(node.error("GET", "/v2/nothing", ""), (404, "unknown_path".into()));
    assert_eq!(node.error("DELETE", "/v2/channels", ""), (405, "wrong_method".into()));
    assert_eq!(node.error("GET", "/v2/channels/%ff", ""), (400, "invalid_path".into()));
    assert_eq!(node.error("POST", channel, "{\"data\":"), (400, "invalid_json".into()));
    assert_eq!(
        node.error("POST", channel, r#"{"data":{"action":"dance"}}"#),
        (400, "invalid_request".into())
    );
    // It may be a channel of the switch that cannot be asked.
    assert_eq!(node.error("POST", channel, play), (503, "switch_unavailable".into()));
    assert_eq!(node.error("POST", channel, &" ".repeat(2 << 20)), (413, "body_too_large".into()));
    let status = r#"{"data":{"command":"status"}}"#;
    assert_eq!(node.error("POST", "/v2/cluster/switches/fs9/api", status), (404, "unknown_switch".into()));
    assert_eq!(
        node.error("POST", "/v2/cluster/switches/fs1/api", status),
        (503, "switch_unavailable".into())
    );
    let (status, said) = refused(fipple(&data, &["api", "fs9", "status"]));
    assert!(status == 3 && said.contains("fs9") && said.contains("(404)"), "{said}");

    #[cfg(unix)]
    {
        assert!(Command::new("kill").arg(node.child.id().to_string()).status().unwrap().success());
        assert_eq!(
            node.child.wait().unwrap().code(),
            Some(0),
            "SIGTERM is a request to stop, and it stopped"
        );
    }
}

#[test]
fn the_command_line_believes_exactly_the_nodes_own_certificate() {
    let directory = Directory::new("tls");
    let data = directory.data("node");
    printed(&data, &["init"]);
    // No name of this machine is in it, and nobody vouches for it.
    let pair = rcgen::generate_simple_self_signed(["pbx.example".to_owned()]).unwrap();
    let (certificate, key) = (directory.0.join("api.pem"), directory.0.join("api.key"));
    fs::write(&certificate, pair.cert.pem()).unwrap();
    fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let files = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let node = Node::start(&data, &["--api-tls-certificate", files[0], "--api-tls-key", files[1]]);
    assert!(printed(&data, &["members"]).contains("alive"));
    let mut plain = TcpStream::connect(node.api_address()).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP is not served beside TLS");
    let other = rcgen::generate_simple_self_signed(["pbx.example".to_owned()]).unwrap();
    let published = serde_json::json!({ "address": node.api_address(), "certificate_pem": other.cert.pem() });
    fs::write(data.join("api.json"), published.to_string()).unwrap();
    let (status, said) = refused(fipple(&data, &["members"]));
    assert!(status == 1 && said.contains("certificate"), "{said}");
}

#[test]
fn a_second_node_joins_by_a_token_file() {
    let directory = Directory::new("join");
    let (first, second) = (directory.data("first"), directory.data("second"));
    printed(&first, &["init", "--name", "first"]);
    let token = directory.0.join("join.token");
    printed(&first, &["token", "create", "--out", token.to_str().unwrap()]);
    let first_node = Node::start(&first, &[]);
    // Without any switch there is nowhere where a channel could be.
    assert_eq!(first_node.error("GET", "/v2/channels/none", ""), (404, "unknown_channel".into()));
    let members: Value = serde_json::from_str(&printed(&first, &["members", "--json"])).unwrap();
    let seed = members[0]["address"].as_str().unwrap();
    let join = ["--name", "second", "--seed", seed, "--token-file", token.to_str().unwrap()];
    let second_node = Node::start(&second, &join);
    let alive = |data: &Path| {
        let status: Value = serde_json::from_str(&printed(data, &["status", "--json"])).unwrap();
        status["members"].as_u64().unwrap()
    };
    wait_for("both see both", || alive(&first) == 2 && alive(&second) == 2);
    drop(second_node);
    // The name and the seed were kept when the node was made.
    let _second_node = Node::start(&second, &[]);
    assert!(printed(&second, &["members"]).contains("second (this)"));
    wait_for("both see both again", || alive(&first) == 2 && alive(&second) == 2);
}

fn wait_for(what: &str, met: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if met() {
            return;
        }
        sleep(LOOK_EVERY);
    }
    panic!("never came true: {what}");
}

//! One node and a real FreeSWITCH, whose Event Socket `FIPPLE_TEST_FREESWITCH=HOST:PORT:PASSWORD` names. Without the
//! variable nothing is tested. The switch needs mod_commands, mod_dptools, mod_hash, mod_loopback (for `null/` endpoints) and
//! mod_tone_stream; its other calls are left alone.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use fipple_tests::{NodeProcess, RealSwitch, eventually};
use serde_json::{Value, json};

/// A node that is attached to the switch.
struct Bench {
    node: NodeProcess,
}

impl Bench {
    fn new(address: &str, password: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("fipple-test-freeswitch-{}", std::process::id()));
        NodeProcess::run(&directory, &["init", "--name", "node1"]);
        let arguments = ["--switch", &format!("fs1={address}"), "--switch-password", password];
        let bench = Self { node: NodeProcess::start(&directory, &arguments.map(str::to_owned)) };
        eventually("the node attaches", || {
            let switches = bench.node.data("/v2/cluster/switches")?;
            if switches[0]["state"] == "attached" { Ok(()) } else { Err(switches.to_string()) }
        });
        bench
    }

    /// A new call that is claimed, parked and answered.
    fn call(&self, flow: &str) -> String {
        let originate = json!({"endpoint": "null/fipple", "flow": flow, "caller_id_name": "Žofie of fipple"});
        let answer = self.node.client.post("/v2/channels", originate).expect("the node answers");
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["data"]["uuid"].as_str().expect("a call has a uuid").to_owned()
    }

    fn post(&self, uuid: &str, command: Value) -> (u16, Value) {
        let answer = self.node.client.post(&format!("/v2/channels/{uuid}"), command);
        let answer = answer.expect("the node answers");
        (answer.status, answer.body)
    }

    fn command(&self, uuid: &str, command: Value) {
        let (status, body) = self.post(uuid, command.clone());
        assert_eq!((status, &body["status"]), (200, &json!("success")), "{command}: {body}");
    }

    /// What the switch itself says.
    fn api(&self, command: &str) -> String {
        let answer = self.node.client.post("/v2/cluster/switches/fs1/api", json!({"command": command}));
        let answer = answer.expect("the node answers");
        answer.body["data"]["result"].as_str().unwrap_or_else(|| panic!("{command}: {answer:?}")).to_owned()
    }

    fn variable(&self, uuid: &str, name: &str) -> String {
        self.api(&format!("uuid_getvar {uuid} {name}"))
    }

    /// Waits until the node tells the channel as `wanted`.
    fn channel_becomes(&self, uuid: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        eventually(what, || {
            let channel = self.node.data(&format!("/v2/channels/{uuid}"))?;
            if wanted(&channel) { Ok(()) } else { Err(channel.to_string()) }
        });
    }

    fn variable_becomes(&self, uuid: &str, name: &str, wanted: &str) {
        eventually(&format!("{name} becomes {wanted}"), || {
            let value = self.variable(uuid, name);
            if value == wanted { Ok(()) } else { Err(value) }
        });
    }

    /// Waits until both the switch and the node know nothing of the channel any more.
    fn ends(&self, uuid: &str) {
        eventually("the call ends", || {
            let exists = self.api(&format!("uuid_exists {uuid}"));
            let known = self.node.client.get(&format!("/v2/channels/{uuid}"))?.status;
            if (exists.as_str(), known) == ("false", 404) {
                Ok(())
            } else {
                Err(format!("{exists}, {known}"))
            }
        });
    }
}

#[test]
fn a_real_freeswitch_is_controlled() {
    let Some(RealSwitch { address, password }) = RealSwitch::from_environment() else { return };
    let bench = Bench::new(&address, &password);
    commands_do_what_they_say(&bench);
    what_would_end_the_call_is_refused(&bench);
    two_calls_are_bridged(&bench);
    a_call_is_bridged_and_comes_back(&bench);
    a_flow_runs_to_its_end(&bench);
}

/// A parked call under control.
fn parked_call(bench: &Bench) -> String {
    let uuid = bench.call("park");
    bench.channel_becomes(&uuid, "the call has an owner", |channel| {
        channel["owner"].is_string() && channel["parked"] == true && channel["epoch"].as_u64() > Some(0)
    });
    uuid
}

fn commands_do_what_they_say(bench: &Bench) {
    let uuid = parked_call(bench);
    assert_eq!(bench.variable(&uuid, "origination_caller_id_name"), "Žofie of fipple");
    for value in ["two words  and more", "a=b;c,d|e", "${uuid} 100% %41", "\"quoted\" ^^;x"] {
        bench.command(&uuid, json!({"action": "set", "name": "fipple-test", "value": value}));
        assert_eq!(bench.variable(&uuid, "fipple-test"), value);
    }
    bench.command(&uuid, json!({"action": "set", "name": "fipple-test", "value": ""}));
    assert_eq!(bench.variable(&uuid, "fipple-test"), "_undef_");

    let execute = |argument: &str| json!({"action": "execute", "application": "set", "argument": argument});
    bench.command(&uuid, execute("fipple-test=of the channel's thread"));
    bench.variable_becomes(&uuid, "fipple-test", "of the channel's thread");

    bench.command(&uuid, json!({"action": "play", "file": "tone_stream://%(60000,0,440)"}));
    bench.channel_becomes(&uuid, "it plays", |channel| channel["application"] == "playback");
    bench.command(&uuid, json!({"action": "break"}));
    bench.channel_becomes(&uuid, "it plays no more", |channel| channel["application"] == "park");

    bench.command(&uuid, json!({"action": "hangup", "cause": "USER_BUSY"}));
    bench.ends(&uuid);
    let (status, body) = bench.post(&uuid, json!({"action": "answer"}));
    assert_eq!((status, &body["error"]), (404, &json!("unknown_channel")), "{body}");
}

fn what_would_end_the_call_is_refused(bench: &Bench) {
    let uuid = parked_call(bench);
    for command in [
        json!({"action": "execute", "application": "no_such_application"}),
        json!({"action": "bridge", "to": uuid}),
        json!({"action": "set", "name": "fipple_epoch", "value": "9"}),
    ] {
        let (status, body) = bench.post(&uuid, command.clone());
        assert_eq!(status, 400, "{command}: {body}");
    }
    assert_eq!(bench.api(&format!("uuid_exists {uuid}")), "true");
    bench.command(&uuid, json!({"action": "hangup"}));
    bench.ends(&uuid);
}

fn two_calls_are_bridged(bench: &Bench) {
    let (one, other) = (parked_call(bench), parked_call(bench));
    bench.command(&one, json!({"action": "bridge", "to": other}));
    bench.channel_becomes(&one, "it is bridged", |channel| channel["bridged_to"] == other);
    bench.channel_becomes(&other, "the other is bridged", |channel| channel["bridged_to"] == one);
    assert_eq!(bench.variable(&one, "bridge_uuid"), other);
    bench.command(&one, json!({"action": "hangup"}));
    bench.ends(&one);
    bench.ends(&other);
}

fn a_call_is_bridged_and_comes_back(bench: &Bench) {
    let uuid = parked_call(bench);
    bench.command(&uuid, json!({"action": "bridge", "to": "null/other"}));
    bench.channel_becomes(&uuid, "it is bridged", |channel| channel["bridged_to"].is_string());
    bench.command(&uuid, json!({"action": "play", "file": "tone_stream://%(60000,0,440)"}));
    bench.channel_becomes(&uuid, "it is played to in the bridge", |channel| {
        channel["application"] == "playback" && channel["bridged_to"].is_string()
    });
    bench.command(&uuid, json!({"action": "break"}));
    let other = bench.variable(&uuid, "bridge_uuid");
    bench.command(&other, json!({"action": "hangup"}));
    bench.channel_becomes(&uuid, "it is parked again", |channel| {
        channel["parked"] == true && channel["application"] == "park" && channel["bridged_to"].is_null()
    });
    bench.command(&uuid, json!({"action": "transfer", "extension": "park", "dialplan": "inline"}));
    bench.channel_becomes(&uuid, "it is parked by the dialplan", |channel| channel["parked"] == true);
    bench.command(&uuid, json!({"action": "hangup"}));
    bench.ends(&uuid);
}

fn a_flow_runs_to_its_end(bench: &Bench) {
    let uuid = bench.call("welcome");
    bench.channel_becomes(&uuid, "the second step runs", |channel| {
        (&channel["application"], &channel["done"]) == (&json!("playback"), &json!(1))
    });
    bench.variable_becomes(&uuid, "fipple_done", "1");
    bench.ends(&uuid);
}

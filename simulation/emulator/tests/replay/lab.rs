//! The machine of the recordings: its dialplan, its files, and who answers where.

use std::time::Duration;

use fipple_emulator::cause::Cause;
use fipple_emulator::config::{Answer, Destination, DirectoryUser, User};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, Disorder};

/// What each destination ran, read off the CHANNEL_EXECUTE events of the recordings.
const DIALPLAN: &[(&str, &[(&str, &str)])] = &[
    ("8000", &[("answer", ""), ("playback", "/srv/pbx1/sounds/bye.wav"), ("hangup", "")]),
    ("9001", &[("answer", ""), ("park", "")]),
    ("9002", &[("answer", ""), ("playback", "/srv/pbx1/sounds/hello.wav"), ("hangup", "NORMAL_CLEARING")]),
    (
        "9003",
        &[
            ("answer", ""),
            (
                "play_and_get_digits",
                "2 4 2 4000 # /srv/pbx1/sounds/enter.wav /srv/pbx1/sounds/bad.wav mydigits \\d+ 2000",
            ),
            ("log", "INFO digits=${mydigits}"),
            ("sleep", "200"),
            ("hangup", ""),
        ],
    ),
    ("9004", &[("answer", ""), ("conference", "lab1@default")]),
    (
        "9005",
        &[
            ("socket", "127.0.0.1:8084 async full"),
            ("log", "INFO after-socket"),
            ("playback", "/srv/pbx1/sounds/hello.wav"),
            ("hangup", ""),
        ],
    ),
    ("9006", &[("socket", "127.0.0.1:8084 full")]),
    ("9007", &[("park", "")]),
    ("9009", &[("answer", ""), ("echo", "")]),
    ("9012", &[("answer", ""), ("httapi", "{url=http://127.0.0.1:8092/httapi}")]),
    ("9013", &[("hangup", "USER_BUSY")]),
    ("9014", &[("answer", ""), ("fifo", "labq in")]),
    ("9015", &[("answer", ""), ("sleep", "3000"), ("hangup", "NORMAL_CLEARING")]),
    ("9016", &[("socket", "127.0.0.1:8084 async")]),
    ("9017", &[("answer", ""), ("valet_park", "lot1 auto in 8001 8010")]),
    ("9018", &[("answer", ""), ("sleep", "60000")]),
    (
        "9022",
        &[
            ("ring_ready", ""),
            ("sleep", "500"),
            ("pre_answer", ""),
            ("sleep", "500"),
            ("answer", ""),
            ("sleep", "500"),
            ("hangup", ""),
        ],
    ),
    ("9024", &[("answer", ""), ("bridge", "sofia/external/9009@127.0.0.1:5080")]),
    ("9026", &[("answer", ""), ("event", "Event-Subclass=lab::custom,Event-Name=CUSTOM,a=b,utf=žš")]),
];

/// What the lab's script must have been, by what it did in q_fencing/lua_app_fence.
const FENCE_APP: &str = r#"
if session:getVariable("lab_owner") == argv[1] then
  session:execute(argv[2], argv[3] or "")
else
  session:setVariable("lab_fenced", argv[1])
end
"#;

/// How long the sounds play, by PLAYBACK_STOP's `variable_playback_ms`.
const SOUNDS: &[(&str, u64)] = &[
    ("/srv/pbx1/sounds/hello.wav", 2157),
    ("/srv/pbx1/sounds/bye.wav", 823),
    ("/srv/pbx1/sounds/enter.wav", 1520),
    ("/srv/pbx1/sounds/bad.wav", 1126),
];

/// What could not be opened, for playing or for recording.
const MISSING_PATHS: &[&str] = &[
    "/srv/pbx1/sounds/none.wav",
    "/nonexist_dir_ro/",
    "http://127.0.0.1:8092/up/lab",
    "http://127.0.0.1:8092/file.wav",
];
/// The users of the directory who may control the switch, by what `userauth` was answered.
fn users() -> Vec<User> {
    let user = |name: &str, events: Option<&str>, api: Option<&str>, may_log| User {
        name: name.into(),
        domain: "lab.local".into(),
        password: "secret".into(),
        events: events.map(str::to_owned),
        api: api.map(str::to_owned),
        may_log,
    };
    vec![
        user("ctl", Some("CHANNEL_ANSWER,CHANNEL_HANGUP"), Some("show,status,bgapi"), true),
        user("ctl2", None, None, true),
        user("ctl3", Some("all"), Some("sched_api eval expand bgapi show"), false),
        user("someone", None, None, true),
    ]
}

/// The users of the lab's directory: twenty extensions, and those of the Event Socket, who have no variables.
fn directory() -> Vec<DirectoryUser> {
    let user = |id: String, variables: &[(&str, String)]| DirectoryUser {
        id,
        domain: "lab.local".into(),
        group: "default".into(),
        params: vec![("password".into(), "1234".into())],
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let extensions = (1000..1020).map(|number| {
        let variables = [
            ("user_context", "default".to_owned()),
            ("effective_caller_id_name", format!("Ext {number}")),
            ("effective_caller_id_number", number.to_string()),
        ];
        user(number.to_string(), &variables)
    });
    extensions.chain(["ctl", "ctl2", "ctl3"].map(|id| user(id.into(), &[]))).collect()
}

/// The switch of the recordings, with its wall clock set.
pub(crate) fn config(wall_clock_at_start_micros: u64) -> Config {
    let extensions = DIALPLAN.iter().map(|(destination, actions)| Extension {
        destination: (*destination).into(),
        actions: actions.iter().map(|(application, argument)| Action::new(*application, *argument)).collect(),
    });
    let answers = |pattern: &str, ring_ms, answer_ms| Destination {
        pattern: pattern.into(),
        answer: Answer::Answers {
            ring_after: Duration::from_millis(ring_ms),
            answer_after: Duration::from_millis(answer_ms),
        },
    };
    let refuses = |pattern: &str, cause: &str| Destination {
        pattern: pattern.into(),
        answer: Answer::Refuses { after: Duration::from_millis(1), cause: Cause::named(cause) },
    };
    // The switch itself, which the lab's calls come back to.
    let itself = Answer::AnswersWithoutRinging { after: Duration::from_millis(2) };
    let files = SOUNDS.iter().map(|(path, length_ms)| ((*path).into(), Duration::from_millis(*length_ms)));
    Config {
        wall_clock_at_start_micros,
        users: users(),
        event_lag_ms: 0..=0,
        disorder: Disorder::default(),
        dialplan: Dialplan { extensions: extensions.collect() },
        destinations: vec![
            answers("test@127.0.0.1:6070", 1, 200),
            refuses("test@127.0.0.1:6071", "USER_BUSY"),
            refuses("test@127.0.0.1:6099", "NORMAL_TEMPORARY_FAILURE"),
            Destination { pattern: "9*".into(), answer: itself },
        ],
        directory: directory(),
        globals: vec![
            ("domain".into(), "lab.local".into()),
            ("local_ip_v4".into(), "127.0.0.1".into()),
            ("lab_ip".into(), "127.0.0.1".into()),
        ],
        user_agents: vec![("9*".into(), "FS-lab-1".into())],
        files: files.collect(),
        missing_paths: MISSING_PATHS.iter().map(|path| (*path).into()).collect(),
        lua_scripts: [("fence_app.lua".into(), FENCE_APP.into())].into(),
        ..Config::default()
    }
}

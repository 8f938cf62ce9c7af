//! A node's settings: from flags, from `FIPPLE_*` variables, and from a TOML file, in this order of precedence.
//!
//! [`Settings`] names every key once; the derives make of it the flag, the variable and the file's key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fipple_protocol::call::Flow;
use serde::Deserialize;

use crate::Error;
use crate::api::TlsMaterial;
use crate::limits::NAME_MAX_BYTES;
use crate::switch::{Fallback, Fence, SwitchConfig};

/// The configuration file that is read from the data directory if none is named.
pub const CONFIG_FILE: &str = "fipple.toml";

/// The password that FreeSWITCH ships with in `event_socket.conf.xml`.
const SHIPPED_PASSWORD: &str = "ClueCon";

/// Everything that can be set, each key optional, as it comes from one of the three places. It may hold
/// passwords, so there is no way to print it.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The node's name in listings; the name given at `fipple init`, or else a part of its id, if left out
    #[arg(long, env = "FIPPLE_NAME")]
    pub name: Option<String>,

    /// Where the other nodes reach this one: QUIC on UDP [default: 0.0.0.0:7400]
    #[arg(long, value_name = "ADDRESS:PORT", env = "FIPPLE_LISTEN")]
    pub listen: Option<SocketAddr>,

    /// The address that other nodes are told, where it differs from --listen (NAT, 0.0.0.0)
    #[arg(long, value_name = "HOST:PORT", env = "FIPPLE_ADVERTISE")]
    pub advertise: Option<String>,

    /// Where REST listens [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT", env = "FIPPLE_API")]
    pub api: Option<SocketAddr>,

    /// A node to join by; repeat it for more. One that answers is enough
    #[arg(long = "seed", value_name = "HOST:PORT", env = "FIPPLE_SEEDS", value_delimiter = ',')]
    pub seeds: Option<Vec<String>>,

    /// Where the node stands: calls are controlled in their switch's zone if it has a live node [default: default]
    #[arg(long, env = "FIPPLE_ZONE")]
    pub zone: Option<String>,

    /// The node's capacity relative to the others: its share of the calls [default: 100]
    #[arg(long, env = "FIPPLE_WEIGHT", value_parser = clap::value_parser!(u16).range(1..))]
    pub weight: Option<u16>,

    /// A FreeSWITCH to attach to; repeat it for more. In the file: `[[switch]]` with name, address, password, zone,
    /// fallback_extension, fallback_dialplan, fallback_context, fallback_seconds, fence
    #[arg(long, value_name = "NAME=HOST:PORT", env = "FIPPLE_SWITCH", value_delimiter = ',', value_parser = switch_flag)]
    pub switch: Option<Vec<SwitchSettings>>,

    /// The Event Socket password of switches that name none; all users of the machine see flags, so rather use the
    /// variable or the file [default: ClueCon]
    #[arg(long, value_name = "PASSWORD", env = "FIPPLE_SWITCH_PASSWORD", hide_env_values = true)]
    pub switch_password: Option<String>,

    /// The extension for calls that no node controls any more, on switches that name none [default: fipple_fallback]
    #[arg(long, value_name = "EXTENSION", env = "FIPPLE_FALLBACK_EXTENSION")]
    pub fallback_extension: Option<String>,

    /// The dialplan that has that extension, on switches that name none [default: XML]
    #[arg(long, value_name = "DIALPLAN", env = "FIPPLE_FALLBACK_DIALPLAN")]
    pub fallback_dialplan: Option<String>,

    /// The context in which it is looked for, on switches that name none [default: default]
    #[arg(long, value_name = "CONTEXT", env = "FIPPLE_FALLBACK_CONTEXT")]
    pub fallback_context: Option<String>,

    /// How long after the last node's death a waiting caller is there at the latest, in seconds, on switches that
    /// do not say it; calls that are bridged or dialling are left alone until they are not [default: 40]
    #[arg(long, value_name = "SECONDS", env = "FIPPLE_FALLBACK_SECONDS")]
    pub fallback_seconds: Option<u64>,

    /// Call flows beside those that are built in, as a TOML array. In the file: `[[flow]]`. `docs/flows.md` tells their steps
    #[arg(long, value_name = "TOML", env = "FIPPLE_FLOW", value_parser = flows_flag)]
    pub flow: Option<FlowList>,

    /// How to log. In the file: `[log]`
    #[command(flatten)]
    pub log: LogSettings,

    /// TLS for REST. In the file: `[api_tls]`
    #[command(flatten)]
    pub api_tls: TlsSettings,
}

/// A switch as it is written in the file.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchSettings {
    /// Its name, the same on all nodes.
    pub name: String,
    /// `host:port` of its Event Socket.
    pub address: String,
    /// Its Event Socket password.
    pub password: Option<String>,
    /// Its zone; the node's if left out.
    pub zone: Option<String>,
    /// Where its calls go that no node controls any more: the extension.
    pub fallback_extension: Option<String>,
    /// The dialplan that has it.
    pub fallback_dialplan: Option<String>,
    /// The context in which it is looked for.
    pub fallback_context: Option<String>,
    /// How long after the last node's death a waiting caller is there at the latest, in seconds.
    pub fallback_seconds: Option<u64>,
    /// The fence that it must have, `strict`, `snippet` or `none`; the best that is there if left out.
    pub fence: Option<Fence>,
}

/// Flows as they are written in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct FlowList(Vec<Flow>);

/// How to log.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How log lines are written, to standard error [default: text]
    #[arg(id = "log_format", long = "log-format", value_enum, env = "FIPPLE_LOG_FORMAT")]
    pub format: Option<LogFormat>,

    /// What is logged: a level, or levels by module such as `info,fipple::calls=debug` [default: info]
    #[arg(id = "log_level", long = "log-level", value_name = "LEVEL", env = "FIPPLE_LOG_LEVEL")]
    pub level: Option<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The files of a certificate.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Serve REST over TLS with this certificate chain (PEM)
    #[arg(
        id = "api_tls_certificate",
        long = "api-tls-certificate",
        value_name = "FILE",
        env = "FIPPLE_API_TLS_CERTIFICATE"
    )]
    pub certificate: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(id = "api_tls_key", long = "api-tls-key", value_name = "FILE", env = "FIPPLE_API_TLS_KEY")]
    pub key: Option<PathBuf>,
}

/// A node's configuration, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, if it is to have another than the one given at its birth.
    pub name: Option<String>,
    /// Where QUIC listens.
    pub listen: SocketAddr,
    /// What other nodes are told instead, `host:port`.
    pub advertise: Option<String>,
    /// Where REST listens.
    pub api: SocketAddr,
    /// TLS for REST; plain HTTP if none.
    pub api_tls: Option<TlsMaterial>,
    /// Nodes to join by, `host:port`.
    pub seeds: Vec<String>,
    /// The node's zone.
    pub zone: String,
    /// The node's capacity relative to the others, at least 1.
    pub weight: u16,
    /// The switches that it attaches to.
    pub switches: Vec<SwitchConfig>,
    /// Call flows beside those that are built in.
    pub flows: Vec<Flow>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            listen: SocketAddr::from(([0, 0, 0, 0], 7400)),
            advertise: None,
            // Loopback only: REST has one key and, unless it is told otherwise, no TLS.
            api: SocketAddr::from(([127, 0, 0, 1], 8000)),
            api_tls: None,
            seeds: Vec::new(),
            zone: "default".into(),
            weight: 100,
            switches: Vec::new(),
            flows: Vec::new(),
            log_format: LogFormat::Text,
            log_level: "info".into(),
        }
    }
}

impl Config {
    /// Puts together what flags and variables say with what the file says: `file`, or if none is named
    /// [`CONFIG_FILE`] in `data_directory` where there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it or in `settings` is wrong.
    pub fn load(settings: Settings, file: Option<&Path>, data_directory: &Path) -> Result<Self, Error> {
        let default_file = data_directory.join(CONFIG_FILE);
        let file = file.or(default_file.exists().then_some(default_file.as_path()));
        let from_file = match file {
            Some(path) => Settings::parse(&read_text(path)?, &path.display().to_string())?,
            None => Settings::default(),
        };
        settings.or(from_file).complete()
    }
}

impl Settings {
    /// Reads the text of a configuration file; `origin` is its name.
    ///
    /// # Errors
    /// If it is not TOML, or has a key or a value that is not known: the error shows the line.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| wrong(origin, error.to_string().trim_end()))
    }

    /// Takes from `other` what is not set here.
    fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            listen: self.listen.or(other.listen),
            advertise: self.advertise.or(other.advertise),
            api: self.api.or(other.api),
            seeds: self.seeds.or(other.seeds),
            zone: self.zone.or(other.zone),
            weight: self.weight.or(other.weight),
            switch: self.switch.or(other.switch),
            switch_password: self.switch_password.or(other.switch_password),
            fallback_extension: self.fallback_extension.or(other.fallback_extension),
            fallback_dialplan: self.fallback_dialplan.or(other.fallback_dialplan),
            fallback_context: self.fallback_context.or(other.fallback_context),
            fallback_seconds: self.fallback_seconds.or(other.fallback_seconds),
            flow: self.flow.or(other.flow),
            log: LogSettings {
                format: self.log.format.or(other.log.format),
                level: self.log.level.or(other.log.level),
            },
            api_tls: TlsSettings {
                certificate: self.api_tls.certificate.or(other.api_tls.certificate),
                key: self.api_tls.key.or(other.api_tls.key),
            },
        }
    }

    /// Fills in the defaults and checks what one key alone cannot tell.
    ///
    /// # Errors
    /// If values do not go together, or a certificate cannot be read.
    pub fn complete(self) -> Result<Config, Error> {
        let default = Config::default();
        let zone = self.zone.unwrap_or(default.zone);
        let named = [("name", self.name.as_deref()), ("zone", Some(&zone))];
        for (key, value) in named.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            check_name(key, value)?;
        }
        let shipped = Fallback::default();
        let others = SwitchDefaults {
            zone: &zone,
            password: self.switch_password.as_deref().unwrap_or(SHIPPED_PASSWORD),
            fallback: Fallback {
                extension: self.fallback_extension.unwrap_or(shipped.extension),
                dialplan: self.fallback_dialplan.unwrap_or(shipped.dialplan),
                context: self.fallback_context.unwrap_or(shipped.context),
                seconds: self.fallback_seconds.unwrap_or(shipped.seconds),
            },
        };
        let switches = complete_switches(self.switch.unwrap_or_default(), &others)?;
        let weight = self.weight.unwrap_or(default.weight);
        if weight == 0 {
            return Err(wrong("weight", "it has to be at least 1"));
        }
        let seeds = self.seeds.unwrap_or_default();
        seeds.iter().try_for_each(|seed| check_address("seeds", seed))?;
        self.advertise.iter().try_for_each(|advertise| check_address("advertise", advertise))?;
        Ok(Config {
            name: self.name,
            listen: self.listen.unwrap_or(default.listen),
            advertise: self.advertise,
            api: self.api.unwrap_or(default.api),
            api_tls: self.api_tls.read()?,
            seeds,
            zone,
            weight,
            switches,
            flows: self.flow.map(|flows| flows.0).unwrap_or_default(),
            log_format: self.log.format.unwrap_or_default(),
            log_level: self.log.level.unwrap_or(default.log_level),
        })
    }
}

impl TlsSettings {
    fn read(&self) -> Result<Option<TlsMaterial>, Error> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsMaterial {
                certificate_pem: read_text(certificate)?.into_bytes(),
                key_pem: read_text(key)?.into_bytes(),
            })),
            _ => Err(wrong("api_tls", "it needs both certificate and key")),
        }
    }
}

/// What a switch is given that does not say it itself.
struct SwitchDefaults<'a> {
    zone: &'a str,
    password: &'a str,
    fallback: Fallback,
}

fn complete_switches(
    settings: Vec<SwitchSettings>,
    default: &SwitchDefaults<'_>,
) -> Result<Vec<SwitchConfig>, Error> {
    // What is wrong for all switches is wrong where there is none, too.
    check_fallback("", &default.fallback)?;
    let mut switches = Vec::new();
    for switch in settings {
        check_name("switch.name", &switch.name)?;
        check_address("switch.address", &switch.address)?;
        let zone = switch.zone.unwrap_or_else(|| default.zone.to_owned());
        check_name("switch.zone", &zone)?;
        let password = switch.password.unwrap_or_else(|| default.password.to_owned());
        let shared = default.fallback.clone();
        let fallback = Fallback {
            extension: switch.fallback_extension.unwrap_or(shared.extension),
            dialplan: switch.fallback_dialplan.unwrap_or(shared.dialplan),
            context: switch.fallback_context.unwrap_or(shared.context),
            seconds: switch.fallback_seconds.unwrap_or(shared.seconds),
        };
        check_fallback("switch.", &fallback)?;
        let SwitchSettings { name, address, fence, .. } = switch;
        switches.push(SwitchConfig { name, zone, address, password, fence, fallback });
    }
    Ok(switches)
}

fn check_fallback(prefix: &str, fallback: &Fallback) -> Result<(), Error> {
    fallback.check().map_err(|(key, detail)| wrong(format!("{prefix}{key}"), detail))
}

/// Names stand in paths of REST, in tables and in keys on switches.
fn check_name(key: &str, name: &str) -> Result<(), Error> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(fit) {
        let detail =
            format!("{name:?} will not do: use 1 to {NAME_MAX_BYTES} letters, digits, '-', '_' and '.'");
        return Err(wrong(key, detail));
    }
    Ok(())
}

fn check_address(key: &str, address: &str) -> Result<(), Error> {
    let is_host = |host: &str| {
        !host.is_empty()
            && (!host.contains(':') || host.starts_with('['))
            && !host.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    match address.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(()),
        _ => Err(wrong(key, format!("{address:?} is not HOST:PORT, with an IPv6 address as [::1]:PORT"))),
    }
}

fn switch_flag(text: &str) -> Result<SwitchSettings, String> {
    let (name, address) = text.split_once('=').ok_or("write it as NAME=HOST:PORT")?;
    Ok(SwitchSettings { name: name.into(), address: address.into(), ..SwitchSettings::default() })
}

fn flows_flag(text: &str) -> Result<FlowList, String> {
    #[derive(Deserialize)]
    struct Flows {
        flow: FlowList,
    }
    toml::from_str::<Flows>(&format!("flow = {text}"))
        .map(|flows| flows.flow)
        .map_err(|error| error.to_string())
}

fn wrong(origin: impl Into<String>, detail: impl Into<String>) -> Error {
    Error::Configuration { origin: origin.into(), detail: detail.into() }
}

#[expect(
    clippy::disallowed_methods,
    reason = "read before there is a node, from wherever the operator keeps it"
)]
fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, Error> {
        Settings::parse(text, "fipple.toml").and_then(Settings::complete)
    }

    #[test]
    fn a_whole_file_is_understood() {
        let config = load(
            r#"
            name = "west-1"
            listen = "10.0.0.1:7400"
            seeds = ["10.0.0.2:7400", "fipple.example:7400"]
            zone = "west"
            log = { format = "json", level = "debug" }

            [[switch]]
            name = "a"
            address = "10.0.0.9:8021"
            password = "secret"

            [[switch]]
            name = "b"
            address = "[2001:db8::1]:8021"
            zone = "east"
            fallback_extension = "*98"
            fallback_seconds = 90
            "#,
        );
        let config = config.unwrap();
        assert_eq!(config.name.as_deref(), Some("west-1"));
        assert_eq!(config.seeds.len(), 2);
        assert_eq!((config.log_format, config.log_level.as_str()), (LogFormat::Json, "debug"));
        let [a, b] = &config.switches[..] else { panic!("two switches") };
        assert_eq!((a.zone.as_str(), a.password.as_str()), ("west", "secret"), "the node's zone");
        assert_eq!((b.zone.as_str(), b.password.as_str()), ("east", "ClueCon"), "the shipped password");
        assert_eq!(a.fallback, Fallback::default());
        assert_eq!((b.fallback.extension.as_str(), b.fallback.seconds), ("*98", 90));
        assert_eq!(b.fallback.context, "default");
        assert_eq!(config.api, Config::default().api);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line_and_the_valid_ones() {
        let said = load("zone = \"west\"\nlistn = \"0.0.0.0:7400\"\n").unwrap_err().to_string();
        for part in ["fipple.toml", "line 2", "`listn`", "`listen`", "`seeds`", "`switch`"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let said = load("[[switch]]\nname = \"a\"\nadress = \"h:1\"\n").unwrap_err().to_string();
        assert!(said.contains("line 3") && said.contains("`adress`") && said.contains("`address`"), "{said}");
    }

    #[test]
    fn values_that_will_not_do_are_refused() {
        let wrong = [
            ("weight = 0", "weight"),
            ("zone = \"a b\"", "zone"),
            ("listen = \"here\"", "line 1"),
            ("[[switch]]\nname = \"a\"\naddress = \"h\"", "switch.address"),
            ("[[switch]]\nname = \"a/b\"\naddress = \"h:1\"", "switch.name"),
            ("[[switch]]\nname = \"a\"\naddress = \"::1:8021\"", "switch.address"),
            (
                "[[switch]]\nname = \"a\"\naddress = \"h:1\"\nfallback_context = \"a b\"",
                "switch.fallback_context",
            ),
            ("[[switch]]\nname = \"a\"\naddress = \"h:1\"\nfallback_seconds = 5", "switch.fallback_seconds"),
            ("fallback_extension = \"a;b\"", "fallback_extension"),
            ("seeds = [\"10.0.0.1\"]", "seeds"),
            ("seeds = [\"h:0\"]", "seeds"),
            ("seeds = [\"h h:1\"]", "seeds"),
            ("advertise = \"h:\"", "advertise"),
            ("api_tls = { certificate = \"x\" }", "api_tls"),
        ];
        for (text, named) in wrong {
            let said = load(text).unwrap_err().to_string();
            assert!(said.contains(named), "{text}: {said}");
        }
    }

    #[test]
    fn the_flow_of_the_documentation_is_one() {
        let text = include_str!("../../docs/flows.md");
        let toml = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let [flow] = &load(toml).unwrap().flows[..] else { panic!("one flow") };
        let applications: Vec<_> = flow.steps.iter().map(|step| step.application.as_str()).collect();
        let expected =
            ["answer", "playback", "play_and_get_digits", "record", "bridge", "playback", "hangup"];
        assert_eq!(applications, expected);
    }

    #[test]
    fn a_wrong_step_is_named_with_its_flow_and_field() {
        let flow =
            "[[flow]]\nname = \"night\"\nsteps = [{ do = \"answer\" }, { do = \"play\", fil = \"a\" }]";
        let said = load(flow).unwrap_err().to_string();
        for part in ["fipple.toml", "\"night\"", "step 2", "`fil`", "`file`"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        let said =
            flows_flag("[{ name = \"a\", steps = [{ do = \"hangup\", cause = \"X\" }] }]").unwrap_err();
        assert!(said.contains("step 1") && said.contains("`cause`"), "{said}");
    }

    #[test]
    fn what_is_set_nearer_wins() {
        let flags = Settings { zone: Some("flag".into()), ..Settings::default() };
        let file = Settings::parse("zone = \"file\"\nweight = 7", "f").unwrap();
        let config = flags.or(file).complete().unwrap();
        assert_eq!((config.zone.as_str(), config.weight), ("flag", 7));
    }
}

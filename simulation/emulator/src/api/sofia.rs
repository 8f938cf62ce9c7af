//! `sofia`: its two profiles, and who is registered.

use crate::channel::Endpoint;
use crate::switch::Switch;

const RULE: &str =
    "=================================================================================================\n";

/// A profile: its name and its port.
const PROFILES: [(&str, &str); 2] = [("external", "5080"), ("internal", "5060")];

/// What `sofia status profile` tells of a profile's media, which is the same for both.
const PROFILE_MEDIA: [(&str, &str); 14] = [
    ("HOLD-MUSIC", "N/A"),
    ("OUTBOUND-PROXY", "N/A"),
    ("CODECS IN", "PCMU,PCMA"),
    ("CODECS OUT", "PCMU,PCMA"),
    ("TEL-EVENT", "101"),
    ("DTMF-MODE", "rfc2833"),
    ("CNG", "13"),
    ("SESSION-TO", "0"),
    ("MAX-DIALOG", "0"),
    ("MAX-RECV-RPS", "1000"),
    ("NOMEDIA", "false"),
    ("LATE-NEG", "false"),
    ("PROXY-MEDIA", "false"),
    ("AGGRESSIVENAT", "false"),
];

impl Switch {
    pub(super) fn api_sofia(&mut self, argument: &str) -> String {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["status"] => self.sofia_status(),
            ["xmlstatus"] => self.sofia_status_xml(),
            ["status", "profile", _, "reg", ..] => self.registrations_text(),
            ["xmlstatus", "profile", _, "reg", ..] => self.registrations_xml(),
            ["status", "profile", name] => match port_of(name) {
                Some(port) => self.profile_status(name, port),
                None => "Invalid Profile!\n".into(),
            },
            ["global", "siptrace", state] => format!("+OK Global siptrace {state}"),
            ["profile", name, _, ..] if port_of(name).is_none() => format!("Invalid Profile [{name}]"),
            ["profile", _, "rescan", ..] => "Reload XML [Success]\n+OK scan complete\n".into(),
            ["recover"] => match self.recover() {
                0 => "No sessions to recover.\n".into(),
                count => format!("Recovered {count} session(s)\n"),
            },
            _ => "-USAGE: sofia help\n".into(),
        }
    }

    /// How many legs a profile has; the lab's calls all use `external`.
    fn legs_of(&self, profile: &str) -> usize {
        let prefix = format!("sofia/{profile}/");
        let own = self.channels.values().filter(|channel| channel.endpoint == Endpoint::Sofia);
        own.filter(|channel| channel.name.starts_with(&prefix)).count()
    }

    fn domain_alias(&self) -> String {
        let domain = self.config.globals.iter().find(|(name, _)| name == "domain");
        domain.map(|(_, domain)| domain.clone()).unwrap_or_default()
    }

    fn sofia_status(&self) -> String {
        let alias = self.domain_alias();
        let mut text = format!("{:>25}\t{:>7}\t{:>42}\tState\n{RULE}", "Name", "Type", "Data");
        for (index, (name, port)) in PROFILES.iter().enumerate() {
            let url = format!("sip:mod_sofia@127.0.0.1:{port}");
            text += &format!("{name:>25}\tprofile\t{url:>42}\tRUNNING ({})\n", self.legs_of(name));
            if index == 0 && !alias.is_empty() {
                text += &format!("{alias:>25}\t{:>7}\t{:>42}\tALIASED\n", "alias", "internal");
            }
        }
        text + &format!("{RULE}2 profiles {} alias\n", usize::from(!alias.is_empty()))
    }

    fn sofia_status_xml(&self) -> String {
        let alias = self.domain_alias();
        let mut text = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<profiles>\n".to_owned();
        for (index, (name, port)) in PROFILES.iter().enumerate() {
            text += &format!(
                "<profile>\n<name>{name}</name>\n<type>profile</type>\n<data>sip:mod_sofia@127.0.0.1:{port}</data>\n\
                 <state>RUNNING ({})</state>\n</profile>\n",
                self.legs_of(name)
            );
            if index == 0 && !alias.is_empty() {
                text += &format!(
                    "<alias>\n<name>{alias}</name>\n<type>alias</type>\n<data>internal</data>\n\
                     <state>ALIASED</state>\n</alias>\n"
                );
            }
        }
        text + "</profiles>\n"
    }

    fn profile_status(&self, name: &str, port: &str) -> String {
        let realm = self.domain_alias();
        let lines = [
            ("Name", name.to_owned()),
            ("Domain Name", "N/A".into()),
            ("Auto-NAT", "false".into()),
            ("DBName", format!("sofia_reg_{name}")),
            ("Pres Hosts", String::new()),
            ("Dialplan", "XML".into()),
            ("Context", "default".into()),
            ("Challenge Realm", realm),
            ("RTP-IP", "127.0.0.1".into()),
            ("SIP-IP", "127.0.0.1".into()),
            ("URL", format!("sip:mod_sofia@127.0.0.1:{port}")),
            ("BIND-URL", format!("sip:mod_sofia@127.0.0.1:{port};transport=udp,tcp")),
        ];
        let registrations = if name == "internal" { self.registrations.iter().count() } else { 0 };
        let registrations = registrations.to_string();
        let counts = [
            ("CALLS-IN", "0"),
            ("FAILED-CALLS-IN", "0"),
            ("CALLS-OUT", "0"),
            ("FAILED-CALLS-OUT", "0"),
            ("REGISTRATIONS", &registrations),
        ];
        let line = |name: &str, value: &str| format!("{name:<17}\t{value}\n");
        let own: String = lines.iter().map(|(name, value)| line(name, value)).collect();
        let media: String = PROFILE_MEDIA.iter().map(|(name, value)| line(name, value)).collect();
        let counts: String = counts.iter().map(|(name, value)| line(name, value)).collect();
        format!("{RULE}{own}{media}{counts}")
    }

    fn registrations_xml(&self) -> String {
        let mut text =
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<profile>\n  <registrations>\n".to_owned();
        for registration in self.registrations.iter() {
            let phone = &registration.phone;
            text += &format!(
                "    <registration>\n        <call-id>{}</call-id>\n        <user>{}@{}</user>\n        \
                 <agent>{}</agent>\n        <network-ip>{}</network-ip>\n        \
                 <network-port>{}</network-port>\n    </registration>\n",
                registration.call_id, phone.user, phone.domain, phone.user_agent, phone.ip, phone.port
            );
        }
        text + "  </registrations>\n</profile>\n"
    }
}

fn port_of(name: &str) -> Option<&'static str> {
    PROFILES.iter().find(|(profile, _)| *profile == name).map(|(_, port)| *port)
}

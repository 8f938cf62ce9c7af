//! Phones that register with sofia, and what it tells of them (transcripts g_custom_events/sofia_register_plain and
//! sofia_expire_plain).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::custom::{Contents, Origin};
use crate::error::Error;
use crate::limits::REGISTRATIONS_MAX;
use crate::switch::{Switch, Timer};
use crate::time::{Date, Time};

/// How much longer than it asked for sofia keeps a registration: one of 3 s was shown with 63 s to go.
const GRACE: Duration = Duration::from_secs(60);

/// How late sofia finds that a registration is over, in milliseconds: of the two recorded ones of 63 s, one was over after
/// 80.8 s and the other not yet after 77.5 s.
const EXPIRY_LAG_MS: std::ops::RangeInclusive<u64> = 15_000..=17_500;

/// Between a phone's registration and the word about its voice mail.
const MESSAGE_WAITING_LAG: Duration = Duration::from_millis(100);

/// A phone and what its REGISTER says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Who registers.
    pub user: String,
    /// Where: the domain of the directory, which is also the realm.
    pub domain: String,
    /// The phone's address.
    pub ip: String,
    /// The port there.
    pub port: u16,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Call-ID` of its REGISTER; empty for one of the emulated switch's making.
    pub call_id: String,
    /// How long the registration is to last.
    pub expires: Duration,
    /// Whether it knows its password. A user who is not in the directory is refused as well, unless that is empty.
    pub knows_password: bool,
}

impl Phone {
    /// A phone of this user on the switch's own machine, for an hour.
    pub fn new(user: impl Into<String>, domain: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            domain: domain.into(),
            ip: "127.0.0.1".into(),
            port: 6060,
            user_agent: "emulated phone".into(),
            call_id: String::new(),
            expires: Duration::from_secs(3_600),
            knows_password: true,
        }
    }

    fn contact(&self) -> String {
        format!("\"\" <sip:{}@{}:{}>", self.user, self.ip, self.port)
    }
}

/// A registration that stands.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) phone: Phone,
    pub(crate) call_id: String,
    /// When the core's own table forgets it.
    pub(crate) expires_at: Time,
    /// When sofia may forget it, in seconds since 1970.
    pub(crate) kept_until_epoch: u64,
    /// When sofia finds that out.
    found_at: Time,
}

/// All registrations, by user and domain.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    table: BTreeMap<(String, String), Registration>,
}

impl Registrations {
    /// The dial string of a user's phone.
    pub(crate) fn contact(&self, user: &str, domain: &str) -> Option<String> {
        let registration = self.table.get(&(user.to_owned(), domain.to_owned()))?;
        let Phone { user, ip, port, .. } = &registration.phone;
        Some(format!("sofia/internal/sip:{user}@{ip}:{port}"))
    }

    /// Those that stand, by user and domain.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.table.values()
    }
}

const fn origin(line: &'static str) -> Origin {
    ("sofia_reg.c", "sofia_reg_handle_register_token", line)
}

impl Switch {
    /// A phone registers, or refreshes its registration. Whether it may shows in the events.
    pub fn register(&mut self, now: Time, phone: &Phone) -> Result<(), Error> {
        self.advance(now);
        let key = (phone.user.clone(), phone.domain.clone());
        let known = self.registrations.table.contains_key(&key);
        if !known && self.registrations.table.len() >= REGISTRATIONS_MAX {
            return Err(Error::TooManyRegistrations { limit: REGISTRATIONS_MAX });
        }
        let call_id = self.call_id(phone);
        if !self.attempt_registration(phone, &call_id, phone.expires.as_secs()) {
            return Ok(());
        }
        self.tell_registered(phone, &call_id);
        let kept_for = phone.expires + GRACE;
        let lag = self.random_delay(&EXPIRY_LAG_MS);
        let registration = Registration {
            phone: phone.clone(),
            call_id: call_id.clone(),
            expires_at: self.now + phone.expires,
            kept_until_epoch: self.wall_micros() / 1_000_000 + kept_for.as_secs(),
            found_at: self.now + kept_for + lag,
        };
        self.arm(registration.found_at, Timer::Registration(key.0.clone(), key.1.clone()));
        self.registrations.table.insert(key, registration);
        if !known {
            self.ask_for_messages(phone, &call_id);
        }
        self.run();
        Ok(())
    }

    /// A phone takes its registration back.
    pub fn unregister(&mut self, now: Time, phone: &Phone) {
        self.advance(now);
        let call_id = self.call_id(phone);
        if self.attempt_registration(phone, &call_id, 0) {
            let key = (phone.user.clone(), phone.domain.clone());
            self.registrations.table.remove(&key);
            self.tell_unregistered(phone, &call_id);
        }
        self.run();
    }

    fn call_id(&mut self, phone: &Phone) -> String {
        match phone.call_id.as_str() {
            "" => format!("1-{}@{}", self.random.in_range(&(10_000..=99_999)), phone.ip),
            given => given.to_owned(),
        }
    }

    /// The two events before the outcome, and the third if the phone is refused.
    fn attempt_registration(&mut self, phone: &Phone, call_id: &str, expires: u64) -> bool {
        let (contact, port, expires) = (phone.contact(), phone.port.to_string(), expires.to_string());
        let in_directory = self.config.user(&phone.user, &phone.domain).is_some();
        let allowed = phone.knows_password && (in_directory || self.config.directory.is_empty());
        let agent = ("user-agent", phone.user_agent.as_str());
        let common = [
            ("profile-name", "internal"),
            ("from-user", &phone.user),
            ("from-host", &phone.domain),
            ("contact", &contact),
            ("call-id", call_id),
            ("rpid", "unknown"),
            ("status", "Registered(UDP)"),
            ("expires", &expires),
            ("to-user", &phone.user),
            ("to-host", &phone.domain),
            ("network-ip", &phone.ip),
            ("network-port", &port),
        ];
        self.tell("sofia::pre_register", origin("1810"), &common, &[agent]);
        let result = if allowed { "RENEWED" } else { "FORBIDDEN" };
        let rest = [("username", &*phone.user), ("realm", &*phone.domain), agent, ("auth-result", result)];
        self.tell("sofia::register_attempt", origin("1606"), &common, &rest);
        if !allowed {
            let failure = [
                ("profile-name", "internal"),
                ("to-user", &*phone.user),
                ("to-host", &*phone.domain),
                ("network-ip", &*phone.ip),
                agent,
                ("profile-name", "internal"),
                ("network-port", &*port),
                ("registration-type", "REGISTER"),
            ];
            self.tell("sofia::register_failure", origin("1792"), &failure, &[]);
        }
        allowed
    }

    fn tell_registered(&mut self, phone: &Phone, call_id: &str) {
        let (contact, port) = (phone.contact(), phone.port.to_string());
        let expires = phone.expires.as_secs().to_string();
        let headers = [
            ("profile-name", "internal"),
            ("from-user", &phone.user),
            ("from-host", &phone.domain),
            ("presence-hosts", "n/a"),
            ("contact", &contact),
            ("call-id", call_id),
            ("rpid", "unknown"),
            ("status", "Registered(UDP)"),
            ("expires", &expires),
            ("to-user", &phone.user),
            ("to-host", &phone.domain),
            ("network-ip", &phone.ip),
            ("network-port", &port),
            ("username", &phone.user),
            ("realm", &phone.domain),
            ("user-agent", &phone.user_agent),
        ];
        let of_user = self.headers_of_user(phone);
        self.tell("sofia::register", origin("2059"), &headers, &borrowed(&of_user));
    }

    fn tell_unregistered(&mut self, phone: &Phone, call_id: &str) {
        let (contact, port) = (phone.contact(), phone.port.to_string());
        let address = format!("{}@{}", phone.user, phone.domain);
        let presence = [
            ("proto", "sip"),
            ("rpid", "unknown"),
            ("login", "sip:mod_sofia@127.0.0.1:5060"),
            ("user-agent", &phone.user_agent),
            ("from", &address),
            ("status", "Unregistered"),
            ("presence-source", "register"),
            ("event_type", "presence"),
        ];
        self.fire_with("PRESENCE_IN", None, origin("2103"), headers(&presence, &[]));
        let own = [
            ("profile-name", "internal"),
            ("username", &phone.user),
            ("from-user", &phone.user),
            ("from-host", &phone.domain),
            ("contact", &contact),
            ("call-id", call_id),
            ("rpid", "unknown"),
            ("realm", &phone.domain),
            ("network-ip", &phone.ip),
            ("network-port", &port),
            ("user-agent", &phone.user_agent),
            ("expires", "0"),
        ];
        let of_user = self.headers_of_user(phone);
        self.tell("sofia::unregister", origin("2213"), &own, &borrowed(&of_user));
    }

    /// What sofia copies from the directory into its events.
    fn headers_of_user(&self, phone: &Phone) -> Vec<(String, String)> {
        let (user, domain) = (phone.user.as_str(), phone.domain.as_str());
        let own = [
            ("sip_number_alias", user),
            ("sip_auth_username", user),
            ("sip_auth_realm", domain),
            ("number_alias", user),
            ("user_name", user),
            ("domain_name", domain),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = self.config.user(user, domain).map(|user| user.variables.clone());
        own.chain(variables.into_iter().flatten()).collect()
    }

    /// sofia asks for a phone's voice mail, and mod_voicemail knows of none.
    fn ask_for_messages(&mut self, phone: &Phone, call_id: &str) {
        let account = format!("sip:{}@{}", phone.user, phone.domain);
        let query =
            [("Message-Account", &*account), ("VM-Sofia-Profile", "internal"), ("VM-Call-ID", call_id)];
        self.fire_with("MESSAGE_QUERY", None, origin("2168"), headers(&query, &[]));
        let at = self.now + MESSAGE_WAITING_LAG;
        self.arm(at, Timer::MessageWaiting { account, call_id: call_id.to_owned() });
    }

    pub(crate) fn tell_messages(&mut self, account: &str, call_id: &str) {
        let waiting = [
            ("MWI-Messages-Waiting", "no"),
            ("MWI-Message-Account", account),
            ("Sofia-Profile", "internal"),
            ("Call-ID", call_id),
        ];
        let origin = ("mod_voicemail.c", "actual_message_query_handler", "4026");
        self.fire_with("MESSAGE_WAITING", None, origin, headers(&waiting, &[]));
    }

    /// sofia looks whether a registration is over.
    pub(crate) fn check_registration(&mut self, user: &str, domain: &str) {
        let now = self.now;
        let key = (user.to_owned(), domain.to_owned());
        if self.registrations.table.get(&key).is_none_or(|registration| registration.found_at > now) {
            return;
        }
        let Some(Registration { phone, call_id, kept_until_epoch, .. }) =
            self.registrations.table.remove(&key)
        else {
            return;
        };
        let (contact, port, until) = (phone.contact(), phone.port.to_string(), kept_until_epoch.to_string());
        let expired = [
            ("profile-name", "internal"),
            ("call-id", &call_id),
            ("user", &phone.user),
            ("username", &phone.user),
            ("host", &phone.domain),
            ("contact", &contact),
            ("expires", &until),
            ("user-agent", &phone.user_agent),
            ("realm", &phone.domain),
            ("network-ip", &phone.ip),
            ("network-port", &port),
        ];
        let origin = ("sofia_reg.c", "sofia_reg_del_callback", "726");
        self.tell("sofia::expire", origin, &expired, &[]);
    }

    fn tell(&mut self, subclass: &str, origin: Origin, own: &[(&str, &str)], more: &[(&str, &str)]) {
        self.fire_custom(subclass, origin, headers(own, more));
    }

    /// `sofia status profile internal reg`
    pub(crate) fn registrations_text(&self) -> String {
        const RULE: &str = "=================================================================================================\n";
        let mut text = format!("\nRegistrations:\n{RULE}");
        let wall = self.wall_micros() / 1_000_000;
        for registration in self.registrations.iter() {
            let Registration { phone, call_id, kept_until_epoch, .. } = registration;
            let until = Date::from_unix_micros(kept_until_epoch * 1_000_000).local();
            let left = *kept_until_epoch as i64 - wall as i64;
            text += &format!(
                "Call-ID:    \t{call_id}\nUser:       \t{user}@{domain}\nContact:    \t{contact}\n\
                 Agent:      \t{agent}\nStatus:     \tRegistered(UDP)(unknown) EXP({until}) EXPSECS({left})\n\
                 Ping-Status:\tReachable\nPing-Time:\t0.00\nHost:       \t{host}\nIP:         \t{ip}\n\
                 Port:       \t{port}\nAuth-User:  \t{user}\nAuth-Realm: \t{domain}\n\
                 MWI-Account:\t{user}@{domain}\n\n",
                user = phone.user,
                domain = phone.domain,
                contact = phone.contact(),
                agent = phone.user_agent,
                host = self.config.switch_name,
                ip = phone.ip,
                port = phone.port,
            );
        }
        text + &format!("Total items returned: {}\n{RULE}", self.registrations.table.len())
    }
}

fn headers<'a>(before: &'a [(&'a str, &'a str)], after: &'a [(&'a str, &'a str)]) -> Contents<'a> {
    Contents { before, after, ..Contents::default() }
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

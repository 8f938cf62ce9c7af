//! What a connection may do: everything after `auth`, and what its user's record says after `userauth`.

use crate::config::User;
use crate::connection::split_word;

/// Commands that run another command, which then must be allowed too (mod_event_socket's "sneaky commands").
const RUN_OTHERS: [&str; 5] = ["bgapi", "sched_api", "eval", "expand", "xml_wrap"];

/// The rights of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Permissions {
    /// `esl-allowed-events`; `None` for all, CUSTOM with them.
    events: Option<String>,
    /// `esl-allowed-api`; `None` for all.
    api: Option<String>,
    /// `esl-disable-...`: no log lines.
    no_log: bool,
}

impl Permissions {
    /// Finds the user that `userauth` names: `user@domain:password` or `user:password@domain`, both with a domain
    /// (transcripts a_inbound_auth/userauth_*). Gives the rights and the reply.
    pub(crate) fn of_user(users: &[User], credentials: &str) -> Option<(Self, String)> {
        let (name, password, domain) = split_credentials(credentials)?;
        let user = users.iter().find(|user| user.name == name && user.domain == domain)?;
        if user.password != password {
            return None;
        }
        let permissions = Self { events: user.events.clone(), api: user.api.clone(), no_log: !user.may_log };
        let all = |list: &Option<String>| list.clone().unwrap_or_else(|| "all".into());
        let reply = format!(
            "+OK accepted\nAllowed-Events: {}\nAllowed-API: {}\nAllowed-LOG: {}",
            all(&user.events),
            all(&user.api),
            user.may_log
        );
        Some((permissions, reply))
    }

    /// Whether `event` may name this. A list that says `all` leaves the subclasses of CUSTOM out, no list does not
    /// (transcripts a_inbound_auth/userauth_all_nolog and userauth_full).
    pub(crate) fn allow_event(&self, word: &str, is_subclass: bool) -> bool {
        let Some(events) = &self.events else { return true };
        let mut listed = events.split(',').map(str::trim);
        if is_subclass {
            return listed.any(|allowed| allowed == word);
        }
        listed.any(|allowed| allowed.eq_ignore_ascii_case("all") || allowed.eq_ignore_ascii_case(word))
    }

    /// Whether `api` or `bgapi` may run this command.
    pub(crate) fn allow_api(&self, command: &str) -> bool {
        let Some(allowed) = &self.api else { return true };
        let mut rest = command;
        loop {
            let (word, argument) = split_word(rest);
            if !allowed.split(',').any(|allowed| allowed == word || allowed == "all") {
                return false;
            }
            if argument.is_empty() || !RUN_OTHERS.iter().any(|other| other.eq_ignore_ascii_case(word)) {
                return true;
            }
            rest = argument;
        }
    }

    pub(crate) fn allow_log(&self) -> bool {
        !self.no_log
    }
}

fn split_credentials(credentials: &str) -> Option<(&str, &str, &str)> {
    let colon = credentials.find(':')?;
    let at = credentials.find('@')?;
    if at < colon {
        return Some((&credentials[..at], &credentials[colon + 1..], &credentials[at + 1..colon]));
    }
    Some((&credentials[..colon], &credentials[colon + 1..at], &credentials[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(events: Option<&str>, api: Option<&str>) -> Permissions {
        Permissions { events: events.map(str::to_owned), api: api.map(str::to_owned), no_log: false }
    }

    /// Transcripts a_inbound_auth/userauth_restricted and userauth_all_nolog.
    #[test]
    fn rights_as_in_the_transcripts() {
        let restricted = user(Some("CHANNEL_ANSWER,CHANNEL_HANGUP"), Some("show,status,bgapi"));
        assert!(restricted.allow_event("CHANNEL_ANSWER", false) && !restricted.allow_event("ALL", false));
        assert!(!restricted.allow_event("sofia::register", true));
        assert!(restricted.allow_api("status") && !restricted.allow_api("uptime"));
        assert!(!restricted.allow_api("bgapi uptime") && restricted.allow_api("bgapi status"));
        let listed = user(Some("all"), Some("sched_api eval expand bgapi show"));
        assert!(listed.allow_event("ALL", false) && !listed.allow_event("sofia::register", true));
        assert!(!listed.allow_api("eval uptime") && !listed.allow_api("show"), "one name with spaces in it");
        let full = Permissions::default();
        assert!(full.allow_event("sofia::register", true) && full.allow_api("uptime"));
    }

    #[test]
    fn both_forms_of_credentials_name_a_domain() {
        assert_eq!(split_credentials("ctl@lab.local:secret"), Some(("ctl", "secret", "lab.local")));
        assert_eq!(split_credentials("ctl:secret@lab.local"), Some(("ctl", "secret", "lab.local")));
        assert_eq!(split_credentials("ctl:secret"), None);
    }
}

//! Commands about the users of the directory.

use crate::config::DirectoryUser;
use crate::switch::Switch;

/// What `list_users` shows of a user without a registration.
const NOT_REGISTERED: &str = "error/user_not_registered";

impl Switch {
    /// The reply of a command about users and domains; `None` if it is no such command.
    pub(super) fn api_directory(&self, command: &str, argument: &str) -> Option<String> {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        Some(match command {
            "domain_exists" => self.has_domain(words.first().unwrap_or(&"")).to_string(),
            "user_exists" => match words.as_slice() {
                ["id", user, domain, ..] => self.config.user(user, domain).is_some().to_string(),
                _ => "-ERR missing arguments\n".into(),
            },
            "in_group" => match words.as_slice() {
                [user, group, ..] => self.in_group(user, group).to_string(),
                _ => "-ERR missing arguments\n".into(),
            },
            "user_data" => match words.as_slice() {
                [user, kind, name, ..] => self.user_data(user, kind, name),
                _ => "-ERR missing arguments\n".into(),
            },
            "sofia_contact" => {
                // `<profile>/<user>@<domain>`; the profile does not matter here.
                let address = argument.trim().rsplit('/').next().unwrap_or_default();
                let (user, domain) = address.split_once('@').unwrap_or((address, ""));
                self.contact_of(user, domain)
            }
            "list_users" => self.list_users(),
            _ => return None,
        })
    }

    fn has_domain(&self, domain: &str) -> bool {
        self.config.directory.iter().any(|user| user.domain == domain)
    }

    fn find_user(&self, address: &str) -> Option<&DirectoryUser> {
        let (user, domain) = address.split_once('@')?;
        self.config.user(user, domain)
    }

    /// A user is in the groups that `<groups>` of the directory's `callgroup` names, not in that of the XML file
    /// (transcript c_api_bgapi/api_replies).
    fn in_group(&self, address: &str, group: &str) -> bool {
        let groups = self.find_user(address).and_then(|user| user.variable("callgroup"));
        groups.is_some_and(|groups| groups.split(',').any(|own| own == group))
    }

    fn user_data(&self, address: &str, kind: &str, name: &str) -> String {
        let Some(user) = self.find_user(address) else { return String::new() };
        let value = match kind {
            "var" => user.variable(name),
            "param" => user.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()),
            "attr" if name == "id" => Some(user.id.as_str()),
            _ => None,
        };
        value.unwrap_or_default().to_owned()
    }

    /// The dial string of a user's phone, or why there is none.
    pub(crate) fn contact_of(&self, user: &str, domain: &str) -> String {
        self.registrations.contact(user, domain).unwrap_or_else(|| NOT_REGISTERED.to_owned())
    }

    fn list_users(&self) -> String {
        let mut text = "userid|context|domain|group|contact|callgroup|effective_caller_id_name|\
                        effective_caller_id_number\n"
            .to_owned();
        for user in &self.config.directory {
            let variable = |name: &str| user.variable(name).unwrap_or_default();
            text += &[
                &user.id,
                variable("user_context"),
                &user.domain,
                &user.group,
                &self.contact_of(&user.id, &user.domain),
                variable("callgroup"),
                variable("effective_caller_id_name"),
                variable("effective_caller_id_number"),
            ]
            .join("|");
            text.push('\n');
        }
        text + "\n+OK\n"
    }
}

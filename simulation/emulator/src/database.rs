//! mod_db: values in a database on disk, which outlives the switch; and the limits of mod_hash.

use std::collections::{BTreeMap, BTreeSet};

use crate::channel::Uuid;
use crate::connection::split_word;
use crate::limits::{DATABASE_KEYS_MAX, LIMITS_MAX, TABLE_VALUE_MAX_BYTES};
use crate::switch::Switch;

/// The table behind the API command `db`, by realm and key.
#[derive(Debug, Default, Clone)]
pub(crate) struct Database {
    values: BTreeMap<(String, String), String>,
}

impl Database {
    /// Runs `<operation>/<realm>[/<key>[/<value>]]` and gives the reply, which has no newline at its end.
    pub(crate) fn execute(&mut self, arguments: &str) -> String {
        let mut fields = arguments.splitn(4, '/');
        let operation = fields.next().unwrap_or_default();
        let realm = fields.next().unwrap_or_default().to_owned();
        let key = fields.next().map(str::to_owned);
        match (operation, key, fields.next()) {
            ("insert", Some(key), Some(value)) => {
                let has_room = self.values.len() < DATABASE_KEYS_MAX
                    || self.values.contains_key(&(realm.clone(), key.clone()));
                if !has_room || value.len() > TABLE_VALUE_MAX_BYTES {
                    return "-ERR the emulated database has no room for it".into();
                }
                self.values.insert((realm, key), value.to_owned());
                "+OK".into()
            }
            ("delete", Some(key), _) => {
                self.values.remove(&(realm, key));
                "+OK".into()
            }
            ("select", Some(key), _) => self.values.get(&(realm, key)).cloned().unwrap_or_default(),
            ("exists", Some(key), _) => self.values.contains_key(&(realm, key)).to_string(),
            ("count", _, _) => {
                self.values.keys().filter(|(own, _)| realm.is_empty() || *own == realm).count().to_string()
            }
            ("list", _, _) => {
                let keys = self.values.keys().filter(|(own, _)| realm.is_empty() || *own == realm);
                keys.map(|(own, key)| if realm.is_empty() { own.clone() } else { key.clone() })
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join(",")
            }
            _ => "-USAGE: [insert|delete|select|exists|count|list]/<realm>/<key>/<value>\n".into(),
        }
    }
}

/// Which channels use a limited resource, by `<realm>_<resource>`. A channel that ends uses nothing any more.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    users: BTreeMap<String, BTreeSet<Uuid>>,
}

impl Switch {
    /// `limit_usage <backend> <realm> <resource>`
    pub(crate) fn limit_usage(&self, argument: &str) -> String {
        let mut words = argument.split_ascii_whitespace().skip(1);
        let key = format!("{}_{}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let users = self.limits.users.get(&key).into_iter().flatten();
        users.filter(|uuid| self.channels.contains_key(*uuid)).count().to_string()
    }

    /// `uuid_limit <uuid> <backend> <realm> <resource> [<max>]`
    pub(crate) fn take_limit(&mut self, argument: &str) -> String {
        let (uuid, rest) = split_word(argument);
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let (Some(uuid), [backend, realm, resource, more @ ..]) =
            (self.channels.get(uuid).map(|channel| channel.uuid.clone()), words.as_slice())
        else {
            return "-ERR".into();
        };
        let most = more.first().and_then(|most| most.split('/').next()?.parse::<usize>().ok());
        let Self { limits, channels, .. } = self;
        let key = format!("{realm}_{resource}");
        if limits.users.len() >= LIMITS_MAX && !limits.users.contains_key(&key) {
            return "-ERR".into();
        }
        let users = limits.users.entry(key).or_default();
        users.retain(|uuid| channels.contains_key(uuid));
        if most.is_some_and(|most| users.len() >= most && !users.contains(&uuid)) {
            return "-ERR".into();
        }
        users.insert(uuid.clone());
        let usage = users.len().to_string();
        self.modify(&uuid, |channel| {
            // Nothing is limited in time here, so that the rate is none (transcript l_state_rebuild/state_queries).
            let own = |what: &str| format!("limit_{what}_{realm}_{resource}");
            let variables = &mut channel.variables;
            variables.set("limit_usage", usage.as_str());
            variables.set(&own("usage"), usage.as_str());
            variables.set("limit_rate", "0");
            variables.set(&own("rate"), "0");
            variables.set("limit_backend", *backend);
        });
        "+OK".into()
    }

    /// `uuid_limit_release <uuid> <backend> [<realm> [<resource>]]`
    pub(crate) fn release_limit(&mut self, argument: &str) -> String {
        let mut words = argument.split_ascii_whitespace();
        let uuid = words.next().unwrap_or_default();
        let (realm, resource) = (words.nth(1), words.next());
        for (key, users) in &mut self.limits.users {
            let of_realm = realm.is_none_or(|realm| key.starts_with(&format!("{realm}_")));
            if of_realm && resource.is_none_or(|resource| key.ends_with(&format!("_{resource}"))) {
                users.remove(uuid);
            }
        }
        "+OK".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_in_the_transcript() {
        let mut database = Database::default();
        assert_eq!(database.execute("insert/a/b/c/d"), "+OK");
        assert_eq!(database.execute("select/a/b"), "c/d");
        assert_eq!(database.execute("select/a/none"), "");
        assert_eq!(database.execute("exists/a/b"), "true");
        database.execute("insert/a/c/1");
        assert_eq!((database.execute("list/a"), database.execute("count/a")), ("b,c".into(), "2".into()));
        assert_eq!(database.execute("delete/a/b"), "+OK");
        assert_eq!(database.execute("exists/a/b"), "false");
        assert!(database.execute("nosuch").starts_with("-USAGE"));
    }
}

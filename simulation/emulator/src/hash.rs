//! mod_hash: the one place in the switch where many controllers can compare and set.

use std::collections::BTreeMap;

use crate::limits::HASH_KEYS_MAX;

/// The table behind the API command `hash`. It dies with the switch and not with a channel.
#[derive(Debug, Default)]
pub(crate) struct Hash {
    values: BTreeMap<String, String>,
}

impl Hash {
    /// Runs `<operation>/<realm>/<key>[/<value>]` and gives the reply. Realm and key are joined with `_`, so that
    /// `a/b_c` and `a_b/c` are the same key, as in FreeSWITCH; a value may hold further slashes.
    pub(crate) fn execute(&mut self, arguments: &str) -> String {
        let mut fields = arguments.splitn(4, '/');
        let operation = fields.next().unwrap_or_default().to_ascii_lowercase();
        let (Some(realm), Some(key)) = (fields.next(), fields.next()) else { return usage() };
        let value = fields.next();
        let key = format!("{realm}_{key}");
        match (operation.as_str(), value) {
            ("insert", Some(value)) => self.insert(key, value),
            ("insert_ifempty", Some(value)) => {
                if self.values.contains_key(&key) {
                    "-ERR key already exists\n".into()
                } else {
                    self.insert(key, value)
                }
            }
            ("delete", _) => match self.values.remove(&key) {
                Some(_) => "+OK\n".into(),
                None => "-ERR Not found\n".into(),
            },
            ("delete_ifmatch", Some(value)) => {
                if self.values.get(&key).is_some_and(|present| present == value) {
                    self.values.remove(&key);
                    "+OK\n".into()
                } else {
                    "-ERR Not found\n".into()
                }
            }
            ("select", _) => self.values.get(&key).cloned().unwrap_or_default(),
            _ => usage(),
        }
    }

    /// A key's value.
    pub(crate) fn value(&self, realm: &str, key: &str) -> Option<&str> {
        self.values.get(&format!("{realm}_{key}")).map(String::as_str)
    }

    fn insert(&mut self, key: String, value: &str) -> String {
        if self.values.len() >= HASH_KEYS_MAX && !self.values.contains_key(&key) {
            return "-ERR the emulated hash is full\n".into();
        }
        self.values.insert(key, value.to_owned());
        "+OK\n".into()
    }
}

fn usage() -> String {
    "-USAGE: hash [insert|insert_ifempty|delete|delete_ifmatch|select]/<realm>/<key>/<value>\n".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_set() {
        let mut hash = Hash::default();
        assert_eq!(hash.execute("select/a/b"), "");
        assert_eq!(hash.execute("insert_ifempty/a/b/one"), "+OK\n");
        assert_eq!(hash.execute("insert_ifempty/a/b/two"), "-ERR key already exists\n");
        assert_eq!(hash.execute("delete_ifmatch/a/b/two"), "-ERR Not found\n");
        assert_eq!(hash.execute("select/a/b"), "one");
        assert_eq!(hash.execute("delete_ifmatch/a/b/one"), "+OK\n");
        assert_eq!(hash.execute("delete/a/b"), "-ERR Not found\n");
        assert_eq!(hash.execute("insert/a/b/x/y"), "+OK\n");
        assert_eq!(hash.execute("select/a/b"), "x/y");
        assert!(hash.execute("nonsense").starts_with("-USAGE"));
    }
}

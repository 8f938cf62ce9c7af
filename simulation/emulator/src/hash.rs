//! mod_hash: the one place in the switch where many controllers can compare and set.

use std::collections::BTreeMap;

use crate::limits::{HASH_KEYS_MAX, TABLE_VALUE_MAX_BYTES};
use crate::separate;

/// The table behind the API command `hash`. It dies with the switch and not with a channel.
#[derive(Debug, Default)]
pub(crate) struct Hash {
    values: BTreeMap<String, String>,
}

impl Hash {
    /// Runs `<operation>/<realm>/<key>[/<value>]` and gives the reply. Realm and key are joined with `_`, so that
    /// `a/b_c` and `a_b/c` are the same key, as in FreeSWITCH; a value may hold further slashes.
    pub(crate) fn execute(&mut self, arguments: &str) -> String {
        let fields = separate::fields(arguments, '/', 4);
        let [operation, realm, key, value @ ..] = fields.as_slice() else { return usage() };
        let key = format!("{realm}_{key}");
        match (operation.to_ascii_lowercase().as_str(), value.first()) {
            ("insert", Some(value)) => self.insert(key, value),
            ("insert_ifempty", Some(_)) if self.values.contains_key(&key) => {
                "-ERR key already exists\n".into()
            }
            ("insert_ifempty", Some(value)) => self.insert(key, value),
            ("delete", _) => match self.values.remove(&key) {
                Some(_) => "+OK\n".into(),
                None => NOT_FOUND.into(),
            },
            ("delete_ifmatch", Some(value)) => match self.values.get(&key) {
                Some(present) if present == value => {
                    self.values.remove(&key);
                    "+OK\n".into()
                }
                // The races of the recordings show only the other: whoever comes second finds nothing.
                Some(_) => "-ERR Doesn't match\n".into(),
                None => NOT_FOUND.into(),
            },
            ("select", _) => self.values.get(&key).cloned().unwrap_or_default(),
            _ => usage(),
        }
    }

    /// Runs `hash_dump all|limit|db [<realm>]`: a line `D/<realm>_<key>/<value>` a key. Nothing is limited here.
    pub(crate) fn dump(&self, arguments: &str) -> String {
        let words = separate::words(arguments, 4);
        let lines = |realm: &str| -> String {
            let chosen = self.values.iter().filter(|(key, _)| key.contains(realm));
            chosen.map(|(key, value)| format!("D/{key}/{value}\n")).collect()
        };
        match (words.first().map(String::as_str), words.get(1)) {
            (Some("limit"), _) => String::new(),
            (Some("all" | "db"), None) => lines(""),
            (Some("all" | "db"), Some(realm)) => lines(&format!("{realm}_")),
            _ => "Usage: all|limit|db [<realm>]\n".into(),
        }
    }

    /// A key's value.
    pub(crate) fn value(&self, realm: &str, key: &str) -> Option<&str> {
        self.values.get(&format!("{realm}_{key}")).map(String::as_str)
    }

    fn insert(&mut self, key: String, value: &str) -> String {
        if value.len() > TABLE_VALUE_MAX_BYTES {
            return "-ERR the value is too long for the emulated hash\n".into();
        }
        if self.values.len() >= HASH_KEYS_MAX && !self.values.contains_key(&key) {
            return "-ERR the emulated hash is full\n".into();
        }
        self.values.insert(key, value.to_owned());
        "+OK\n".into()
    }
}

const NOT_FOUND: &str = "-ERR Not found\n";

fn usage() -> String {
    "-ERR Usage: hash insert|insert_ifempty|select|delete|delete_ifmatch/realm/key[/value]\n".into()
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
        assert_eq!(hash.execute("delete_ifmatch/a/b/two"), "-ERR Doesn't match\n");
        assert_eq!(hash.execute("select/a/b"), "one");
        assert_eq!(hash.execute("delete_ifmatch/a/b/one"), "+OK\n");
        assert_eq!(hash.execute("delete/a/b"), "-ERR Not found\n");
        assert_eq!(hash.execute("insert/a/b/x/y"), "+OK\n");
        assert_eq!(hash.execute("select/a/b"), "x/y");
        assert_eq!(hash.execute("delete_ifmatch/a/c/one"), "-ERR Not found\n");
        assert_eq!(hash.dump("all"), "D/a_b/x/y\n");
        assert_eq!((hash.dump("db a"), hash.dump("db b")), ("D/a_b/x/y\n".into(), String::new()));
        for wrong in ["nonsense", "", "insert/a/b", "insert_ifempty/a/b", "delete/a", "mend/a/b/c"] {
            assert!(hash.execute(wrong).starts_with("-ERR Usage"), "{wrong}");
        }
    }
}

//! Making clusters, nodes and tokens.

use std::io;
use std::path::Path;

use super::arguments::{Init, Token};
use super::output::print;
use crate::Error;
use crate::api::ensure_admin_key;
use crate::cluster::Identity;
use crate::config::{CONFIG_FILE, Settings};
use crate::net::{DataDirectory, Disk, Host};

/// `fipple init`
pub(super) fn init(data_dir: &Path, init: Init) -> Result<(), Error> {
    // Checked before anything is made, with the words of the configuration.
    Settings { name: init.name.clone(), ..Settings::default() }.complete()?;
    let host = open(data_dir)?;
    let directory = data_dir.display();
    if let Some(identity) = Identity::load(&host)? {
        return Err(Error::AlreadyInitialised {
            directory: directory.to_string(),
            node: identity.id().to_string(),
        });
    }
    let identity = Identity::init(&host, &init.cluster_name)?;
    ensure_admin_key(&host)?;
    write_first_config(&host, init.name.as_deref(), &[])?;
    print(&format!(
        "made cluster {} and its first node {}\nStart it:           fipple node --data-dir {directory}\n\
         Let others join:    fipple token create --data-dir {directory} --out join.token\n\
         Its settings:       {directory}/{CONFIG_FILE}",
        identity.cluster_name(),
        identity.id(),
    ))
}

/// `fipple token`
pub(super) fn token(data_dir: &Path, token: Token) -> Result<(), Error> {
    let Token::Create { out } = token;
    let missing = || Error::NotInitialised { directory: data_dir.display().to_string() };
    if !data_dir.exists() {
        return Err(missing());
    }
    let text = Identity::load(&open(data_dir)?)?.ok_or_else(missing)?.token()?;
    let Some(path) = out else { return print(&text) };
    write_secret(&path, text.as_bytes())?;
    print(&format!(
        "wrote {0}. It is a secret worth the whole cluster: take it to the new machine by a safe way, and there\n  \
         fipple node --data-dir D --seed THIS_MACHINE:7400 --token-file {0}",
        path.display()
    ))
}

/// Makes a node of the cluster that the token names.
pub(super) fn enrol(host: &Host, token: &Path, settings: &Settings) -> Result<Identity, Error> {
    #[expect(clippy::disallowed_methods, reason = "the token lies wherever the operator put it")]
    let token = std::fs::read(token).map_err(Error::io(format!("read {}", token.display())))?;
    let identity = Identity::enrol(host, &token)?;
    ensure_admin_key(host)?;
    write_first_config(host, settings.name.as_deref(), settings.seeds.as_deref().unwrap_or_default())?;
    Ok(identity)
}

fn open(data_dir: &Path) -> Result<Host, Error> {
    Host::system(data_dir).map_err(Error::io(format!("open the data directory {}", data_dir.display())))
}

/// Keeps what a node was made with, so that it starts the same way without flags. A file that is there already
/// is the operator's.
fn write_first_config(host: &Host, name: Option<&str>, seeds: &[String]) -> Result<(), Error> {
    if host.disk.read(CONFIG_FILE).map_err(Error::io(format!("read {CONFIG_FILE}")))?.is_some() {
        return Ok(());
    }
    let text = first_config(name, seeds);
    host.disk.replace(CONFIG_FILE, text.as_bytes()).map_err(Error::io(format!("write {CONFIG_FILE}")))
}

fn first_config(name: Option<&str>, seeds: &[String]) -> String {
    // JSON's strings and arrays of strings are TOML's as well.
    let line = |key: &str, value: Option<serde_json::Value>, example: &str| match value {
        Some(value) => format!("{key} = {value}\n"),
        None => format!("# {key} = {example}\n"),
    };
    let seeds = (!seeds.is_empty()).then(|| seeds.into());
    [
        "# Settings of this node. `fipple node --help` explains them all.\n".to_owned(),
        line("name", name.map(Into::into), "\"west-1\""),
        line("seeds", seeds, "[\"10.0.0.1:7400\"]"),
        "# listen = \"0.0.0.0:7400\"\n# api = \"127.0.0.1:8000\"\n# zone = \"default\"\n".to_owned(),
        "\n# [[switch]]\n# name = \"fs1\"\n# address = \"10.0.0.9:8021\"\n# password = \"ClueCon\"\n"
            .to_owned(),
    ]
    .concat()
}

/// Writes a file that only this user can read.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = || Error::io(format!("write {}", path.display()));
    let nameless = || failed()(io::Error::new(io::ErrorKind::InvalidInput, "it has no file name"));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(nameless)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DataDirectory::open(directory).and_then(|directory| directory.replace(name, bytes)).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_configuration_is_valid_and_keeps_what_was_said() {
        let seeds = ["10.0.0.1:7400".to_owned()];
        let kept = Settings::parse(&first_config(Some("west-1"), &seeds), "f").unwrap();
        assert_eq!((kept.name.as_deref(), kept.seeds.as_deref()), (Some("west-1"), Some(&seeds[..])));
        let plain = Settings::parse(&first_config(None, &[]), "f").unwrap();
        assert_eq!((plain.name, plain.seeds), (None, None));
        // What is commented out is valid too.
        let text = first_config(None, &[]).replace("# Settings", "## Settings");
        let all: String =
            text.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
        let all = Settings::parse(&all, "f").unwrap().complete().unwrap();
        assert_eq!((all.switches.len(), all.seeds.len()), (1, 1));
    }
}

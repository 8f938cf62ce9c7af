//! `fipple switch install`: what fipple asks of a FreeSWITCH, put where the switch looks for it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::arguments::Install;
use super::output::print;
use crate::Error;

/// The scripts of this version, which a node checks when it attaches.
const SCRIPTS: [(&str, &str); 4] = [
    ("fipple_step.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_step.lua")),
    ("fipple_fence.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_fence.lua")),
    ("fipple_watchdog.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_watchdog.lua")),
    ("fipple_fallback.lua", include_str!("../../../deploy/freeswitch/scripts/fipple_fallback.lua")),
];

/// What a switch without mod_lua needs, and an example that hands calls over.
const DIALPLAN: [(&str, &str); 2] = [
    ("fipple.xml", include_str!("../../../deploy/freeswitch/fipple_step.xml")),
    ("default/00_fipple.xml", include_str!("../../../deploy/freeswitch/fipple.xml")),
];

pub(super) fn install(install: &Install) -> Result<(), Error> {
    let mut lines = Vec::new();
    if let Some(directory) = &install.scripts {
        for (name, text) in SCRIPTS {
            lines.push(put(directory, name, text)?);
        }
        lines.push(
            "Running calls use the new scripts from their next step on; nothing is to be reloaded.".into(),
        );
    }
    if let Some(directory) = &install.dialplan {
        for (name, text) in DIALPLAN {
            // An extension there is is the operator's, with numbers and a fallback of his own.
            let theirs = name.contains('/') && directory.join(name).exists();
            lines.push(if theirs {
                format!("left   {} as it is", directory.join(name).display())
            } else {
                put(directory, name, text)?
            });
        }
        lines.push("The switch reads its dialplan after `reloadxml`.".into());
    }
    print(&lines.join("\n"))
}

/// Replaces a file at once, so that a call that reads it at this moment reads the old one or the new one.
#[expect(
    clippy::disallowed_methods,
    reason = "the directories are the switch's, wherever the operator has them"
)]
fn put(directory: &Path, name: &str, text: &str) -> Result<String, Error> {
    let path = directory.join(name);
    let new_path = path.with_extension("fipple-new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new_path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new_path, &path)
    };
    write().map_err(Error::io(format!("write {}", path.display())))?;
    Ok(format!("wrote  {}", path.display()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test looks at what was written")]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_replaced_and_the_operators_extension_is_not() {
        let directory = std::env::temp_dir().join(format!("fipple-install-{}", std::process::id()));
        fs::create_dir_all(directory.join("default")).unwrap();
        let both = Install { scripts: Some(directory.clone()), dialplan: Some(directory.clone()) };
        fs::write(directory.join("fipple_step.lua"), "old").unwrap();
        fs::write(directory.join("default/00_fipple.xml"), "theirs").unwrap();
        install(&both).unwrap();
        for (name, text) in SCRIPTS.into_iter().chain([DIALPLAN[0]]) {
            assert_eq!(fs::read_to_string(directory.join(name)).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(directory.join("default/00_fipple.xml")).unwrap(), "theirs");
        fs::remove_dir_all(&directory).unwrap();
        let nowhere = Install { scripts: Some(directory), dialplan: None };
        assert!(install(&nowhere).unwrap_err().to_string().contains("fipple_step.lua"));
    }
}

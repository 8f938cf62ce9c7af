//! What a node's words to a switch mean for calls.

/// What a command does, or tries to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed<'a> {
    /// It lists all channels.
    List,
    /// It asks how this call stands.
    Read(&'a str),
    /// It raises the epoch of this call.
    Claim(&'a str),
    /// It changes this channel in whatever epoch its call is.
    Change(&'a str),
}

/// What the first line of a command does to which calls. A step or command that says its epoch is nothing of this, and
/// `sendmsg` does not say in its first line what it brings.
pub(super) fn deeds(line: &str) -> Vec<Deed<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (Some("api" | "bgapi"), Some(command)) = (words.next(), words.next()) else { return Vec::new() };
    let rest: Vec<&str> = words.collect();
    match (command, rest.as_slice()) {
        ("show", ["channels", ..]) => vec![Deed::List],
        ("uuid_dump", [call, ..]) => vec![Deed::Read(call)],
        ("uuid_getvar", [call, name, ..]) if name.starts_with("fipple_") => vec![Deed::Read(call)],
        ("uuid_exists" | "uuid_getvar", _) => Vec::new(),
        ("uuid_setvar" | "uuid_setvar_multi", [call, rest @ ..])
            if rest.iter().any(|word| word.contains("fipple_epoch")) =>
        {
            vec![Deed::Claim(call)]
        }
        ("lua", ["fipple_fence.lua", "take", _, calls @ ..]) => calls
            .iter()
            .map(|pair| Deed::Claim(pair.rsplit_once(':').map_or(*pair, |(call, _)| call)))
            .collect(),
        ("lua", ["fipple_fence.lua", "raise", calls @ ..]) => {
            calls.iter().map(|call| Deed::Claim(call)).collect()
        }
        ("lua", ["fipple_fence.lua", "run", calls, ..]) => {
            let calls = calls.split(',').filter_map(|pair| pair.rsplit_once(':'));
            calls.filter(|(_, epoch)| *epoch == "-").map(|(call, _)| Deed::Change(call)).collect()
        }
        (command, [call, ..]) if command.starts_with("uuid_") => vec![Deed::Change(call)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_told_apart() {
        for (line, expected) in [
            ("bgapi show channels as json", vec![Deed::List]),
            ("api uuid_dump a json", vec![Deed::Read("a")]),
            ("api uuid_getvar a fipple_done", vec![Deed::Read("a")]),
            ("api uuid_exists a", vec![]),
            ("bgapi lua fipple_fence.lua raise a b", vec![Deed::Claim("a"), Deed::Claim("b")]),
            ("api lua fipple_fence.lua take n a:5", vec![Deed::Claim("a")]),
            ("api uuid_setvar_multi a fipple_owner=n;fipple_epoch=2", vec![Deed::Claim("a")]),
            ("api lua fipple_fence.lua run a:3,b:- k1 uuid_bridge 00", vec![Deed::Change("b")]),
            ("api uuid_kill a NORMAL_CLEARING", vec![Deed::Change("a")]),
            ("api hash select/fipple/x", vec![]),
            ("sendmsg a", vec![]),
            ("event plain ALL", vec![]),
        ] {
            assert_eq!(deeds(line), expected, "{line}");
        }
    }
}

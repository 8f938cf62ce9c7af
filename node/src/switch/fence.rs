//! What keeps the steps and commands of a controller that lost a call away from it: a fence in the switch itself.
//!
//! Here is which fences there are and how everything is written for each; `detection` finds out which one a switch has.
//! The scripts and the snippet themselves are in `deploy/freeswitch`.

use fipple_protocol::peer::Refusal;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::commands::{invalid, judge, name};

/// How a switch tells a call's controller from one that has lost the call. The better, the greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Fence {
    /// Not at all: the attached node checks, and a step may run twice when nodes die.
    #[default]
    #[n(0)]
    None,
    /// A snippet of the dialplan checks each step in the channel's own thread. Commands are not checked, and arguments of
    /// steps may not hold everything.
    #[n(1)]
    Snippet,
    /// Scripts in the switch check each step in the channel's own thread, and each command under a lock of its call.
    #[n(2)]
    Strict,
}

impl Fence {
    /// The word for it in settings, in REST and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snippet => "snippet",
            Self::Strict => "strict",
        }
    }

    /// Whether the channel itself checks and marks the steps of its call.
    pub(crate) fn checks_steps(self) -> bool {
        self != Self::None
    }

    /// The application, and its argument, that runs a step of a call.
    ///
    /// # Errors
    /// If the fence cannot carry an argument; it says which and why.
    pub(super) fn step(self, step: &FencedStep<'_>) -> Result<(String, String), Refusal> {
        if self.checks_steps() {
            application_name(step.application)?;
        }
        let FencedStep { epoch, step, application, argument } = *step;
        match self {
            Self::None => Ok((application.to_owned(), argument.to_owned())),
            Self::Snippet => {
                carried_by_snippet(argument)?;
                let done = step.saturating_sub(1);
                let variables = format!("fipple_run={step}:{epoch};fe={epoch};fd={done};fn={step}");
                let line = format!("%;[{variables};fx={application}:{argument}]step XML fipple");
                Ok(("execute_extension".to_owned(), line))
            }
            Self::Strict => {
                Ok(("lua".to_owned(), step_script(epoch, &step.to_string(), application, argument)))
            }
        }
    }
}

/// A step as it goes to the switch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FencedStep<'a> {
    pub(crate) epoch: u64,
    /// Its number, from 1.
    pub(crate) step: u32,
    pub(crate) application: &'a str,
    pub(crate) argument: &'a str,
}

/// A channel that a command is about, and the epoch in which it has to be; none for any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InEpoch {
    pub(crate) channel: String,
    pub(crate) epoch: Option<u64>,
}

/// What became of one call that was to be taken or raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It has this epoch now.
    Ok(u64),
    /// It has had this epoch, or a higher one than was to be given, already.
    Epoch(u64),
    /// There is no such channel.
    Gone,
    /// Nobody owns it: its epoch is not raised.
    Unclaimed,
    /// Its lock was held all the time, or the answer says nothing of it.
    Unknown,
}

/// The argument of `lua` that runs an application in a channel: a numbered step, or a command with its key.
pub(super) fn step_script(epoch: u64, step: &str, application: &str, argument: &str) -> String {
    format!("fipple_step.lua {epoch} {step} {application}{}", hex_argument(argument))
}

/// The argument of `lua` that runs an application that somebody commanded: once for a key.
pub(super) fn command_script(epoch: Option<u64>, id: u64, application: &str, argument: &str) -> String {
    let epoch = epoch_word(epoch);
    format!("fipple_step.lua {epoch} {} {application}{}", key(id), hex_argument(argument))
}

/// The API command that runs a `uuid_*` command for these channels, if all of them are in their epochs: once for a key,
/// which the first of them keeps.
pub(super) fn run_script(channels: &[InEpoch], id: u64, command: &str) -> String {
    let (command, arguments) = command.split_once(' ').unwrap_or((command, ""));
    let channels: Vec<_> =
        channels.iter().map(|one| format!("{}:{}", one.channel, epoch_word(one.epoch))).collect();
    format!(
        "lua fipple_fence.lua run {} {} {command}{}",
        channels.join(","),
        key(id),
        hex_argument(arguments)
    )
}

/// The API command that raises the epochs of calls and names their owner.
pub(super) fn take_script(owner: &str, calls: &[(&str, u64)]) -> String {
    let calls: Vec<_> = calls.iter().map(|(call, epoch)| format!("{call}:{epoch}")).collect();
    format!("lua fipple_fence.lua take {owner} {}", calls.join(" "))
}

/// The API command that raises the epochs of calls that have an owner, and leaves it to them.
pub(super) fn raise_script(calls: &[&str]) -> String {
    format!("lua fipple_fence.lua raise {}", calls.join(" "))
}

/// The API command that names the flow of a call, if that is in its epoch.
pub(super) fn flow_script(call: &str, epoch: u64, flow: &str) -> String {
    let flow = if flow.is_empty() { "-" } else { flow };
    format!("lua fipple_fence.lua flow {call}:{epoch} {flow}")
}

/// What became of each call, from the answer to a `take` or `raise` of them, which has a line for each.
pub(super) fn taken(calls: &[&str], answer: &str) -> Vec<Taken> {
    let mut lines = answer.lines();
    let of_call = |call: &&str| {
        let mut words = lines.next()?.split(' ');
        let (verdict, of) = (words.next()?, words.next()?);
        if of != *call {
            return None;
        }
        match (verdict, words.next()?) {
            ("+OK", epoch) => epoch.parse().ok().map(Taken::Ok),
            (_, "epoch") => words.next()?.parse().ok().map(Taken::Epoch),
            (_, "gone") => Some(Taken::Gone),
            (_, "unclaimed") => Some(Taken::Unclaimed),
            _ => None,
        }
    };
    calls.iter().map(of_call).map(|taken| taken.unwrap_or(Taken::Unknown)).collect()
}

/// What the answer to [`run_script`] says of a command for `channel`.
///
/// # Errors
/// The fence's own refusals, or the command's.
pub(super) fn judge_run(
    channel: &str,
    id: u64,
    expected: Option<u64>,
    reply: &str,
) -> Result<String, Refusal> {
    let reply = reply.trim();
    if let Some(current) = reply.strip_prefix("-ERR stale") {
        return Err(Refusal::Fenced {
            call: channel.to_owned(),
            epoch: expected.unwrap_or_default(),
            current: current.trim().parse().unwrap_or_default(),
        });
    }
    match reply {
        "-ERR duplicate" => Err(Refusal::Repeated { id }),
        "-ERR gone" => Err(Refusal::UnknownChannel { channel: channel.to_owned() }),
        "-ERR locked" => {
            Err(Refusal::Overloaded { detail: "another command holds the call for too long".to_owned() })
        }
        _ => judge(channel, reply),
    }
}

/// An application that the scripts and the snippet take: FreeSWITCH has none of other characters.
pub(super) fn application_name(application: &str) -> Result<(), Refusal> {
    name("application", application)?;
    if application.contains(['-', '.']) {
        return Err(invalid("application", "letters, digits and '_' only"));
    }
    Ok(())
}

/// The key of a command's id in the switch.
pub(super) fn key(id: u64) -> String {
    format!("k{id:016x}")
}

fn epoch_word(epoch: Option<u64>) -> String {
    epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string())
}

/// Bytes of any kind as one word, with a space before it; nothing for none.
fn hex_argument(argument: &str) -> String {
    let mut text = String::with_capacity(2 * argument.len() + 1);
    if !argument.is_empty() {
        text.push(' ');
    }
    for byte in argument.bytes() {
        for digit in [byte >> 4, byte & 0x0f] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

/// The snippet's argument goes through four of FreeSWITCH's parsers, and variables are expanded before them: what a caller
/// has put into one could be syntax then.
fn carried_by_snippet(argument: &str) -> Result<(), Refusal> {
    let syntax = |c: char| c.is_control() || ";|]'\\$`".contains(c);
    if let Some(found) = argument.chars().find(|c| syntax(*c)) {
        let detail = format!(
            "fence \"snippet\" cannot carry {found:?}, nor any of ; | ] ' \\ $ ` and control characters: install \
             deploy/freeswitch/scripts for fence \"strict\""
        );
        return Err(invalid("argument", &detail));
    }
    if argument.trim() != argument {
        return Err(invalid("argument", "fence \"snippet\" cannot carry a space at its ends"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(fence: Fence, argument: &str) -> Result<(String, String), Refusal> {
        fence.step(&FencedStep { epoch: 4, step: 3, application: "playback", argument })
    }

    #[test]
    fn a_step_in_the_words_of_each_fence() {
        let words = |fence| step(fence, "a.wav").unwrap();
        assert_eq!(words(Fence::None), ("playback".to_owned(), "a.wav".to_owned()));
        let snippet = "%;[fipple_run=3:4;fe=4;fd=2;fn=3;fx=playback:a.wav]step XML fipple";
        assert_eq!(words(Fence::Snippet), ("execute_extension".to_owned(), snippet.to_owned()));
        let strict = "fipple_step.lua 4 3 playback 612e776176";
        assert_eq!(words(Fence::Strict), ("lua".to_owned(), strict.to_owned()));
        assert_eq!(step(Fence::Strict, "").unwrap().1, "fipple_step.lua 4 3 playback");
    }

    #[test]
    fn strict_carries_every_byte_and_the_snippet_says_which_it_does_not() {
        let line = step(Fence::Strict, "a;b|c]\n\0${x} ž").unwrap().1;
        assert_eq!(line, "fipple_step.lua 4 3 playback 613b627c635d0a00247b787d20c5be");
        for (argument, named) in
            [("a;b", ';'), ("a|b", '|'), ("a]", ']'), ("it's", '\''), ("a\\b", '\\'), ("${x}", '$')]
        {
            let refusal = step(Fence::Snippet, argument).unwrap_err();
            assert!(refusal.to_string().contains(&format!("{named:?}")), "{refusal}");
        }
        assert!(step(Fence::Snippet, "a\nb").is_err() && step(Fence::Snippet, " a").is_err());
        let odd = FencedStep { epoch: 1, step: 1, application: "a b", argument: "" };
        assert!([Fence::Snippet, Fence::Strict].iter().all(|fence| fence.step(&odd).is_err()));
    }

    #[test]
    fn commands_name_their_channels_their_epochs_and_their_key() {
        let channels = [("a", Some(4)), ("b", None)]
            .map(|(channel, epoch)| InEpoch { channel: channel.to_owned(), epoch });
        assert_eq!(
            run_script(&channels, 0xabc, "uuid_bridge a b"),
            "lua fipple_fence.lua run a:4,b:- k0000000000000abc uuid_bridge 612062"
        );
        assert_eq!(
            command_script(None, 1, "playback", "x"),
            "fipple_step.lua - k0000000000000001 playback 78"
        );
        assert_eq!(take_script("n1", &[("a", 5), ("b", 2)]), "lua fipple_fence.lua take n1 a:5 b:2");
        assert_eq!(raise_script(&["a", "b"]), "lua fipple_fence.lua raise a b");
        assert_eq!(flow_script("a", 4, "park"), "lua fipple_fence.lua flow a:4 park");
        assert_eq!(flow_script("a", 4, ""), "lua fipple_fence.lua flow a:4 -");
    }

    #[test]
    fn each_call_has_its_line_in_the_answer() {
        let answer = "+OK a 5\n-ERR b epoch 9\n-ERR c gone\n-ERR d locked\n-ERR e unclaimed\n+OK other 1\n";
        let calls = ["a", "b", "c", "d", "e", "f", "g"];
        let expected = [
            Taken::Ok(5),
            Taken::Epoch(9),
            Taken::Gone,
            Taken::Unknown,
            Taken::Unclaimed,
            Taken::Unknown,
            Taken::Unknown,
        ];
        assert_eq!(taken(&calls, answer), expected);
        assert_eq!(taken(&["a"], "-ERR Cannot execute script\n"), [Taken::Unknown]);
    }

    #[test]
    fn the_fences_refusals_are_told_from_the_commands() {
        let judged = |reply| judge_run("a", 7, Some(4), reply);
        assert_eq!(judged("+OK\n"), Ok("+OK".to_owned()));
        assert_eq!(judged("-ERR duplicate\n"), Err(Refusal::Repeated { id: 7 }));
        let fenced = Refusal::Fenced { call: "a".to_owned(), epoch: 4, current: 7 };
        assert_eq!(judged("-ERR stale 7\n"), Err(fenced));
        let unknown = || Err(Refusal::UnknownChannel { channel: "a".to_owned() });
        assert_eq!((judged("-ERR gone\n"), judged("-ERR No such channel!\n")), (unknown(), unknown()));
        assert!(matches!(judged("-ERR locked\n"), Err(Refusal::Overloaded { .. })));
        assert!(matches!(judged("-ERR Operation failed\n"), Err(Refusal::SwitchRefused { .. })));
    }
}

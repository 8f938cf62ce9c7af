//! What a command for a channel means to the switch.

use fipple_protocol::peer::{ChannelCommand, Refusal};

use super::fence::{Fence, InEpoch};

/// A command in the switch's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SwitchCommand {
    /// A short API command.
    Api(String),
    /// An API command that may take its time.
    Job(String),
    /// A dialplan application in the channel's own thread, after what was queued before. Where it is `alone`, what
    /// comes later waits for its end.
    Execute { application: String, argument: String, alone: bool },
}

/// What has to be known of the switch, and noted of its channels, to command one.
pub(crate) trait SwitchFacts {
    /// Whether the channel exists.
    fn has_channel(&self, uuid: &str) -> bool;
    /// Whether the channel is parked.
    fn is_parked(&self, uuid: &str) -> bool;
    /// Whether the switch knows the dialplan application.
    fn has_application(&self, name: &str) -> bool;
    /// Which fence the switch has.
    fn fence(&self) -> Fence;
    /// The channels that a command has to name to the fence, so that it may touch these, and the epochs that they have.
    fn in_epochs(&self, channels: &[&str]) -> Vec<InEpoch>;
    /// The epoch that a channel itself compares with; none if it has none to compare.
    fn epoch_in(&self, channel: &str) -> Option<u64>;
    /// Notes that an execution is about to be put into the channel's own queue.
    ///
    /// # Errors
    /// If too many wait there already.
    fn enqueue(&self, uuid: &str, event_uuid: &str) -> Result<(), Refusal>;
    /// Notes that it was not put there after all.
    fn dequeue(&self, uuid: &str, event_uuid: &str);
}

/// Translates a command for a channel that exists.
///
/// # Errors
/// If an argument means something else to the switch than it says, or would do harm: the switch hangs up a call
/// that asks for an unknown application, and wedges one that is bridged to itself.
pub(crate) fn translate(
    uuid: &str,
    command: &ChannelCommand,
    facts: &impl SwitchFacts,
) -> Result<SwitchCommand, Refusal> {
    let api = |line: String| Ok(SwitchCommand::Api(line));
    word("channel", uuid)?;
    match command {
        // Unlike the application it does not wait behind what is played.
        ChannelCommand::Answer => api(format!("uuid_answer {uuid}")),
        ChannelCommand::Hangup { cause } => {
            let cause = cause.as_deref().unwrap_or("NORMAL_CLEARING");
            name("cause", cause)?;
            api(format!("uuid_kill {uuid} {cause}"))
        }
        ChannelCommand::Park => api(format!("uuid_park {uuid}")),
        ChannelCommand::Play { file } if facts.is_parked(uuid) => execute("playback", file, facts),
        ChannelCommand::Play { file } if facts.fence() == Fence::Strict => {
            // Inside of what it does: behind that it might come never.
            Ok(SwitchCommand::Execute {
                application: "playback".to_owned(),
                argument: file.clone(),
                alone: false,
            })
        }
        ChannelCommand::Play { file } => {
            word("file", file)?;
            // uuid_broadcast takes what stands before '::' for an application, and quotes and backslashes for its own
            // syntax.
            if file.contains("::") || file.contains(['\'', '\\']) {
                let detail = "it may hold no '::', quote or backslash while the channel does something else";
                return Err(invalid("file", detail));
            }
            api(format!("uuid_broadcast {uuid} {file} aleg"))
        }
        ChannelCommand::Transfer { extension, dialplan, context } => {
            word("extension", extension)?;
            let dialplan = dialplan.as_deref().unwrap_or("XML");
            let context = context.as_deref().unwrap_or("default");
            name("dialplan", dialplan)?;
            name("context", context)?;
            api(format!("uuid_transfer {uuid} {extension} {dialplan} {context}"))
        }
        ChannelCommand::Bridge { to } if to == uuid => {
            Err(invalid("to", "a channel cannot be bridged to itself"))
        }
        ChannelCommand::Bridge { to } if facts.has_channel(to) => {
            word("to", to)?;
            Ok(SwitchCommand::Job(format!("uuid_bridge {uuid} {to}")))
        }
        ChannelCommand::Bridge { to } => execute("bridge", to, facts),
        ChannelCommand::Intercept { of } if of == uuid => {
            Err(invalid("of", "a channel cannot be taken away by itself"))
        }
        ChannelCommand::Intercept { of } => {
            word("of", of)?;
            if !facts.has_channel(of) {
                return Err(invalid("of", "the switch of the channel has no such channel"));
            }
            execute("intercept", of, facts)
        }
        ChannelCommand::Set { name: variable, value } => api(set(uuid, variable, value)?),
        ChannelCommand::Execute { application, argument } => execute(application, argument, facts),
        // With `all` it would also forget what waits, the steps of a flow and their marks among it.
        ChannelCommand::Break => api(format!("uuid_break {uuid}")),
    }
}

/// The channels that a command for `channel` is about.
pub(super) fn channels_of<'a>(channel: &'a str, command: &'a ChannelCommand) -> Vec<&'a str> {
    match command {
        ChannelCommand::Bridge { to } => vec![channel, to],
        _ => vec![channel],
    }
}

/// Whether a command sends the call elsewhere, so that its flow ends.
pub(crate) fn takes_call_by_hand(command: &ChannelCommand) -> bool {
    matches!(
        command,
        ChannelCommand::Park
            | ChannelCommand::Transfer { .. }
            | ChannelCommand::Bridge { .. }
            | ChannelCommand::Intercept { .. }
    )
}

/// What a reply says of a command for a channel.
///
/// # Errors
/// The switch's own words, unless they say that there is no such channel.
pub(crate) fn judge(uuid: &str, reply: &str) -> Result<String, Refusal> {
    let reply = reply.trim();
    if !reply.starts_with('-') {
        return Ok(reply.to_owned());
    }
    // uuid_* commands, sendmsg, uuid_bridge and uuid_broadcast each say it in their own way (transcripts
    // c_api_bgapi/api_replies, d_sendmsg/execute_basic and m_transfer/uuid_bridge_bad).
    if ["-ERR No such channel", "-ERR invalid session id", "-ERR Invalid uuid", "-ERR invalid uuid"]
        .iter()
        .any(|words| reply.starts_with(words))
    {
        return Err(Refusal::UnknownChannel { channel: uuid.to_owned() });
    }
    Err(Refusal::SwitchRefused { reply: reply.to_owned() })
}

fn execute(application: &str, argument: &str, facts: &impl SwitchFacts) -> Result<SwitchCommand, Refusal> {
    if !facts.has_application(application) {
        let detail = format!("the switch knows no application {application:?} and would hang up the call");
        return Err(invalid("application", &detail));
    }
    // A bridge lasts as long as the people talk: what is played to them is not to wait until they have finished.
    let alone = !["bridge", "intercept"].contains(&application);
    Ok(SwitchCommand::Execute { application: application.to_owned(), argument: argument.to_owned(), alone })
}

fn set(uuid: &str, variable: &str, value: &str) -> Result<String, Refusal> {
    name("name", variable)?;
    if variable.starts_with("fipple_") {
        return Err(invalid(
            "name",
            "variables that begin with fipple_ control the call and are fipple's own",
        ));
    }
    // The switch trims the ends, and takes a backslash or a quote for its own syntax.
    if value.contains(['\n', '\r', '\0', '\\', '\'']) || value.trim() != value {
        let detail = "a value may hold no line end, zero byte, backslash or ', and no space at its ends";
        return Err(invalid("value", detail));
    }
    Ok(format!("uuid_setvar {uuid} {variable} {value}"))
}

/// An argument that ends with the next space, and is no option.
pub(crate) fn word(argument: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty()
        || text.starts_with('-')
        || text.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err(invalid(argument, "one word is needed, without spaces and not beginning with -"));
    }
    Ok(())
}

/// An argument that is a plain name.
pub(crate) fn name(argument: &str, text: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(plain) {
        return Err(invalid(argument, "letters, digits, '_', '-' and '.' only"));
    }
    Ok(())
}

pub(crate) fn invalid(argument: &str, detail: &str) -> Refusal {
    Refusal::InvalidArgument { detail: format!("{argument}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Facts(Fence);

    impl SwitchFacts for Facts {
        fn has_channel(&self, uuid: &str) -> bool {
            ["a", "b"].contains(&uuid)
        }
        fn is_parked(&self, uuid: &str) -> bool {
            uuid == "a"
        }
        fn has_application(&self, name: &str) -> bool {
            ["playback", "bridge", "intercept", "echo"].contains(&name)
        }
        fn fence(&self) -> Fence {
            self.0
        }
        fn in_epochs(&self, _: &[&str]) -> Vec<InEpoch> {
            Vec::new()
        }
        fn epoch_in(&self, _: &str) -> Option<u64> {
            None
        }
        fn enqueue(&self, _: &str, _: &str) -> Result<(), Refusal> {
            Ok(())
        }
        fn dequeue(&self, _: &str, _: &str) {}
    }

    fn line(uuid: &str, command: ChannelCommand) -> String {
        match translate(uuid, &command, &Facts(Fence::None)).unwrap() {
            SwitchCommand::Api(line) => line,
            SwitchCommand::Job(line) => format!("job {line}"),
            SwitchCommand::Execute { application, argument, alone } => {
                format!("execute {application} {argument}{}", if alone { " alone" } else { "" })
            }
        }
    }

    fn json(text: &str) -> ChannelCommand {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn commands_in_the_words_of_the_switch() {
        assert_eq!(line("a", ChannelCommand::Answer), "uuid_answer a");
        assert_eq!(line("a", json(r#"{"action":"hangup"}"#)), "uuid_kill a NORMAL_CLEARING");
        assert_eq!(line("a", json(r#"{"action":"hangup","cause":"USER_BUSY"}"#)), "uuid_kill a USER_BUSY");
        assert_eq!(
            line("a", json(r#"{"action":"play","file":"a b.wav"}"#)),
            "execute playback a b.wav alone"
        );
        assert_eq!(line("b", json(r#"{"action":"play","file":"ab.wav"}"#)), "uuid_broadcast b ab.wav aleg");
        let play = ChannelCommand::Play { file: "it's a b.wav".to_owned() };
        let inside = SwitchCommand::Execute {
            application: "playback".to_owned(),
            argument: "it's a b.wav".to_owned(),
            alone: false,
        };
        assert_eq!(translate("b", &play, &Facts(Fence::Strict)), Ok(inside));
        let transfer = json(r#"{"action":"transfer","extension":"1000"}"#);
        assert_eq!(line("a", transfer), "uuid_transfer a 1000 XML default");
        assert_eq!(line("a", json(r#"{"action":"bridge","to":"b"}"#)), "job uuid_bridge a b");
        assert_eq!(line("a", json(r#"{"action":"bridge","to":"user/1"}"#)), "execute bridge user/1");
        assert_eq!(line("a", json(r#"{"action":"intercept","of":"b"}"#)), "execute intercept b");
        assert_eq!(line("a", json(r#"{"action":"set","name":"x","value":"y z"}"#)), "uuid_setvar a x y z");
        assert_eq!(line("a", json(r#"{"action":"break"}"#)), "uuid_break a");
    }

    #[test]
    fn what_would_do_harm_is_refused() {
        for text in [
            r#"{"action":"execute","application":"nosuch"}"#,
            r#"{"action":"execute","application":"echo\n\nexit"}"#,
            r#"{"action":"bridge","to":"a"}"#,
            r#"{"action":"intercept","of":"a"}"#,
            r#"{"action":"intercept","of":"nosuch"}"#,
            r#"{"action":"intercept","of":"-bleg b"}"#,
            r#"{"action":"hangup","cause":"X\n\napi shutdown"}"#,
            r#"{"action":"transfer","extension":"-both 1000"}"#,
            r#"{"action":"transfer","extension":"1000","context":"a b"}"#,
            r#"{"action":"set","name":"fipple_epoch","value":"9"}"#,
            r#"{"action":"set","name":"a b","value":"9"}"#,
            r#"{"action":"set","name":"a","value":"x\ny"}"#,
            r#"{"action":"set","name":"a","value":"C:\\new"}"#,
            r#"{"action":"set","name":"a","value":" x"}"#,
        ] {
            let refusal = translate("a", &json(text), &Facts(Fence::None)).unwrap_err();
            assert!(matches!(refusal, Refusal::InvalidArgument { .. }), "{text}: {refusal}");
        }
        assert!(translate("a b", &ChannelCommand::Park, &Facts(Fence::None)).is_err());
        for file in ["a b.wav", "hangup::NORMAL_CLEARING", "it's.wav", "a\\sb.wav"] {
            assert!(
                translate("b", &ChannelCommand::Play { file: file.into() }, &Facts(Fence::None)).is_err(),
                "{file}"
            );
        }
    }

    #[test]
    fn a_missing_channel_is_told_from_a_refusal() {
        for reply in [
            "-ERR No such channel!\n",
            "-ERR No such channel!\n-USAGE: <uuid> <var>=<value>;<var>=<value>...\n",
            "-ERR invalid session id [x]",
            "-ERR Invalid uuid\n",
            "-ERR invalid uuid\n",
        ] {
            assert!(matches!(judge("x", reply), Err(Refusal::UnknownChannel { .. })), "{reply}");
        }
        for reply in ["-ERROR\n", "-USAGE: <uuid> [cause]\n", "-ERR Operation failed\n"] {
            assert!(matches!(judge("x", reply), Err(Refusal::SwitchRefused { .. })), "{reply}");
        }
        assert_eq!(judge("x", "+OK Success\n").unwrap(), "+OK Success");
    }
}

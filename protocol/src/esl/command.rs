//! What a controller sends, written so that no argument can end its own line.
//!
//! The forms are those that the recorded switch understood. FreeSWITCH trims the white space around the value of
//! a header, drops a header whose value is empty, and decodes nothing: `%41` arrives as `%41`.

use std::fmt;

use super::command_writer::Writer;
use super::{Error, EventFormat};

/// A command. [`Command::write`] checks it and writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// The answer to `auth/request` with the password of the switch.
    Auth {
        /// The switch's password.
        password: Secret<'a>,
    },
    /// The answer to `auth/request` with a user of the switch's directory.
    UserAuth {
        /// The user, with its domain: `user@domain`.
        user: &'a str,
        /// The user's `esl-password`.
        password: Secret<'a>,
    },
    /// An API command whose result is awaited: meanwhile the connection gets nothing else.
    Api(&'a str),
    /// An API command whose result comes as a `BACKGROUND_JOB` event.
    BackgroundApi {
        /// The API command with its arguments.
        command: &'a str,
        /// The job's name; FreeSWITCH echoes it and does not check that it is unique.
        job_uuid: &'a str,
    },
    /// Subscribes to events; a connection has one format at a time.
    Events {
        /// The format of all of the connection's events from now on.
        format: EventFormat,
        /// Names such as `CHANNEL_ANSWER`, or `ALL`.
        names: &'a [&'a str],
        /// Subclasses of `CUSTOM` such as `sofia::register`.
        subclasses: &'a [&'a str],
    },
    /// Ends the subscription to some events.
    NixEvents {
        /// Names such as `CHANNEL_ANSWER`.
        names: &'a [&'a str],
        /// Subclasses of `CUSTOM`.
        subclasses: &'a [&'a str],
    },
    /// Ends the subscription to all events.
    NoEvents,
    /// Lets only events through that have this value in this header; several filters are alternatives.
    Filter {
        /// The header's name.
        header: &'a str,
        /// The value; `-value` excludes it, `/regex/` matches it.
        value: &'a str,
    },
    /// Takes filters back.
    FilterDelete {
        /// The header's name, or `all`.
        header: &'a str,
        /// The value, or every value of that header.
        value: Option<&'a str>,
    },
    /// The events of one channel, and the end of the connection with it.
    MyEvents {
        /// The channel; `None` on an outbound connection, which has one.
        uuid: Option<&'a str>,
        /// The format of the events.
        format: EventFormat,
    },
    /// Whether the events of the channel's input callbacks come here (outbound).
    DivertEvents(bool),
    /// Keeps an outbound or `myevents` connection open after the channel's end, to get its last events.
    Linger {
        /// For how long; `None` leaves it to the switch.
        seconds: Option<u32>,
    },
    /// Takes [`Command::Linger`] back.
    NoLinger,
    /// Asks for the channel's data: the first command of an outbound connection.
    Connect,
    /// Lets the dialplan go on when the outbound connection ends.
    Resume,
    /// Asks for the switch's log.
    Log(LogLevel),
    /// Ends [`Command::Log`].
    NoLog,
    /// Ends the connection, after its pending `bgapi` jobs.
    Exit,
    /// Fires an event in the switch.
    SendEvent {
        /// Its name, such as `CUSTOM`.
        name: &'a str,
        /// Its headers, `Event-Subclass` among them.
        headers: &'a [(&'a str, &'a str)],
        /// Its body; empty for none.
        body: &'a str,
    },
    /// Runs a dialplan application on a channel.
    Execute(Execute<'a>),
    /// Ends a channel.
    Hangup {
        /// The channel; `None` on an outbound connection, which has one.
        uuid: Option<&'a str>,
        /// Why, such as `NORMAL_CLEARING`; FreeSWITCH takes an unknown one for that.
        cause: &'a str,
    },
}

/// A password, which [`fmt::Debug`] does not show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a str);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// A dialplan application to run on a channel. `+OK` says that it was queued: an unknown application is `+OK` too,
/// and hangs the channel up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The channel; `None` on an outbound connection, which has one.
    pub uuid: Option<&'a str>,
    /// The application, such as `answer` or `playback`.
    pub application: &'a str,
    /// Its argument; empty for none. It may hold newlines, and goes into the body then.
    pub argument: &'a str,
    /// Whether to wait for what was queued before. Without it the application runs inside one that is running.
    pub event_lock: bool,
    /// Comes back as `Application-UUID` in `CHANNEL_EXECUTE` and `CHANNEL_EXECUTE_COMPLETE`.
    pub event_uuid: Option<&'a str>,
    /// How often to run it; `None` is once.
    pub loops: Option<u32>,
}

impl<'a> Execute<'a> {
    /// An application to run once, after those that were queued before, on the channel `uuid`.
    pub fn new(uuid: Option<&'a str>, application: &'a str, argument: &'a str) -> Self {
        Self { uuid, application, argument, event_lock: true, event_uuid: None, loops: None }
    }
}

/// How much of the switch's log to send: everything up to this level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the levels of syslog, as FreeSWITCH names them")]
pub enum LogLevel {
    Console = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Command<'_> {
    /// Appends the command to `output`.
    ///
    /// # Errors
    /// An argument that could end its line (newline, carriage return), its word (white space) or its C string (NUL),
    /// that is empty, or that says what another part of the command says. `output` is then as it was.
    pub fn write(&self, output: &mut Vec<u8>) -> Result<(), Error> {
        let length = output.len();
        let result = self.write_unchecked(&mut Writer { output });
        if result.is_err() {
            output.truncate(length);
        }
        result
    }

    /// Writes up to the first wrong argument.
    fn write_unchecked(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        match *self {
            Self::Auth { password } => writer.keyword("auth ").line("password", password.0)?,
            Self::UserAuth { user, password } => {
                if user.contains(':') {
                    return Err(Error::ForbiddenByte { argument: "user", byte: b':' });
                }
                writer.keyword("userauth ").word("user", user)?.keyword(":").line("password", password.0)?
            }
            Self::Api(command) => writer.keyword("api ").line("command", command)?,
            Self::BackgroundApi { command, job_uuid } => writer
                .keyword("bgapi ")
                .line("command", command)?
                .keyword("\nJob-UUID: ")
                .word("job_uuid", job_uuid)?,
            Self::Events { format, names, subclasses } => {
                writer.keyword("event ").keyword(format.name()).events(names, subclasses)?
            }
            Self::NixEvents { names, subclasses } => writer.keyword("nixevent").events(names, subclasses)?,
            Self::NoEvents => writer.keyword("noevents"),
            Self::Filter { header, value } => match header {
                "add" | "delete" => return Err(Error::ReservedArgument { argument: "header" }),
                _ => writer.keyword("filter ").word("header", header)?.keyword(" ").line("value", value)?,
            },
            Self::FilterDelete { header, value } => {
                let writer = writer.keyword("filter delete ").word("header", header)?;
                match value {
                    Some(value) => writer.keyword(" ").line("value", value)?,
                    None => writer,
                }
            }
            Self::MyEvents { uuid, format } => {
                let writer = writer.keyword("myevents").target(uuid)?;
                // Plain goes without saying.
                if format == EventFormat::Plain { writer } else { writer.keyword(" ").keyword(format.name()) }
            }
            Self::DivertEvents(on) => {
                writer.keyword(if on { "divert_events on" } else { "divert_events off" })
            }
            Self::Linger { seconds: None } => writer.keyword("linger"),
            Self::Linger { seconds: Some(seconds) } => writer.keyword("linger ").number(seconds),
            Self::NoLinger => writer.keyword("nolinger"),
            Self::Connect => writer.keyword("connect"),
            Self::Resume => writer.keyword("resume"),
            Self::Log(level) => writer.keyword("log ").number(level as u32),
            Self::NoLog => writer.keyword("nolog"),
            Self::Exit => writer.keyword("exit"),
            Self::SendEvent { name, headers, body } => return writer.send_event(name, headers, body),
            Self::Execute(execute) => return writer.execute(&execute),
            Self::Hangup { uuid, cause } => writer
                .keyword("sendmsg")
                .target(uuid)?
                .keyword("\ncall-command: hangup\nhangup-cause: ")
                .word("cause", cause)?,
        };
        writer.keyword("\n\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ESL_BODY_MAX_BYTES;

    fn written(command: Command<'_>) -> String {
        let mut output = b"before|".to_vec();
        command.write(&mut output).unwrap();
        String::from_utf8(output).unwrap().strip_prefix("before|").unwrap().to_owned()
    }

    fn refused(command: Command<'_>) -> Error {
        let mut output = b"before".to_vec();
        let error = command.write(&mut output).unwrap_err();
        assert_eq!(output, b"before", "nothing is left of a refused command");
        error
    }

    #[test]
    fn the_forms_that_the_recorded_switch_understood() {
        let all = EventFormat::Plain;
        for (command, expected) in [
            (Command::Auth { password: Secret("ClueCon") }, "auth ClueCon\n\n"),
            (Command::UserAuth { user: "u@d", password: Secret("a b:c") }, "userauth u@d:a b:c\n\n"),
            (Command::Api("status"), "api status\n\n"),
            (Command::BackgroundApi { command: "status", job_uuid: "j" }, "bgapi status\nJob-UUID: j\n\n"),
            (Command::Events { format: all, names: &["ALL"], subclasses: &[] }, "event plain ALL\n\n"),
            (
                Command::Events { format: EventFormat::Json, names: &["A", "B"], subclasses: &["s::r", "t"] },
                "event json A B CUSTOM s::r t\n\n",
            ),
            (Command::NixEvents { names: &[], subclasses: &["a::b"] }, "nixevent CUSTOM a::b\n\n"),
            (Command::NoEvents, "noevents\n\n"),
            (Command::Filter { header: "Unique-ID", value: "/^a b/" }, "filter Unique-ID /^a b/\n\n"),
            (Command::FilterDelete { header: "all", value: None }, "filter delete all\n\n"),
            (Command::FilterDelete { header: "a", value: Some("b") }, "filter delete a b\n\n"),
            (Command::MyEvents { uuid: Some("u"), format: EventFormat::Json }, "myevents u json\n\n"),
            (Command::MyEvents { uuid: None, format: EventFormat::Json }, "myevents json\n\n"),
            (Command::MyEvents { uuid: None, format: EventFormat::Plain }, "myevents\n\n"),
            (Command::DivertEvents(true), "divert_events on\n\n"),
            (Command::Linger { seconds: None }, "linger\n\n"),
            (Command::Linger { seconds: Some(3) }, "linger 3\n\n"),
            (Command::NoLinger, "nolinger\n\n"),
            (Command::Connect, "connect\n\n"),
            (Command::Resume, "resume\n\n"),
            (Command::Log(LogLevel::Debug), "log 7\n\n"),
            (Command::NoLog, "nolog\n\n"),
            (Command::Exit, "exit\n\n"),
            (
                Command::Hangup { uuid: Some("u"), cause: "NORMAL_CLEARING" },
                "sendmsg u\ncall-command: hangup\nhangup-cause: NORMAL_CLEARING\n\n",
            ),
        ] {
            assert_eq!(written(command), expected);
        }
    }

    #[test]
    fn execute_puts_into_the_body_what_a_header_would_not_keep() {
        let head = "sendmsg u\ncall-command: execute\nexecute-app-name: set\n";
        let mut execute =
            Execute { event_lock: false, ..Execute::new(Some("u"), "set", "foo=bar žluť %41 a:b") };
        assert_eq!(
            written(Command::Execute(execute)),
            format!("{head}execute-app-arg: foo=bar žluť %41 a:b\n\n")
        );
        execute.argument = "foo2=line1\nline2";
        let body = "content-type: text/plain\ncontent-length: 16\n\nfoo2=line1\nline2";
        assert_eq!(written(Command::Execute(execute)), format!("{head}{body}"));
        execute.argument = " x";
        let body = "content-type: text/plain\ncontent-length: 2\n\n x";
        assert_eq!(written(Command::Execute(execute)), format!("{head}{body}"));
        let answer = Execute { event_uuid: Some("e"), loops: Some(2), ..Execute::new(None, "answer", "") };
        assert_eq!(
            written(Command::Execute(answer)),
            "sendmsg\ncall-command: execute\nexecute-app-name: answer\nevent-lock: true\nEvent-UUID: e\nloops: 2\n\n"
        );
    }

    #[test]
    fn an_event_has_its_length_from_us_alone() {
        let event = |headers, body| Command::SendEvent { name: "CUSTOM", headers, body };
        assert_eq!(
            written(event(&[("Event-Subclass", "a::b"), ("X", "1: 2")], "two\n\nlines")),
            "sendevent CUSTOM\nEvent-Subclass: a::b\nX: 1: 2\ncontent-length: 10\n\ntwo\n\nlines"
        );
        assert_eq!(written(event(&[], "")), "sendevent CUSTOM\n\n");
        let reserved = Error::ReservedArgument { argument: "headers" };
        assert_eq!(refused(event(&[("content-Length", "5")], "")), reserved);
        assert_eq!(
            refused(event(&[("a:b", "5")], "")),
            Error::ForbiddenByte { argument: "headers", byte: b':' }
        );
        assert_eq!(refused(event(&[("a", "")], "")), Error::EmptyArgument { argument: "headers" });
        assert_eq!(refused(event(&[], "a\0")), Error::ForbiddenByte { argument: "body", byte: 0 });
        let large = "a".repeat(ESL_BODY_MAX_BYTES + 1);
        assert!(matches!(refused(event(&[], &large)), Error::CommandTooLarge { .. }));
    }

    #[test]
    fn no_argument_ends_its_line() {
        for byte in ['\n', '\r', '\0'] {
            let evil = format!("x{byte}exit");
            let evil = evil.as_str();
            let evils = [evil];
            let headers = [("a", evil)];
            let evil_headers = [(evil, "a")];
            let execute = Execute::new(Some("u"), "set", "a");
            let refusals = [
                ("password", Command::Auth { password: Secret(evil) }),
                ("user", Command::UserAuth { user: evil, password: Secret("p") }),
                ("password", Command::UserAuth { user: "u", password: Secret(evil) }),
                ("command", Command::Api(evil)),
                ("command", Command::BackgroundApi { command: evil, job_uuid: "j" }),
                ("job_uuid", Command::BackgroundApi { command: "status", job_uuid: evil }),
                ("names", Command::Events { format: EventFormat::Json, names: &evils, subclasses: &[] }),
                ("subclasses", Command::NixEvents { names: &[], subclasses: &evils }),
                ("header", Command::Filter { header: evil, value: "v" }),
                ("value", Command::Filter { header: "h", value: evil }),
                ("header", Command::FilterDelete { header: evil, value: None }),
                ("value", Command::FilterDelete { header: "h", value: Some(evil) }),
                ("uuid", Command::MyEvents { uuid: Some(evil), format: EventFormat::Xml }),
                ("name", Command::SendEvent { name: evil, headers: &[], body: "" }),
                ("headers", Command::SendEvent { name: "CUSTOM", headers: &headers, body: "" }),
                ("headers", Command::SendEvent { name: "CUSTOM", headers: &evil_headers, body: "" }),
                ("uuid", Command::Hangup { uuid: Some(evil), cause: "c" }),
                ("cause", Command::Hangup { uuid: None, cause: evil }),
                ("uuid", Command::Execute(Execute { uuid: Some(evil), ..execute })),
                ("application", Command::Execute(Execute { application: evil, ..execute })),
                ("event_uuid", Command::Execute(Execute { event_uuid: Some(evil), ..execute })),
            ];
            for (argument, command) in refusals {
                assert_eq!(
                    refused(command),
                    Error::ForbiddenByte { argument, byte: byte as u8 },
                    "{command:?}"
                );
            }
        }
        let nul = Command::Execute(Execute::new(None, "set", "a=\n\0"));
        assert_eq!(refused(nul), Error::ForbiddenByte { argument: "argument", byte: 0 });
    }

    #[test]
    fn a_password_is_not_shown() {
        let command = Command::UserAuth { user: "u", password: Secret("p4ss") };
        assert_eq!(format!("{command:?}"), r#"UserAuth { user: "u", password: Secret(..) }"#);
    }

    #[test]
    fn words_stay_words_and_grammar_stays_ours() {
        let events = |names| Command::Events { format: EventFormat::Plain, names, subclasses: &[] };
        assert_eq!(refused(events(&["A B"])), Error::ForbiddenByte { argument: "names", byte: b' ' });
        assert_eq!(refused(events(&["custom"])), Error::ReservedArgument { argument: "names" });
        assert_eq!(refused(events(&[])), Error::EmptyArgument { argument: "names" });
        assert_eq!(refused(events(&[""])), Error::EmptyArgument { argument: "names" });
        let filter = Command::Filter { header: "delete", value: "all" };
        assert_eq!(refused(filter), Error::ReservedArgument { argument: "header" });
        let user = Command::UserAuth { user: "u:p", password: Secret("q") };
        assert_eq!(refused(user), Error::ForbiddenByte { argument: "user", byte: b':' });
        assert_eq!(refused(Command::Api("")), Error::EmptyArgument { argument: "command" });
    }
}

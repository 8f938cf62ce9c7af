//! The pieces of a command, each checked as it is written.

use super::command::Execute;
use super::{Error, names};
use crate::limits::ESL_BODY_MAX_BYTES;

/// Appends checked pieces of one command.
pub(super) struct Writer<'a> {
    pub(super) output: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Text of ours.
    pub(super) fn keyword(&mut self, text: &str) -> &mut Self {
        self.output.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn number(&mut self, number: u32) -> &mut Self {
        self.keyword(&number.to_string())
    }

    /// An argument that ends with its line.
    pub(super) fn line(&mut self, argument: &'static str, text: &str) -> Result<&mut Self, Error> {
        if text.is_empty() {
            return Err(Error::EmptyArgument { argument });
        }
        self.checked(argument, text, |byte| matches!(byte, b'\n' | b'\r' | 0))
    }

    /// An argument that ends with the next space.
    pub(super) fn word(&mut self, argument: &'static str, text: &str) -> Result<&mut Self, Error> {
        if text.is_empty() {
            return Err(Error::EmptyArgument { argument });
        }
        self.checked(argument, text, |byte| byte.is_ascii_whitespace() || byte == 0x0b || byte == 0)
    }

    fn checked(
        &mut self,
        argument: &'static str,
        text: &str,
        is_forbidden: fn(u8) -> bool,
    ) -> Result<&mut Self, Error> {
        match text.bytes().find(|&byte| is_forbidden(byte)) {
            Some(byte) => Err(Error::ForbiddenByte { argument, byte }),
            None => Ok(self.keyword(text)),
        }
    }

    /// The channel of a command, if it has to be named.
    pub(super) fn target(&mut self, uuid: Option<&str>) -> Result<&mut Self, Error> {
        match uuid {
            Some(uuid) => self.keyword(" ").word("uuid", uuid),
            None => Ok(self),
        }
    }

    /// Names, and the subclasses of `CUSTOM` last: after that word every other is a subclass.
    pub(super) fn events(&mut self, names: &[&str], subclasses: &[&str]) -> Result<&mut Self, Error> {
        if names.is_empty() && subclasses.is_empty() {
            return Err(Error::EmptyArgument { argument: "names" });
        }
        for name in names {
            if name.eq_ignore_ascii_case("CUSTOM") {
                return Err(Error::ReservedArgument { argument: "names" });
            }
            self.keyword(" ").word("names", name)?;
        }
        if !subclasses.is_empty() {
            self.keyword(" CUSTOM");
        }
        for subclass in subclasses {
            self.keyword(" ").word("subclasses", subclass)?;
        }
        Ok(self)
    }

    pub(super) fn send_event(
        &mut self,
        name: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(), Error> {
        self.keyword("sendevent ").word("name", name)?.keyword("\n");
        for (name, value) in headers {
            if name.trim().eq_ignore_ascii_case(names::CONTENT_LENGTH) {
                return Err(Error::ReservedArgument { argument: "headers" });
            }
            if name.contains(':') {
                return Err(Error::ForbiddenByte { argument: "headers", byte: b':' });
            }
            self.word("headers", name)?.keyword(": ").line("headers", value)?.keyword("\n");
        }
        self.body("body", body)
    }

    pub(super) fn execute(&mut self, execute: &Execute<'_>) -> Result<(), Error> {
        self.keyword("sendmsg").target(execute.uuid)?;
        self.keyword("\ncall-command: execute\nexecute-app-name: ");
        self.word("application", execute.application)?.keyword("\n");
        if execute.event_lock {
            self.keyword("event-lock: true\n");
        }
        if let Some(event_uuid) = execute.event_uuid {
            self.keyword("Event-UUID: ").word("event_uuid", event_uuid)?.keyword("\n");
        }
        if let Some(loops) = execute.loops {
            self.keyword("loops: ").number(loops).keyword("\n");
        }
        // A header loses the white space around its value; the body arrives as it is (transcript
        // d_sendmsg/execute_basic runs `set` on an argument of two lines).
        let argument = execute.argument;
        if argument.contains(['\n', '\r']) || argument.trim() != argument {
            return self.keyword("content-type: text/plain\n").body("argument", argument);
        }
        if !argument.is_empty() {
            self.keyword("execute-app-arg: ").line("argument", argument)?.keyword("\n");
        }
        self.body("argument", "")
    }

    /// The end of the headers, and a body if there is one. FreeSWITCH reads it by its length, as a C string.
    fn body(&mut self, argument: &'static str, body: &str) -> Result<(), Error> {
        if body.len() > ESL_BODY_MAX_BYTES {
            return Err(Error::CommandTooLarge { body_bytes: body.len(), limit_bytes: ESL_BODY_MAX_BYTES });
        }
        if !body.is_empty() {
            self.keyword("content-length: ").keyword(&body.len().to_string()).keyword("\n");
        }
        self.keyword("\n").checked(argument, body, |byte| byte == 0)?;
        Ok(())
    }
}

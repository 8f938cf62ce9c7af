//! What a script asks of the switch, and what it is answered.

use mlua::{IntoLua, IntoLuaMulti, Lua, MultiValue, Value};

use super::text_of;

/// What a script wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// `session:execute`: answered when the application has ended.
    Execute { application: String, argument: String },
    /// `session:ready`
    Ready,
    /// `session:getVariable`
    Get { name: String },
    /// `session:setVariable`
    Set { name: String, value: String },
    /// `session:hangup`
    Hangup { cause: String },
    /// `freeswitch.API():execute`
    Api { command: String, argument: String },
    /// `freeswitch.Event(...):fire`
    Fire { name: String, subclass: String, body: String, headers: Vec<(String, String)> },
    /// `freeswitch.consoleLog`
    Log { level: String, text: String },
    /// `freeswitch.msleep`
    Sleep { milliseconds: u64 },
    /// `stream:write`
    Write { text: String },
}

impl Question {
    pub(super) fn is_sleep(&self) -> bool {
        matches!(self, Self::Sleep { .. })
    }

    /// Reads what the prelude's functions yield; nothing at all when the script was suspended for running too long.
    pub(super) fn read(values: MultiValue) -> Option<Self> {
        let mut values = values.into_iter();
        let kind = text_of(&values.next()?)?;
        let mut rest = values.map(|value| text_of(&value).unwrap_or_default());
        let mut next = || rest.next().unwrap_or_default();
        Some(match kind.as_str() {
            "execute" => Self::Execute { application: next(), argument: next() },
            "ready" => Self::Ready,
            "get" => Self::Get { name: next() },
            "set" => Self::Set { name: next(), value: next() },
            "hangup" => Self::Hangup { cause: next() },
            "api" => Self::Api { command: next(), argument: next() },
            "log" => Self::Log { level: next(), text: next() },
            "sleep" => Self::Sleep { milliseconds: next().parse::<f64>().unwrap_or(0.0).max(0.0) as u64 },
            "write" => Self::Write { text: next() },
            "fire" => {
                let (name, subclass, body) = (next(), next(), next());
                let mut headers = Vec::new();
                while let Some(name) = rest.next() {
                    headers.push((name, rest.next().unwrap_or_default()));
                }
                Self::Fire { name, subclass, body, headers }
            }
            _ => return None,
        })
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; also what lets a script begin.
    Nothing,
    Truth(bool),
    Text(String),
}

impl IntoLuaMulti for Answer {
    fn into_lua_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let value = match self {
            Self::Nothing => Value::Nil,
            Self::Truth(truth) => Value::Boolean(truth),
            Self::Text(text) => text.into_lua(lua)?,
        };
        Ok(MultiValue::from_vec(vec![value]))
    }
}

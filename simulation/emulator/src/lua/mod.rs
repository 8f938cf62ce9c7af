//! Lua scripts, as mod_lua runs them: for the application `lua` in the channel's own thread, for the API command `lua`
//! in whoever asked. What runs here is the very text that an operator installs.
//!
//! A script is a Lua coroutine. Whatever it wants from the switch is a [`Question`] that suspends it; the switch answers
//! at once, or after an application that it executes has ended. So a long playback inside a script holds that
//! channel's thread and nothing else.

mod channel;
mod command;
mod question;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mlua::chunk::ChunkMode;
use mlua::{HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Thread, Value, VmState};

pub(crate) use command::ApiScript;
pub(crate) use question::{Answer, Question};

use crate::channel::Uuid;
use crate::limits::{SCRIPT_INSTRUCTIONS_MAX, SCRIPT_MEMORY_MAX_BYTES, SCRIPT_SLEEP_MAX};
use crate::switch::JobId;

const PRELUDE: &str = include_str!("prelude.lua");

/// Instructions between two looks at the limit.
const INSTRUCTIONS_PER_LOOK: u32 = 10_000;

/// The scripts that run outside of channels.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    /// Those that sleep or were held up, by the command that they answer.
    waiting: BTreeMap<JobId, ApiScript>,
    /// How many scripts a script that begins now runs inside of.
    depth: usize,
    /// What was compiled already, by its name: to compile takes longer than to run.
    compiled: BTreeMap<String, Arc<[u8]>>,
}

impl Scripts {
    /// Compiles a text once. The error is the message of Lua's compiler.
    fn compile(&mut self, name: &str, text: &str) -> Result<Arc<[u8]>, String> {
        if let Some(code) = self.compiled.get(name) {
            return Ok(code.clone());
        }
        let compile = || {
            let lua = Lua::new_with(StdLib::NONE, LuaOptions::default())?;
            let function = lua.load(text).set_name(name).set_mode(ChunkMode::Text).into_function()?;
            Ok(function.dump(false).into())
        };
        let code: Arc<[u8]> = compile().map_err(|error: mlua::Error| error.to_string())?;
        self.compiled.insert(name.to_owned(), code.clone());
        Ok(code)
    }
}

/// A script that has begun and not ended, in a Lua state of its own as in mod_lua.
#[derive(Debug)]
pub(crate) struct Script {
    /// Asked and not looked at yet: the script is held up.
    pending: Option<Question>,
    /// What came while it waited.
    answer: Option<Answer>,
    /// It waits for the result of an API command.
    waits: bool,
    /// How many scripts it runs inside of.
    depth: usize,
    slept_ms: u64,
    /// `argv`, its own name first.
    arguments: Vec<String>,
    thread: Thread,
    // Keeps the state alive, which the thread does not.
    _lua: Lua,
}

/// A script that runs an API command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// One that answers this command itself.
    Command(JobId),
    /// One in this channel's thread.
    Channel(Uuid),
}

/// How far a script has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It wants something.
    Asks(Question),
    /// It is through.
    Ended,
    /// It broke off with this message, which a real switch logs.
    Failed(String),
}

/// What surrounds a script.
pub(crate) struct Surroundings<'a> {
    /// `argv`, its own name first.
    pub(crate) arguments: &'a [String],
    /// The channel in whose thread it runs, if it does: it has a `session`.
    pub(crate) channel: Option<&'a str>,
    /// It answers an API command: it has a `stream`.
    pub(crate) writes: bool,
    /// How many scripts it runs inside of.
    pub(crate) depth: usize,
}

impl Script {
    /// Puts compiled code into a state of its own, the prelude before it.
    fn new(prelude: &[u8], code: &[u8], surroundings: &Surroundings<'_>) -> Result<Self, String> {
        Self::build(prelude, code, surroundings).map_err(|error| error.to_string())
    }

    fn build(prelude: &[u8], code: &[u8], surroundings: &Surroundings<'_>) -> mlua::Result<Self> {
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8;
        // With it `pcall` is Lua's own, through which a script can be suspended. There is no panic to catch: all that a
        // script calls is Lua.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
        lua.set_memory_limit(SCRIPT_MEMORY_MAX_BYTES)?;
        let arguments = lua.create_table()?;
        for (index, argument) in surroundings.arguments.iter().enumerate() {
            arguments.raw_set(index, argument.as_str())?;
        }
        let prelude = lua.load(prelude).set_mode(ChunkMode::Binary);
        prelude.call::<()>((arguments, surroundings.channel, surroundings.writes))?;
        let main = lua.load(code).set_mode(ChunkMode::Binary).into_function()?;
        let thread = lua.create_thread(main)?;
        limit_instructions(&thread)?;
        let (depth, arguments) = (surroundings.depth, surroundings.arguments.to_vec());
        Ok(Self {
            pending: None,
            answer: None,
            waits: false,
            depth,
            slept_ms: 0,
            arguments,
            thread,
            _lua: lua,
        })
    }

    /// Whether it waits for the result of an API command.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Lets the script go on with the answer to its last question, until it asks again or ends.
    fn go_on(&mut self) -> Progress {
        let answer = self.answer.take().unwrap_or(Answer::Nothing);
        let values = match self.thread.resume::<MultiValue>(answer) {
            Ok(values) => values,
            Err(error) => return Progress::Failed(error.to_string()),
        };
        if self.thread.is_finished() {
            return Progress::Ended;
        }
        match Question::read(values) {
            Some(Question::Sleep { milliseconds }) => self.go_to_sleep(milliseconds),
            Some(question) => Progress::Asks(question),
            None => Progress::Failed("the script ran for too long".into()),
        }
    }

    fn go_to_sleep(&mut self, milliseconds: u64) -> Progress {
        self.slept_ms = self.slept_ms.saturating_add(milliseconds);
        if u128::from(self.slept_ms) > SCRIPT_SLEEP_MAX.as_millis() {
            return Progress::Failed("the script slept for too long".into());
        }
        Progress::Asks(Question::Sleep { milliseconds })
    }
}

/// Suspends a script that runs for too long: an error could be caught by it. Where Lua cannot suspend, an error it is.
fn limit_instructions(thread: &Thread) -> mlua::Result<()> {
    const LOOKS_MAX: u32 = SCRIPT_INSTRUCTIONS_MAX / INSTRUCTIONS_PER_LOOK;
    let looks = AtomicU32::new(0);
    let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_LOOK);
    thread.set_hook(triggers, move |_, _| match looks.fetch_add(1, Ordering::Relaxed) {
        0..LOOKS_MAX => Ok(VmState::Continue),
        LOOKS_MAX => Ok(VmState::Yield),
        _ => Err(mlua::Error::runtime("the script ran for too long")),
    })
}

/// Takes a script's command line apart as mod_lua does: words, of which single quotes may hold spaces, the name first.
/// The 128th argument is all the rest.
pub(crate) fn command_line(text: &str) -> Vec<String> {
    const ARGUMENTS_MAX: usize = 128;
    let text = text.trim_start_matches([' ', '\n', '\r']);
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut words = vec![name.to_owned()];
    words.extend(crate::separate::words(rest, ARGUMENTS_MAX));
    words
}

/// A Lua string as text: what is not UTF-8 is replaced, for the emulated switch keeps text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string_lossy()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

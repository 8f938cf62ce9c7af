//! What is done with a call, as data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Action;
use crate::limits::{FLOW_MAX_STEPS, FLOW_NAME_MAX_BYTES, STEP_MAX_BYTES};

/// A list of steps that are done with a call, one after the other. The position of a call in its flow is the
/// number of steps that are done.
///
/// It is read from a name and steps, each of which is an [`Action`], known by its `do`, or a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenFlow")]
pub struct Flow {
    /// What the channel variable `fipple_flow` says for a call that is to follow this flow.
    pub name: String,
    /// The steps. Without any, the call waits for commands.
    pub steps: Vec<Step>,
}

/// A flow as people write it. Its steps are read one by one, so that what is wrong with one names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFlow {
    name: String,
    #[serde(default)]
    steps: Vec<Map<String, Value>>,
}

/// One step: a dialplan application of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The application's name.
    pub application: String,
    /// Its argument.
    #[serde(default)]
    pub argument: String,
}

/// A flow cannot be used. It names the flow and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flow {name:?}: {problem}")]
pub struct InvalidFlow {
    /// The flow's name.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

impl TryFrom<WrittenFlow> for Flow {
    type Error = InvalidFlow;

    fn try_from(written: WrittenFlow) -> Result<Self, InvalidFlow> {
        let WrittenFlow { name, steps } = written;
        let last = steps.len();
        let read = |(step, number): (Map<String, Value>, usize)| {
            let ends = step.get("do").is_some_and(|does| does == "hangup");
            if ends && number < last {
                return Err(format!("step {number}: nothing can follow a hangup"));
            }
            read_step(step).map_err(|problem| format!("step {number}: {problem}"))
        };
        let steps: Result<_, String> = steps.into_iter().zip(1..).map(read).collect();
        match steps {
            Ok(steps) => {
                let flow = Self { name, steps };
                flow.validate().map(|()| flow)
            }
            Err(problem) => Err(InvalidFlow { name, problem }),
        }
    }
}

fn read_step(step: Map<String, Value>) -> Result<Step, String> {
    let is_action = step.contains_key("do");
    let step = Value::Object(step);
    if is_action {
        let action: Action = serde_json::from_value(step).map_err(|error| error.to_string())?;
        action.lower().map_err(|error| error.to_string())
    } else {
        serde_json::from_value(step).map_err(|error| format!("{error}; or say what it is to `do`"))
    }
}

impl Flow {
    /// The flow of a call that waits for commands.
    pub const PARK: &str = "park";
    /// The flow of a call that names none.
    pub const WELCOME: &str = "welcome";

    /// The flows that every node knows: `park` does nothing at all, `welcome` answers, plays a second of a tone
    /// and hangs up.
    pub fn built_in() -> [Self; 2] {
        let step = |application: &str, argument: &str| Step {
            application: application.to_owned(),
            argument: argument.to_owned(),
        };
        let welcome = vec![
            step("answer", ""),
            step("playback", "tone_stream://%(1000,0,440)"),
            step("hangup", "NORMAL_CLEARING"),
        ];
        [
            Self { name: Self::PARK.to_owned(), steps: Vec::new() },
            Self { name: Self::WELCOME.to_owned(), steps: welcome },
        ]
    }

    /// Checks what a configuration brings: sizes, and that nothing in it breaks a command to the switch.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn validate(&self) -> Result<(), InvalidFlow> {
        let problem = |problem: String| Err(InvalidFlow { name: self.name.clone(), problem });
        if !is_name(&self.name) || self.name.len() > FLOW_NAME_MAX_BYTES {
            return problem(format!("a name is 1 to {FLOW_NAME_MAX_BYTES} letters, digits, '-', '_' or '.'"));
        }
        if self.steps.len() > FLOW_MAX_STEPS {
            return problem(format!("{} steps are more than {FLOW_MAX_STEPS}", self.steps.len()));
        }
        for (index, step) in self.steps.iter().enumerate() {
            let number = index + 1;
            if !is_name(&step.application) {
                return problem(format!("step {number} names no application"));
            }
            if step.application.len() + step.argument.len() > STEP_MAX_BYTES {
                return problem(format!("step {number} is larger than {STEP_MAX_BYTES} bytes"));
            }
            if step.argument.contains(['\n', '\r', '\0']) {
                return problem(format!("the argument of step {number} holds a line end or a zero byte"));
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_built_in_flows_are_valid() {
        for flow in Flow::built_in() {
            assert_eq!(flow.validate(), Ok(()));
        }
    }

    #[test]
    fn both_kinds_of_steps_are_read() {
        let flow: Flow = serde_json::from_value(json!({
            "name": "night",
            "steps": [{"do": "answer"}, {"application": "sleep", "argument": "20"}, {"do": "hangup"}],
        }))
        .unwrap();
        let steps: Vec<_> = flow.steps.iter().map(|step| (&*step.application, &*step.argument)).collect();
        assert_eq!(steps, [("answer", ""), ("sleep", "20"), ("hangup", "NORMAL_CLEARING")]);
        let again: Flow = serde_json::from_value(serde_json::to_value(&flow).unwrap()).unwrap();
        assert_eq!(again, flow);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_flow_the_step_and_the_field() {
        for (steps, words) in [
            (json!([{"do": "answer"}, {"do": "play", "fil": "a"}]), ["step 2", "`fil`"]),
            (json!([{"do": "play", "file": ""}]), ["step 1", "`file`"]),
            (json!([{"aplication": "sleep"}]), ["step 1", "`aplication`"]),
            (json!([{}]), ["step 1", "`do`"]),
            (json!([{"do": "hangup"}, {"do": "answer"}]), ["step 1", "hangup"]),
            (json!([{"do": "execute", "application": "a b"}]), ["step 1", "application"]),
            (json!([{"do": "bridge", "to": "x".repeat(STEP_MAX_BYTES)}]), ["step 1", "larger"]),
        ] {
            let flow = json!({"name": "night", "steps": steps});
            let said = serde_json::from_value::<Flow>(flow).unwrap_err().to_string();
            assert!(said.contains("\"night\"") && words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        let flow = |name: &str, application: &str, argument: &str| Flow {
            name: name.to_owned(),
            steps: vec![Step { application: application.to_owned(), argument: argument.to_owned() }],
        };
        assert_eq!(flow("night", "playback", "a b.wav").validate(), Ok(()));
        let long = "x".repeat(STEP_MAX_BYTES);
        for (bad, word) in [
            (flow("", "answer", ""), "name"),
            (flow("a b", "answer", ""), "name"),
            (flow("a", "", ""), "application"),
            (flow("a", "answer\n", ""), "application"),
            (flow("a", "playback", "x\n\nexit"), "line end"),
            (flow("a", "playback", &long), "larger"),
        ] {
            let error = bad.validate().unwrap_err();
            assert!(error.problem.contains(word), "{error}");
        }
        let steps = vec![Step { application: "sleep".into(), argument: "1".into() }; FLOW_MAX_STEPS + 1];
        assert!(Flow { name: "long".into(), steps }.validate().is_err());
    }
}

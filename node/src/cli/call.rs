//! Commands to channels and switches.

use fipple_protocol::peer::{ChannelCommand, IdempotencyKey, OriginateCommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::{Action, Originate};
use super::client::{Client, segment};
use super::output::{print, print_json};
use crate::Error;

/// `fipple call`
pub(super) async fn command(
    client: &Client,
    uuid: &str,
    key: Option<IdempotencyKey>,
    action: Action,
    json: bool,
) -> Result<(), Error> {
    let path = format!("/v2/channels/{}", segment(uuid));
    let command = as_json(&ChannelCommand::from(action))?;
    let commanded = client.post_once(&path, command, key.as_ref()).await?;
    if !json && commanded["repeated"] == true {
        return print("it had run already under this key, and was not run once more");
    }
    show(&commanded, "result", json)
}

/// `fipple originate`
pub(super) async fn originate(client: &Client, call: Originate, json: bool) -> Result<(), Error> {
    let Originate { endpoint, switch, flow, caller_id_name, caller_id_number, timeout_seconds, key } = call;
    let command =
        OriginateCommand { switch, endpoint, flow, caller_id_name, caller_id_number, timeout_seconds };
    let started = client.post_once("/v2/channels", as_json(&command)?, key.as_ref()).await?;
    if !json && started["repeated"] == true {
        eprintln!("it had been started already under this key, and was not started once more");
    }
    show(&started, "uuid", json)
}

/// `fipple api`
pub(super) async fn switch_api(
    client: &Client,
    switch: &str,
    command: &[String],
    json: bool,
) -> Result<(), Error> {
    let path = format!("/v2/cluster/switches/{}/api", segment(switch));
    show(&client.post(&path, json!({ "command": command.join(" ") })).await?, "result", json)
}

fn as_json(command: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(command).map_err(|error| Error::Usage(error.to_string()))
}

fn show(data: &Value, field: &str, json: bool) -> Result<(), Error> {
    if json { print_json(data) } else { print(data[field].as_str().unwrap_or_default()) }
}

impl From<Action> for ChannelCommand {
    fn from(action: Action) -> Self {
        match action {
            Action::Answer => Self::Answer,
            Action::Hangup { cause } => Self::Hangup { cause },
            Action::Park => Self::Park,
            Action::Play { file } => Self::Play { file },
            Action::Transfer { extension, dialplan, context } => {
                Self::Transfer { extension, dialplan, context }
            }
            Action::Bridge { to } => Self::Bridge { to },
            Action::Intercept { of } => Self::Intercept { of },
            Action::Set { name, value } => Self::Set { name, value },
            Action::Execute { application, argument } => {
                Self::Execute { application, argument: argument.join(" ") }
            }
            Action::Break => Self::Break,
        }
    }
}

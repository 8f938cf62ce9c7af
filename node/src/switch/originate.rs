//! A new call, as the switch wants it written.

use fipple_protocol::call::Flow;
use fipple_protocol::peer::{OriginateCommand, Refusal};

use super::commands::{invalid, name};
use crate::calls::channel::{DONE_VARIABLE, EPOCH_VARIABLE, FLOW_VARIABLE};
use crate::limits::ORIGINATE_TIMEOUT_SECONDS;

/// The API command that starts the call under this uuid. The call parks once it is answered, and is claimed then
/// like any other.
///
/// # Errors
/// If something in it would be read as the syntax of the command.
pub(super) fn originate_line(uuid: &str, originate: &OriginateCommand) -> Result<String, Refusal> {
    let flow = originate.flow.as_deref().unwrap_or(Flow::PARK);
    name("flow", flow)?;
    endpoint(&originate.endpoint)?;
    let timeout_seconds = originate.timeout_seconds.unwrap_or(ORIGINATE_TIMEOUT_SECONDS);
    if timeout_seconds == 0 {
        return Err(invalid("timeout_seconds", "at least 1"));
    }
    let mut variables = format!(
        "origination_uuid={uuid},{EPOCH_VARIABLE}=0,{DONE_VARIABLE}=0,{FLOW_VARIABLE}={flow},continue_on_fail=true,\
         originate_timeout={timeout_seconds}"
    );
    let caller_id = [
        ("origination_caller_id_name", &originate.caller_id_name),
        ("origination_caller_id_number", &originate.caller_id_number),
    ];
    for (variable, value) in caller_id {
        let Some(value) = value else { continue };
        plain_value(variable, value)?;
        // Quoted, a space does not end the braces.
        variables.push_str(&format!(",{variable}='{value}'"));
    }
    Ok(format!("originate {{{variables}}}{} &park()", originate.endpoint))
}

/// Which channel the switch made, from its answer to `originate`.
///
/// # Errors
/// If it made none, or one under another name: `origination_uuid` was taken then.
pub(super) fn originated(uuid: &str, reply: &str) -> Result<String, Refusal> {
    let reply = reply.trim();
    match reply.strip_prefix("+OK ") {
        Some(made) if made == uuid => Ok(made.to_owned()),
        _ => Err(Refusal::SwitchRefused { reply: reply.to_owned() }),
    }
}

/// A dial string is written as it is, and must stay one argument.
fn endpoint(text: &str) -> Result<(), Refusal> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "{}<>[]'\"\\&".contains(c);
    if text.is_empty() || !text.contains('/') || text.contains(forbidden) {
        return Err(invalid(
            "endpoint",
            "a dial string such as user/1001, without spaces, quotes or brackets",
        ));
    }
    Ok(())
}

/// A value between quotes in the braces.
fn plain_value(variable: &str, text: &str) -> Result<(), Refusal> {
    if text.contains(|c: char| c.is_control() || ",{}[]<>'\"\\^$&".contains(c)) {
        return Err(invalid(variable, "no control characters and none of , { } [ ] < > ' \" \\ ^ $ &"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(endpoint: &str) -> OriginateCommand {
        OriginateCommand {
            switch: None,
            endpoint: endpoint.to_owned(),
            flow: None,
            caller_id_name: None,
            caller_id_number: None,
            timeout_seconds: None,
        }
    }

    #[test]
    fn the_line_claims_the_call_and_names_it() {
        let mut originate = command("user/1001");
        originate.caller_id_name = Some("Žofie Test".to_owned());
        let line = originate_line("u-1", &originate).unwrap();
        assert_eq!(
            line,
            "originate {origination_uuid=u-1,fipple_epoch=0,fipple_done=0,fipple_flow=park,continue_on_fail=true,\
             originate_timeout=60,origination_caller_id_name='Žofie Test'}user/1001 &park()"
        );
    }

    #[test]
    fn what_would_be_syntax_is_refused() {
        for endpoint in ["", "1001", "user/1 &hangup()", "{a=b}user/1", "user/1\n\napi x", "user/1'"] {
            assert!(originate_line("u", &command(endpoint)).is_err(), "{endpoint}");
        }
        for name in ["a,b=c", "x'y", "a}b", "a\nb", "${a}"] {
            let mut originate = command("user/1");
            originate.caller_id_name = Some(name.to_owned());
            assert!(originate_line("u", &originate).is_err(), "{name}");
        }
        let mut originate = command("user/1");
        originate.flow = Some("a,b".to_owned());
        assert!(originate_line("u", &originate).is_err());
    }

    #[test]
    fn another_uuid_is_not_the_call_that_was_asked_for() {
        assert_eq!(originated("u-1", "+OK u-1\n").unwrap(), "u-1");
        assert!(originated("u-1", "+OK 29014\n").is_err());
        assert!(originated("u-1", "-ERR USER_BUSY\n").is_err());
    }
}

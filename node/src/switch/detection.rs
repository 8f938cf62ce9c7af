//! Which fence a switch has.

use fipple_protocol::peer::Refusal;

use super::SwitchConfig;
use super::connection::Connection;
use super::fence::Fence;

/// The version of the scripts that this node speaks to.
const SCRIPTS_VERSION: u32 = 2;

/// The scripts that make a switch strict.
const SCRIPTS: [&str; 4] = ["fipple_step", "fipple_fence", "fipple_watchdog", "fipple_fallback"];

/// The fence to be used: the one that is configured, or the best that is there.
///
/// # Errors
/// If the configured one is not there; it says what is missing. Or the switch does not answer.
pub(super) async fn find_fence(connection: &Connection, config: &SwitchConfig) -> Result<Fence, Refusal> {
    let missing_script = match config.fence {
        None | Some(Fence::Strict) => missing_script(connection).await?,
        Some(Fence::Snippet | Fence::None) => None,
    };
    let refused = |detail: String| Refusal::SwitchUnavailable { switch: config.name.clone(), detail };
    match (config.fence, missing_script) {
        (None | Some(Fence::Strict), None) => Ok(Fence::Strict),
        (Some(Fence::Strict), Some(missing)) => Err(refused(format!(
            "fence \"strict\" is configured and {missing}: install deploy/freeswitch/scripts"
        ))),
        (Some(Fence::None), _) => Ok(say_loudly(config, Fence::None, "it is configured")),
        (Some(Fence::Snippet), _) if has_snippet(connection).await? => {
            Ok(say_loudly(config, Fence::Snippet, "it is configured"))
        }
        (Some(Fence::Snippet), _) => Err(refused(
            "fence \"snippet\" is configured and the dialplan has no context fipple: install \
             deploy/freeswitch/fipple_step.xml"
                .to_owned(),
        )),
        (None, Some(missing)) => {
            let fence = if has_snippet(connection).await? { Fence::Snippet } else { Fence::None };
            Ok(say_loudly(config, fence, &missing))
        }
    }
}

fn say_loudly(config: &SwitchConfig, fence: Fence, reason: &str) -> Fence {
    let lost = match fence {
        Fence::None => "steps may run twice when nodes die, and a stale node is not refused by the channel",
        _ => "commands of a stale node are not refused by the channel, and arguments of steps are restricted",
    };
    tracing::warn!(
        switch = config.name,
        fence = fence.word(),
        "the switch is not fenced as it could be: {lost} ({reason}; see deploy/freeswitch)"
    );
    fence
}

/// What is wrong with the first script that does not answer as it should.
async fn missing_script(connection: &Connection) -> Result<Option<String>, Refusal> {
    for script in SCRIPTS {
        let answer = connection.api(&format!("lua {script}.lua version")).await?;
        let expected = format!("+OK {script} {SCRIPTS_VERSION}");
        if answer.trim() != expected {
            let said: String = answer.trim().chars().take(80).collect();
            return Ok(Some(format!("{script}.lua says {said:?} and not {expected:?}")));
        }
    }
    Ok(None)
}

async fn has_snippet(connection: &Connection) -> Result<bool, Refusal> {
    let context = connection.api("xml_locate dialplan context name fipple").await?;
    Ok(context.contains("fipple_run") || context.contains("fipple::step"))
}

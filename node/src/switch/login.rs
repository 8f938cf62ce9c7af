//! From an address to an Event Socket that takes commands.

use std::io;
use std::time::Duration;

use fipple_protocol::esl::{Command, Decoder, FrameKind, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::SwitchConfig;
use crate::limits::{SWITCH_CONNECT_TIMEOUT_MS, SWITCH_LOGIN_TIMEOUT_MS};
use crate::net::{BoxStream, Host};

/// Connects to the first of the switch's addresses that answers, and logs in. The decoder holds what the switch
/// has said since.
///
/// # Errors
/// What went wrong and what to look at, for the operator's log.
pub(super) async fn connect_and_log_in(
    host: &Host,
    config: &SwitchConfig,
) -> Result<(BoxStream, Decoder), String> {
    let connecting =
        timeout(Duration::from_millis(SWITCH_CONNECT_TIMEOUT_MS), connect(host, &config.address));
    let mut stream = connecting.await.map_err(|_| {
        format!("no answer within {SWITCH_CONNECT_TIMEOUT_MS} ms; check the address and the firewalls")
    })??;
    let mut decoder = Decoder::new();
    let login = log_in(&mut stream, &mut decoder, &config.password);
    timeout(Duration::from_millis(SWITCH_LOGIN_TIMEOUT_MS), login).await.map_err(|_| {
            format!("connected, but no login within {SWITCH_LOGIN_TIMEOUT_MS} ms; is it an Event Socket, is the switch frozen?")
        })??;
    Ok((stream, decoder))
}

async fn connect(host: &Host, address: &str) -> Result<BoxStream, String> {
    let resolved = host.network.resolve(address).await;
    let addresses = resolved.map_err(|error| format!("the name cannot be resolved: {error}"))?;
    let mut problem = "the name has no address".to_owned();
    for address in addresses {
        match host.network.connect_tcp(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                problem =
                    format!("{address}: {error}; check that mod_event_socket is loaded and its listen-ip");
            }
        }
    }
    Err(problem)
}

/// Answers `auth/request` with the password.
async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    decoder: &mut Decoder,
    password: &str,
) -> Result<(), String> {
    let mut sent = false;
    loop {
        while let Some(frame) = decoder.next_frame().map_err(|error| error.to_string())? {
            match frame.kind() {
                FrameKind::AuthRequest => {}
                FrameKind::CommandReply if sent && frame.is_ok() => return Ok(()),
                FrameKind::CommandReply => {
                    return Err(
                        "the switch refuses the password; compare it with event_socket.conf.xml".to_owned()
                    );
                }
                FrameKind::RudeRejection => {
                    return Err("the switch's ACL refuses this address; see apply-inbound-acl in event_socket.conf.xml".to_owned());
                }
                kind => return Err(format!("this is no Event Socket: it began with {kind:?}")),
            }
            let mut command = Vec::new();
            Command::Auth { password: Secret(password) }
                .write(&mut command)
                .map_err(|error| error.to_string())?;
            stream.write_all(&command).await.map_err(lost_at_login)?;
            sent = true;
        }
        let bytes = stream.read(decoder.space()).await.map_err(lost_at_login)?;
        if bytes == 0 {
            return Err("the switch closed the connection before the login".to_owned());
        }
        decoder.filled(bytes);
    }
}

fn lost_at_login(error: io::Error) -> String {
    format!("the connection broke before the login: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a login when the switch says this.
    async fn answered(recorded: &[u8]) -> Result<(), String> {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(recorded).await.unwrap();
        theirs.shutdown().await.unwrap();
        log_in(&mut ours, &mut Decoder::new(), "ClueCon").await
    }

    #[tokio::test]
    async fn each_refusal_says_what_to_look_at() {
        const OK: &[u8] = include_bytes!("../../../tests/fixtures/freeswitch/a_inbound_auth/auth_ok.s2c.bin");
        const BAD: &[u8] =
            include_bytes!("../../../tests/fixtures/freeswitch/a_inbound_auth/auth_bad.s2c.bin");
        const ACL: &[u8] =
            include_bytes!("../../../tests/fixtures/freeswitch/p_shutdown_acl/acl_rude_rejection.s2c.bin");
        answered(OK).await.unwrap();
        for (recorded, word) in [
            (BAD, "password"),
            (ACL, "apply-inbound-acl"),
            (&b""[..], "closed"),
            (b"SSH-2.0-OpenSSH\n\n", "Content-Type"),
            (b"Content-Type: command/reply\nReply-Text: +OK\n\n", "password"),
        ] {
            let problem = answered(recorded).await.unwrap_err();
            assert!(problem.contains(word), "{problem}");
            assert!(!problem.contains("ClueCon"), "{problem}");
        }
    }
}

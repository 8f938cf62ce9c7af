//! From an address to an Event Socket that takes commands.

use std::io;
use std::time::Duration;

use fipple_protocol::esl::{Command, Decoder, FrameKind, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::SwitchConfig;
use super::loss::Loss;
use crate::cluster::SwitchTrouble::{Crashed, NotRunning, Refused, Silent, Unusable};
use crate::limits::{SWITCH_CONNECT_TIMEOUT_MS, SWITCH_LOGIN_TIMEOUT_MS};
use crate::net::{BoxStream, Host};

/// Connects to the first of the switch's addresses that answers, and logs in. The decoder holds what the switch
/// has said since.
///
/// # Errors
/// What went wrong and what to look at.
pub(super) async fn connect_and_log_in(
    host: &Host,
    config: &SwitchConfig,
) -> Result<(BoxStream, Decoder), Loss> {
    let connecting =
        timeout(Duration::from_millis(SWITCH_CONNECT_TIMEOUT_MS), connect(host, &config.address));
    let mut stream = connecting.await.map_err(|_| {
        let detail =
            format!("no answer within {SWITCH_CONNECT_TIMEOUT_MS} ms; check the address and the firewalls");
        Loss::new(Silent, detail)
    })??;
    let mut decoder = Decoder::new();
    let login = log_in(&mut stream, &mut decoder, &config.password);
    timeout(Duration::from_millis(SWITCH_LOGIN_TIMEOUT_MS), login).await.map_err(|_| {
        let detail = format!(
            "connected, but no login within {SWITCH_LOGIN_TIMEOUT_MS} ms; is it an Event Socket, is the switch frozen?"
        );
        Loss::new(Silent, detail)
    })??;
    Ok((stream, decoder))
}

async fn connect(host: &Host, address: &str) -> Result<BoxStream, Loss> {
    let resolved = host.network.resolve(address).await;
    let addresses =
        resolved.map_err(|error| Loss::new(Unusable, format!("the name cannot be resolved: {error}")))?;
    let mut problem = Loss::new(Unusable, "the name has no address");
    for address in addresses {
        match host.network.connect_tcp(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                // Somebody who refuses the connection is there at least.
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                let detail =
                    format!("{address}: {error}; check that mod_event_socket is loaded and its listen-ip");
                problem = Loss::new(if refused { NotRunning } else { Silent }, detail);
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
) -> Result<(), Loss> {
    let mut sent = false;
    loop {
        while let Some(frame) = decoder.next_frame().map_err(|error| Loss::new(Unusable, error))? {
            match frame.kind() {
                FrameKind::AuthRequest => {}
                FrameKind::CommandReply if sent && frame.is_ok() => return Ok(()),
                FrameKind::CommandReply => {
                    let detail = "the switch refuses the password; compare it with event_socket.conf.xml";
                    return Err(Loss::new(Refused, detail));
                }
                FrameKind::RudeRejection => {
                    let detail = "the switch's ACL refuses this address; see apply-inbound-acl in event_socket.conf.xml";
                    return Err(Loss::new(Refused, detail));
                }
                kind => {
                    let detail = format!("this is no Event Socket: it began with {kind:?}");
                    return Err(Loss::new(Unusable, detail));
                }
            }
            let mut command = Vec::new();
            Command::Auth { password: Secret(password) }
                .write(&mut command)
                .map_err(|error| Loss::new(Unusable, error))?;
            stream.write_all(&command).await.map_err(lost_at_login)?;
            sent = true;
        }
        let bytes = stream.read(decoder.space()).await.map_err(lost_at_login)?;
        if bytes == 0 {
            return Err(Loss::new(Crashed, "the switch closed the connection before the login"));
        }
        decoder.filled(bytes);
    }
}

fn lost_at_login(error: io::Error) -> Loss {
    Loss::new(Crashed, format!("the connection broke before the login: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a login when the switch says this.
    async fn answered(recorded: &[u8]) -> Result<(), Loss> {
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
        for (recorded, trouble, word) in [
            (BAD, Refused, "password"),
            (ACL, Refused, "apply-inbound-acl"),
            (&b""[..], Crashed, "closed"),
            (b"SSH-2.0-OpenSSH\n\n", Unusable, "Content-Type"),
            (b"Content-Type: command/reply\nReply-Text: +OK\n\n", Refused, "password"),
        ] {
            let loss = answered(recorded).await.unwrap_err();
            assert_eq!(loss.trouble, trouble);
            let problem = loss.to_string();
            assert!(problem.contains(word), "{problem}");
            assert!(!problem.contains("ClueCon"), "{problem}");
        }
    }
}

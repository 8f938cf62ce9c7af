//! Calls that come by themselves, for demonstrations and measurements.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::Uuid;
use crate::config::InboundCall;
use crate::error::Error;
use crate::far_end::Step;
use crate::limits::TRAFFIC_MAX_PER_SECOND;
use crate::server::SwitchHandle;

/// A steady stream of incoming calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Calls started in a second, evenly spaced. At most [`TRAFFIC_MAX_PER_SECOND`]; not above zero starts none.
    pub calls_per_second: f64,
    /// The number that they dial.
    pub destination_number: String,
    /// How long a caller stays before hanging up, if nobody else ends the call.
    pub patience: Duration,
    /// How many calls; `None` for no end.
    pub calls: Option<u64>,
}

/// What a [`run`] of traffic came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficReport {
    /// Calls that the switch took.
    pub started: u64,
    /// Calls that it refused, all its sessions being in use.
    pub refused: u64,
    /// Calls whose callers lost patience.
    pub abandoned: u64,
}

/// [`run`] with callers who do more than wait: each has this script.
pub async fn run_scripted(switch: SwitchHandle, traffic: Traffic, script: Vec<Step>) -> TrafficReport {
    run_calls(switch, traffic, &script).await
}

/// Starts calls until their number is reached and all callers are gone, or the switch stops.
pub async fn run(switch: SwitchHandle, traffic: Traffic) -> TrafficReport {
    run_calls(switch, traffic, &[]).await
}

async fn run_calls(switch: SwitchHandle, traffic: Traffic, script: &[Step]) -> TrafficReport {
    let mut report = TrafficReport::default();
    let rate = traffic.calls_per_second.min(TRAFFIC_MAX_PER_SECOND);
    if rate.is_nan() || rate <= 0.0 {
        return report;
    }
    let spacing = Duration::from_secs_f64(1.0 / rate);
    let mut next_call = Instant::now();
    let mut callers: VecDeque<(Instant, Uuid)> = VecDeque::new();
    loop {
        let more = traffic.calls.is_none_or(|calls| report.started + report.refused < calls);
        let leaves = callers.front().map(|(at, _)| *at);
        let calls = more.then_some(next_call);
        let Some(at) = [calls, leaves].into_iter().flatten().min() else { return report };
        tokio::time::sleep_until(at).await;
        let outcome = if calls == Some(at) {
            next_call += spacing;
            let number = report.started + report.refused;
            let caller = format!("1{number:06}");
            let call = InboundCall::new(caller, traffic.destination_number.clone());
            let call = InboundCall { script: script.to_vec(), ..call };
            match switch.inbound_call(call).await {
                Ok(uuid) => {
                    report.started += 1;
                    callers.push_back((at + traffic.patience, uuid));
                    Ok(())
                }
                Err(Error::Stopped) => Err(Error::Stopped),
                Err(_) => {
                    report.refused += 1;
                    Ok(())
                }
            }
        } else if let Some((_, uuid)) = callers.pop_front() {
            match switch.caller_hangup(&uuid).await {
                Ok(()) => {
                    report.abandoned += 1;
                    Ok(())
                }
                Err(Error::Stopped) => Err(Error::Stopped),
                // The call has ended before.
                Err(_) => Ok(()),
            }
        } else {
            Ok(())
        };
        if outcome.is_err() {
            return report;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::server::serve;

    #[tokio::test(start_paused = true)]
    async fn calls_come_at_their_rate_and_lose_patience() {
        let (switch, task) = serve(Config::default(), 7);
        tokio::spawn(task);
        let traffic = Traffic {
            calls_per_second: 10.0,
            destination_number: "9001".into(),
            patience: Duration::from_secs(5),
            calls: Some(20),
        };
        let started = Instant::now();
        let report = run(switch.clone(), traffic).await;
        assert_eq!(report, TrafficReport { started: 20, refused: 0, abandoned: 20 });
        // The last call comes after 1.9 s and its caller stays for 5 s.
        assert_eq!(started.elapsed().as_secs(), 6);
        let ledger = switch.ledger().await.unwrap();
        assert!(ledger.calls().all(|call| call.destination == "9001" && call.cause == "ORIGINATOR_CANCEL"));
    }
}

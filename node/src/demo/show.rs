//! The course of the demonstration.

use std::time::Duration;

use tokio::time::{Instant, interval, interval_at, sleep};

use super::DemoArguments;
use super::chaos::kill_busiest;
use super::emulated::EmulatedSwitch;
use super::nodes::{Nodes, seed_address};
use super::observe::ClusterView;
use super::screen::{Moment, Screen, Summary};
use super::traffic::Traffic;
use crate::Error;
use crate::cli::signals::StopSignals;
use crate::limits::{DEMO_DRAIN_TIMEOUT, DEMO_START_TIMEOUT};

/// When a node is killed in a demonstration without end: late enough to have seen it work.
const KILL_AFTER: Duration = Duration::from_secs(15);

/// The pause between two looks at a cluster that assembles, and at calls that end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The pause between two readings of the ledgers, which are copied whole.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// The pause between two pictures of the running cluster.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// Starts everything, lets it run, and sums up. The caller ends the processes.
pub(super) async fn perform(
    arguments: &DemoArguments,
    nodes: &mut Nodes,
    screen: &mut Screen,
    stop: &mut StopSignals,
) -> Result<Summary, Error> {
    let interrupted = || Error::Demo("interrupted before the cluster was complete".into());
    let mut traffic = tokio::select! {
        biased;
        () = stop.next() => return Err(interrupted()),
        started = start(arguments, nodes, screen) => started?,
    };
    let started_at = Instant::now();
    run(arguments, nodes, &mut traffic, screen, stop).await?;
    let lasted = started_at.elapsed();
    screen.note("no more new calls: waiting for those under way to end");
    tokio::select! {
        biased;
        () = stop.next() => {}
        drained = drain(&mut traffic) => drained?,
    }
    traffic.give_up().await?;
    for node in nodes.all.iter_mut().filter(|node| !node.killed) {
        if let Some(how) = node.ended() {
            return Err(Error::Demo(format!("{} ended by itself: {how}", node.name)));
        }
    }
    let killed = nodes.all.iter().filter(|node| node.killed).count();
    Ok(Summary { lasted, nodes: nodes.all.len(), killed, traffic })
}

/// Switches first, then the nodes; returns when all see each other and every switch is attached.
async fn start(arguments: &DemoArguments, nodes: &mut Nodes, screen: &mut Screen) -> Result<Traffic, Error> {
    let host = nodes.host()?;
    let mut switches = Vec::new();
    for number in 1..=arguments.switches {
        switches.push(EmulatedSwitch::start(&host, number).await?);
    }
    let flags: Vec<_> = switches.iter().map(|switch| format!("{}={}", switch.name, switch.address)).collect();
    screen.note(&format!("{} emulated switches listen: {}", flags.len(), flags.join(" ")));
    nodes.start_first(&flags).await?;
    let seed = seed_address(&nodes.all[0]).await?;
    screen.note(&format!(
        "node-1 (pid {}) has made a cluster; the others join it at {seed}",
        nodes.all[0].pid()
    ));
    for _ in 1..arguments.nodes {
        nodes.start_next(&flags, &seed).await?;
    }
    let pids: Vec<_> = nodes.all.iter().map(|node| node.pid().to_string()).collect();
    screen.note(&format!("{} node processes run: pids {}", pids.len(), pids.join(" ")));
    let began_at = Instant::now();
    assemble(nodes, switches.len()).await?;
    let took = began_at.elapsed().as_secs_f64();
    screen.note(&format!("all nodes see each other and every switch is attached, after {took:.1} s"));
    Ok(Traffic::new(switches))
}

async fn assemble(nodes: &Nodes, switches: usize) -> Result<(), Error> {
    let give_up_at = Instant::now() + DEMO_START_TIMEOUT;
    for node in &nodes.all {
        loop {
            let view = ClusterView::seen_by(&node.client).await?;
            if view.is_complete(nodes.all.len(), switches) {
                break;
            }
            if Instant::now() > give_up_at {
                let message = format!(
                    "the cluster is not complete after {} s: {} sees members {:?} and switches {:?}",
                    DEMO_START_TIMEOUT.as_secs(),
                    node.name,
                    view.members,
                    view.attached
                );
                return Err(Error::Demo(message));
            }
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}

/// Places calls, kills a node, and draws what happens, until the time is over or somebody stops it.
async fn run(
    arguments: &DemoArguments,
    nodes: &mut Nodes,
    traffic: &mut Traffic,
    screen: &mut Screen,
    stop: &mut StopSignals,
) -> Result<(), Error> {
    let started_at = Instant::now();
    let kill_after = arguments.duration.map_or(KILL_AFTER, |duration| duration / 2);
    // A cluster of one has nobody to go on with the calls.
    let mut kill = !arguments.no_chaos && arguments.nodes > 1;
    let end = async {
        match arguments.duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut next_call = interval(Duration::from_secs_f64(1.0 / arguments.rate));
    let mut next_look = interval(FOLLOW_EVERY);
    let mut next_picture = interval_at(started_at + DRAW_EVERY, DRAW_EVERY);
    let kill_time = sleep(kill_after);
    tokio::pin!(kill_time);
    loop {
        tokio::select! {
            biased;
            () = stop.next() => return Ok(()),
            () = &mut end => return Ok(()),
            _ = next_call.tick() => traffic.place_call().await?,
            () = &mut kill_time, if kill => {
                kill = false;
                let view = ClusterView::of(nodes).await?;
                kill_busiest(nodes, &view, traffic);
            }
            _ = next_picture.tick() => {
                let view = ClusterView::of(nodes).await;
                let elapsed = started_at.elapsed();
                let counts = traffic.counts().await?;
                screen.draw(&Moment { arguments, nodes, traffic, counts, view, elapsed });
            }
            _ = next_look.tick() => traffic.follow().await?,
        }
    }
}

/// Waits until every call has ended, at most [`DEMO_DRAIN_TIMEOUT`].
async fn drain(traffic: &mut Traffic) -> Result<(), Error> {
    let give_up_at = Instant::now() + DEMO_DRAIN_TIMEOUT;
    traffic.follow().await?;
    while traffic.under_way() > 0 && Instant::now() < give_up_at {
        sleep(LOOK_EVERY).await;
        traffic.follow().await?;
    }
    Ok(())
}

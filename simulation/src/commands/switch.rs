//! `fipple-sim switch`: the emulated FreeSWITCH on a real socket.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use fipple_emulator::limits::TRAFFIC_MAX_PER_SECOND;
use fipple_emulator::traffic::{self, Traffic, TrafficReport};
use fipple_emulator::{Config, Connecting, Counts, Stream, SwitchHandle, serve_with};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::UNUSABLE;

/// Serves an emulated FreeSWITCH: its Event Socket and its calls, without audio.
///
/// Attach a fipple node to it, or any program that speaks the Event Socket (as "inbound" client). Every call that
/// comes in is prepared and parked, as fipple's dialplan snippet does on a real switch, and waits for a controller.
///
/// Destinations that `originate` and `bridge` dial answer after 0.2 s, except: busy*, reject*, unallocated* and
/// congested* refuse, noanswer* rings for ever, early* sends sound first, error/CAUSE fails at once, null/x answers at
/// once, and loopback/x runs the dialplan for x.
#[derive(Args)]
#[command(after_help = "Examples:
  fipple-sim switch
      then, in another terminal:  nc 127.0.0.1 8021
      and type, each followed by an empty line:
        auth ClueCon
        event plain ALL
        api originate null/x &park()
  fipple-sim switch --listen 0.0.0.0:8021 --password secret --rate 5 --destination 1000
      five calls a second to 1000; each caller hangs up after --patience seconds")]
pub(crate) struct SwitchArguments {
    /// Address of the Event Socket. Port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:8021")]
    listen: SocketAddr,
    /// What `auth` must say.
    #[arg(long, default_value = "ClueCon", env = "FIPPLE_SIM_PASSWORD", hide_env_values = true)]
    password: String,
    /// Incoming calls in a second; 0 for none.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// The number that the incoming calls dial.
    #[arg(long, default_value = "1000")]
    destination: String,
    /// Seconds after which a caller hangs up, if nobody else has ended the call.
    #[arg(long, default_value_t = 30.0)]
    patience: f64,
    /// Ends by itself after this many seconds; 0 for not before Ctrl-C.
    #[arg(long, default_value_t = 0.0)]
    duration: f64,
    /// From what all its uuids and delays follow. By default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// The switch's name in events.
    #[arg(long, default_value = "fs1")]
    name: String,
    /// Prints the summary at the end as one JSON object, and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

/// Serves until Ctrl-C, a termination signal or the end of `--duration`.
pub(crate) fn run(arguments: SwitchArguments) -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve_switch(&arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fipple-sim switch: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

async fn serve_switch(arguments: &SwitchArguments) -> io::Result<()> {
    let (Some(patience), Some(duration)) = (seconds(arguments.patience), seconds(arguments.duration)) else {
        return Err(io::Error::other("--patience and --duration are seconds, from 0 to a year"));
    };
    let rates = 0.0..=TRAFFIC_MAX_PER_SECOND;
    if !rates.contains(&arguments.rate) || (arguments.rate > 0.0 && arguments.rate < RATE_MIN) {
        return Err(io::Error::other(format!(
            "--rate is a number of calls a second: 0 for none, or from {RATE_MIN} to {TRAFFIC_MAX_PER_SECOND}"
        )));
    }
    let listener = listen(arguments.listen).await?;
    let address = listener.local_addr()?;
    let wall_clock = wall_clock();
    let seed = arguments.seed.unwrap_or(wall_clock.as_nanos() as u64);
    let config = Config {
        password: arguments.password.clone(),
        switch_name: arguments.name.clone(),
        wall_clock_at_start_micros: wall_clock.as_micros() as u64,
        ..Config::default()
    };
    let (switch, task) = serve_with(config, seed, connect);
    let served = tokio::spawn(task);
    if !arguments.json {
        greet(arguments, address);
    }
    let started = Instant::now();
    let traffic = start_traffic(arguments, &switch, patience);
    let end = async {
        if duration.is_zero() { std::future::pending().await } else { tokio::time::sleep(duration).await }
    };
    tokio::select! {
        biased;
        result = accept(&listener, &switch) => result?,
        result = stop_signal() => result?,
        () = end => {}
    }
    traffic.abort();
    let counts = switch.counts().await.map_err(io::Error::other)?;
    summarise(arguments, &counts, started.elapsed());
    switch.crash().await;
    served.await.map_err(io::Error::other)
}

/// The lowest rate of calls but none: one in a quarter of an hour.
const RATE_MIN: f64 = 0.001;

/// The longest time that anything may take.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= A_YEAR)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this command is what puts the emulated switch on a real socket"
)]
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Opens the connections of the application `socket`.
#[expect(clippy::disallowed_methods, reason = "a switch on a real socket connects to real ones")]
fn connect(address: String) -> Connecting {
    Box::pin(async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream) as Box<dyn Stream>)
    })
}

#[expect(clippy::disallowed_methods, reason = "a switch on a real socket tells the real time")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn start_traffic(
    arguments: &SwitchArguments,
    switch: &SwitchHandle,
    patience: Duration,
) -> JoinHandle<TrafficReport> {
    let traffic = Traffic {
        calls_per_second: arguments.rate,
        destination_number: arguments.destination.clone(),
        patience,
        calls: None,
    };
    tokio::spawn(traffic::run(switch.clone(), traffic))
}

async fn accept(listener: &TcpListener, switch: &SwitchHandle) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it a reply waits for the controller's acknowledgement of the one before.
                stream.set_nodelay(true)?;
                switch.connect(stream).await.map_err(io::Error::other)?;
            }
            // One connection that failed before it was accepted says nothing about the next.
            Err(error) => {
                eprintln!("fipple-sim switch: a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(unix)]
async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stop_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn greet(arguments: &SwitchArguments, address: SocketAddr) {
    println!("An emulated FreeSWITCH listens on {address}, password {:?}.", arguments.password);
    if arguments.rate > 0.0 {
        println!("{} calls a second come in to {}.", arguments.rate, arguments.destination);
    }
    println!(
        "Try: nc {} {}, then `auth {}` and an empty line.",
        address.ip(),
        address.port(),
        arguments.password
    );
    println!("Ctrl-C ends it.");
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn summarise(arguments: &SwitchArguments, counts: &Counts, elapsed: Duration) {
    let Counts { channels, connections, channels_created, channels_ended, .. } = counts;
    let Counts { events_fired, events_sent, executions, commands, .. } = counts;
    let seconds = elapsed.as_secs_f64();
    if arguments.json {
        let summary = serde_json::json!({
            "seconds": seconds,
            "channels_created": channels_created,
            "channels_ended": channels_ended,
            "channels_living": channels,
            "connections": connections,
            "commands": commands,
            "applications": executions,
            "events_fired": events_fired,
            "events_sent": events_sent,
        });
        println!("{summary}");
        return;
    }
    println!(
        "\n{seconds:.1} s: {channels_created} channels, {channels_ended} of them ended; {executions} applications; \
         {commands} commands; {events_fired} events, {events_sent} sent to controllers."
    );
}

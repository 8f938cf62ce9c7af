//! Machines and the network between them, with small programs on them instead of nodes.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fipple::net::Network;
use fipple_determinism::{Clocks, Stream, decide, release};
use fipple_emulator::dialplan::{Action, Dialplan, Extension};
use fipple_emulator::{Config, InboundCall, Time};
use quinn::AsyncUdpSocket;
use quinn::udp::{RecvMeta, Transmit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::runtime::{ClockError, RuntimeHost};
use super::switch_host::SwitchHost;
use crate::clock;
use crate::limits::{TCP_WINDOW_BYTES, UDP_QUEUE_DATAGRAMS};
use crate::network::{Fabric, HostId, HostNetwork, LinkQuality};
use crate::trace::Trace;

/// Two machines, 10.0.0.1 and 10.0.0.2.
struct Lab {
    fabric: Fabric,
    ids: [HostId; 2],
    hosts: [Option<RuntimeHost>; 2],
    now: Time,
}

/// What a program has come to; shared with the test.
type Result<T> = Arc<Mutex<Option<T>>>;

fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host as u8 + 1)), port)
}

impl Lab {
    fn new(quality: LinkQuality) -> Self {
        Self::with_clock(quality, ClockError::default())
    }

    /// The second machine's clock is off.
    fn with_clock(quality: LinkQuality, error: ClockError) -> Self {
        clock::set_world(Time(0));
        let clocks = Clocks { unix: clock::unix, monotonic: clock::monotonic };
        decide(clocks, Stream::new(1, "world.libc"));
        let fabric = Fabric::new(1, Trace::default());
        fabric.set_quality(quality);
        let ids = [0, 1].map(|host| fabric.add_host(&format!("m{host}"), address(host, 0).ip()));
        let start = |host: usize, error| {
            RuntimeHost::start(&fabric, ids[host], "m", Time(0), error, Stream::new(1, "libc")).unwrap()
        };
        let hosts = [Some(start(0, ClockError::default())), Some(start(1, error))];
        Self { fabric, ids, hosts, now: Time(0) }
    }

    /// Starts a program on a machine; gives the place where its result will be.
    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        host: usize,
        program: impl FnOnce(HostNetwork) -> F,
    ) -> Result<T> {
        let result: Result<T> = Arc::default();
        let network = HostNetwork { fabric: self.fabric.clone(), host: self.ids[host] };
        let (program, place) = (program(network), result.clone());
        self.hosts[host].as_mut().unwrap().enter(|runtime| {
            runtime.spawn(async move {
                let value = program.await;
                *place.lock().unwrap() = Some(value);
            })
        });
        result
    }

    fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            let until = self.now + self.fabric.latency_min();
            clock::set_world(self.now);
            self.fabric.retransmit(until);
            for host in self.hosts.iter_mut().flatten() {
                clock::set_world(self.now);
                host.run(until);
            }
            self.now = until;
            clock::set_world(until);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.hosts = [None, None];
        release();
    }
}

/// Accepts one connection and reads it to its end.
async fn read_all(network: HostNetwork) -> io::Result<Vec<u8>> {
    let mut listener = network.listen_tcp(address(0, 80)).await?;
    let (mut stream, _) = listener.accept().await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Connects and writes.
async fn write_all(network: HostNetwork, bytes: Vec<u8>) -> io::Result<()> {
    let mut stream = network.connect_tcp(address(0, 80)).await?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

fn some_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

fn taken<T>(result: &Result<T>) -> T {
    result.lock().unwrap().take().expect("the program has come to its end")
}

#[test]
fn tcp_brings_everything_in_order_over_a_bad_link() {
    let quality =
        LinkQuality { latency_min_ms: 5, latency_max_ms: 60, loss_ppm: 200_000, duplication_ppm: 0 };
    let mut lab = Lab::new(quality);
    let received = lab.spawn(0, read_all);
    let sent = lab.spawn(1, |network| write_all(network, some_bytes(2_000_000)));
    lab.run_ms(120_000);
    taken(&sent).unwrap();
    assert!(taken(&received).unwrap() == some_bytes(2_000_000));
}

#[test]
fn who_does_not_read_holds_the_writer_up() {
    let mut lab = Lab::new(LinkQuality::default());
    let reading = lab.spawn(0, |network| async move {
        let mut listener = network.listen_tcp(address(0, 80)).await?;
        let (stream, _) = listener.accept().await?;
        sleep(Duration::from_secs(3)).await;
        drop(stream);
        Ok::<_, io::Error>(())
    });
    let written = Arc::new(Mutex::new(0));
    let count = written.clone();
    let writing = lab.spawn(1, |network| async move {
        let mut stream = network.connect_tcp(address(0, 80)).await?;
        loop {
            *count.lock().unwrap() += stream.write(&[0; 10_000]).await?;
        }
        #[expect(unreachable_code, reason = "it tells the type")]
        Ok::<_, io::Error>(())
    });
    lab.run_ms(2_000);
    assert_eq!(*written.lock().unwrap(), TCP_WINDOW_BYTES);
    lab.run_ms(2_000);
    taken(&reading).unwrap();
    assert_eq!(taken(&writing).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn where_nobody_listens_a_connection_is_refused_after_a_round_trip() {
    let mut lab = Lab::new(LinkQuality { latency_min_ms: 10, latency_max_ms: 10, ..LinkQuality::default() });
    let refused = lab.spawn(1, |network| async move {
        let start = Instant::now();
        let error = network.connect_tcp(address(0, 81)).await.err().map(|error| error.kind());
        (error, start.elapsed())
    });
    lab.run_ms(1_000);
    assert_eq!(taken(&refused), (Some(io::ErrorKind::ConnectionRefused), Duration::from_millis(20)));
}

#[test]
fn a_cut_holds_tcp_back_until_it_is_healed() {
    let mut lab = Lab::new(LinkQuality::default());
    let received = lab.spawn(0, read_all);
    let sent = lab.spawn(1, |network| async move {
        let mut stream = network.connect_tcp(address(0, 80)).await?;
        sleep(Duration::from_secs(2)).await;
        stream.write_all(b"after the cut").await?;
        stream.shutdown().await
    });
    lab.run_ms(1_000);
    let [there, here] = lab.ids;
    lab.fabric.set_cut(here, there, true);
    lab.run_ms(10_000);
    assert!(received.lock().unwrap().is_none());
    lab.fabric.set_cut(here, there, false);
    lab.run_ms(20_000);
    taken(&sent).unwrap();
    assert_eq!(taken(&received).unwrap(), b"after the cut");
}

#[test]
fn a_killed_program_ends_its_connections_and_a_machine_without_power_says_nothing() {
    for power in [true, false] {
        let mut lab = Lab::new(LinkQuality::default());
        let received = lab.spawn(0, read_all);
        let _writing = lab.spawn(1, |network| async move {
            let mut stream = network.connect_tcp(address(0, 80)).await?;
            stream.write_all(b"half a").await?;
            sleep(Duration::from_secs(1_000)).await;
            drop(stream);
            Ok::<_, io::Error>(())
        });
        lab.run_ms(1_000);
        if !power {
            lab.fabric.switch_off(lab.ids[1]);
        }
        lab.hosts[1] = None;
        lab.fabric.close_all(lab.ids[1]);
        lab.run_ms(5_000);
        let end = received.lock().unwrap().take().map(|read| read.unwrap());
        assert_eq!(end.as_deref(), power.then_some(&b"half a"[..]), "with power: {power}");
    }
}

#[test]
fn a_switch_connects_to_a_controller_and_goes_on_where_there_is_none() {
    let mut lab = Lab::new(LinkQuality::default());
    // The second machine is the switch's.
    lab.hosts[1] = None;
    let action = |application: &str, argument: &str| Action::new(application, argument);
    let socket = action("socket", "m0:80 async full");
    let extension = |destination: &str, last| Extension {
        destination: destination.into(),
        actions: vec![socket.clone(), last],
    };
    let dialplan = Dialplan {
        extensions: vec![extension("1", action("park", "")), extension("2", action("hangup", "USER_BUSY"))],
    };
    let config = Config { dialplan, ..Config::default() };
    let mut switch = SwitchHost::start(&lab.fabric, lab.ids[1], address(1, 0).ip(), config, 1, Time(0));
    let call = |switch: &mut SwitchHost, now, destination| {
        switch
            .act(now, |switch, now| switch.inbound_call(now, &InboundCall::new("100", destination)))
            .unwrap()
    };
    let refused = call(&mut switch, lab.now, "2");
    run_with(&mut lab, &mut switch, 500);
    assert_eq!(switch.switch().ledger().call(&refused).unwrap().cause, "USER_BUSY");
    let heard = lab.spawn(0, |network| async move {
        let mut listener = network.listen_tcp(address(0, 80)).await?;
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(b"connect\n\n").await?;
        let mut bytes = vec![0; 64];
        stream.read_exact(&mut bytes).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    });
    run_with(&mut lab, &mut switch, 100);
    call(&mut switch, lab.now, "1");
    run_with(&mut lab, &mut switch, 500);
    assert!(taken(&heard).unwrap().starts_with("Event-Name: CHANNEL_DATA"));
}

fn run_with(lab: &mut Lab, switch: &mut SwitchHost, ms: u64) {
    let end = lab.now + Duration::from_millis(ms);
    while lab.now < end {
        let now = lab.now;
        switch.run(now + lab.fabric.latency_min(), &mut |_, _| {});
        lab.run_ms(1);
    }
}

/// Sends numbered datagrams, a millisecond apart.
async fn send_datagrams(network: HostNetwork, count: u32) {
    let socket = network.bind_udp(address(1, 90)).unwrap();
    for number in 0..count {
        let contents = number.to_be_bytes();
        let transmit = Transmit {
            destination: address(0, 90),
            ecn: None,
            contents: &contents,
            segment_size: None,
            src_ip: None,
        };
        socket.try_send(&transmit).unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

/// Everything that has come to a socket.
fn received(socket: &Arc<dyn AsyncUdpSocket>) -> Vec<u32> {
    let mut numbers = Vec::new();
    let waker = std::task::Waker::noop();
    loop {
        let mut bytes = [0; 4];
        let mut metas = [RecvMeta::default()];
        let mut context = std::task::Context::from_waker(waker);
        let polled = socket.poll_recv(&mut context, &mut [IoSliceMut::new(&mut bytes)], &mut metas);
        if !matches!(polled, std::task::Poll::Ready(Ok(1))) {
            return numbers;
        }
        numbers.push(u32::from_be_bytes(bytes));
    }
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_and_a_full_socket_takes_no_more() {
    let quality =
        LinkQuality { latency_min_ms: 5, latency_max_ms: 25, loss_ppm: 200_000, duplication_ppm: 100_000 };
    let mut lab = Lab::new(quality);
    let network = HostNetwork { fabric: lab.fabric.clone(), host: lab.ids[0] };
    let socket = network.bind_udp(address(0, 90)).unwrap();
    lab.spawn(1, |network| send_datagrams(network, 200));
    lab.run_ms(1_000);
    let numbers = received(&socket);
    let mut once = numbers.clone();
    once.sort_unstable();
    once.dedup();
    assert!((130..190).contains(&once.len()), "{} of 200 came", once.len());
    assert!(numbers.len() > once.len() + 5, "some came twice");
    assert!(!numbers.is_sorted(), "some overtook others");
    lab.spawn(1, |network| async move {
        drop(network.bind_udp(address(1, 91)));
        send_datagrams(network, 3 * UDP_QUEUE_DATAGRAMS as u32).await;
    });
    lab.run_ms(5_000);
    assert_eq!(received(&socket).len(), UDP_QUEUE_DATAGRAMS);
}

#[test]
fn a_paused_machine_finds_that_time_has_passed() {
    let mut lab = Lab::new(LinkQuality::default());
    let woken = lab.spawn(1, |_| async {
        let start = Instant::now();
        sleep(Duration::from_millis(500)).await;
        (start.elapsed(), clock::now())
    });
    lab.run_ms(100);
    let mut paused = lab.hosts[1].take().unwrap();
    lab.run_ms(2_000);
    paused.stand_still(lab.now);
    paused.catch_up(lab.now);
    lab.hosts[1] = Some(paused);
    lab.run_ms(10);
    assert_eq!(taken(&woken), (Duration::from_millis(2_100), Time(2_100_000)));
}

#[test]
fn clocks_drift_and_are_off() {
    let error = ClockError { offset_ms: -3_600_000, drift_ppm: 100 };
    let mut lab = Lab::with_clock(LinkQuality::default(), error);
    let start = clock::EPOCH;
    let told = |_| async move {
        sleep(Duration::from_secs(1_000)).await;
        (clock::now(), clock::unix(), std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap())
    };
    let (right, wrong) = (lab.spawn(0, told), lab.spawn(1, told));
    lab.run_ms(1_000_100);
    let (right, wrong) = (taken(&right), taken(&wrong));
    let thousand = Duration::from_secs(1_000);
    assert_eq!((right.0, right.1), (Time(1_000_000_000), start + thousand));
    assert_eq!(right.2, right.1, "libc says the same");
    // A thousand seconds of a clock that runs 100 ppm fast are over 0.1 s early.
    assert!((999_899_000..=999_901_000).contains(&wrong.0.0), "{:?}", wrong.0);
    assert_eq!(wrong.1, start + thousand - Duration::from_secs(3_600));
}

//! The QUIC endpoint: one UDP socket on which the node dials and is dialled.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::{
    ClientConfig, Connecting, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};

use super::identity::Identity;
use super::time::Time;
use super::tls::{SERVER_NAME, TlsConfigs};
use crate::Error;
use crate::limits::{
    CERTIFICATE_CHECK_INTERVAL, CERTIFICATE_RENEWAL_BEFORE_END, QUIC_CONNECTION_WINDOW_BYTES,
    QUIC_DATAGRAM_BUFFER_BYTES, QUIC_IDLE_TIMEOUT, QUIC_INCOMING, QUIC_INCOMING_BUFFER_BYTES,
    QUIC_INITIAL_RTT, QUIC_KEEP_ALIVE, QUIC_PACKET_BYTES, QUIC_STREAM_WINDOW_BYTES, QUIC_STREAMS,
};
use crate::net::Host;

/// The node's end of all its connections.
pub(super) struct Endpoint {
    quic: quinn::Endpoint,
    current: Mutex<Current>,
    host: Host,
    time: Time,
    identity: Arc<Identity>,
}

/// The certificate in use, as far as it changes.
struct Current {
    client: ClientConfig,
    /// When it ends, in Unix milliseconds.
    expires_ms: u64,
}

impl Endpoint {
    /// Binds the socket and issues the node's first certificate.
    pub(super) fn bind(
        host: Host,
        time: Time,
        identity: Arc<Identity>,
        listen: SocketAddr,
    ) -> Result<Self, Error> {
        let tls = TlsConfigs::new(&host, &time, &identity)?;
        let listening = || format!("listen on {listen}/udp");
        let socket = host.network.bind_udp(listen).map_err(Error::io(listening()))?;
        let server = server_config(&time, &identity, &tls);
        let config = endpoint_config(&host, &identity)?;
        let quic =
            quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime))
                .map_err(Error::io(listening()))?;
        let current = Mutex::new(Current { client: client_config(&tls), expires_ms: tls.expires_ms });
        Ok(Self { quic, current, host, time, identity })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Result<SocketAddr, Error> {
        self.quic.local_addr().map_err(Error::io("read the QUIC socket's address"))
    }

    /// Begins a connection to another node.
    pub(super) fn dial(&self, address: SocketAddr) -> Result<Connecting, quinn::ConnectError> {
        let config = self.current().client.clone();
        self.quic.connect_with(config, address, SERVER_NAME)
    }

    /// The next node that dials; none once the endpoint is closed.
    pub(super) async fn accept(&self) -> Option<quinn::Incoming> {
        self.quic.accept().await
    }

    /// Ends every connection and takes no more.
    pub(super) fn close(&self, code: VarInt, reason: &[u8]) {
        self.quic.close(code, reason);
    }

    /// Connections and handshakes of which QUIC still knows: one that was closed is kept for three probe time-outs,
    /// in which its end is told again if need be.
    pub(super) fn open_connections(&self) -> usize {
        self.quic.open_connections()
    }

    /// Renews the certificate whenever two thirds of its life are over. Connections that stand keep theirs.
    pub(super) async fn keep_certificate_fresh(&self) {
        let before_end_ms = CERTIFICATE_RENEWAL_BEFORE_END.as_millis() as u64;
        loop {
            tokio::time::sleep(CERTIFICATE_CHECK_INTERVAL).await;
            let due = self.time.unix_ms().saturating_add(before_end_ms) >= self.current().expires_ms;
            if due && let Err(error) = self.renew() {
                tracing::error!(%error, "the node's certificate could not be renewed");
            }
        }
    }

    /// Puts a new certificate in place.
    pub(super) fn renew(&self) -> Result<(), Error> {
        let tls = TlsConfigs::new(&self.host, &self.time, &self.identity)?;
        self.quic.set_server_config(Some(server_config(&self.time, &self.identity, &tls)));
        *self.current() = Current { client: client_config(&tls), expires_ms: tls.expires_ms };
        tracing::info!(expires_ms = tls.expires_ms, "the node's certificate was renewed");
        Ok(())
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys follow from the node's own: after a restart the node still recognises its old connections' packets,
/// and resets them, so that its peers notice at once rather than after the idle time-out.
fn endpoint_config(host: &Host, identity: &Identity) -> Result<EndpointConfig, Error> {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &identity.derive_secret("fipple/1 stateless reset"));
    let [a, b, c, d, e, f, g, h, ..] = identity.derive_secret("fipple/1 connection id");
    let connection_id_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let mut seed = [0; 32];
    host.random.fill(&mut seed).map_err(Error::io("draw a seed"))?;
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_id_key)));
    config.rng_seed(Some(seed));
    Ok(config)
}

fn server_config(time: &Time, identity: &Identity, tls: &TlsConfigs) -> ServerConfig {
    let token_key = identity.derive_secret("fipple/1 retry token");
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&token_key);
    let mut config = ServerConfig::new(tls.server.clone(), Arc::new(token_key));
    config
        .transport_config(Arc::new(transport_config()))
        .time_source(Arc::new(time.clone()))
        // A router's NAT gives its site a new port now and then: that should not cost a handshake. The path is
        // validated first, and who it is was settled by the handshake.
        .migration(true)
        .max_incoming(QUIC_INCOMING)
        .incoming_buffer_size(QUIC_INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(QUIC_INCOMING_BUFFER_BYTES * QUIC_INCOMING as u64);
    config
}

fn client_config(tls: &TlsConfigs) -> ClientConfig {
    let mut config = ClientConfig::new(tls.client.clone());
    config.transport_config(Arc::new(transport_config()));
    config
}

fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(IdleTimeout::try_from(QUIC_IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
        .max_concurrent_uni_streams(VarInt::from_u32(QUIC_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(QUIC_STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(QUIC_CONNECTION_WINDOW_BYTES))
        .datagram_receive_buffer_size(Some(QUIC_DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(QUIC_DATAGRAM_BUFFER_BYTES)
        .initial_rtt(QUIC_INITIAL_RTT)
        .initial_mtu(QUIC_PACKET_BYTES)
        .mtu_discovery_config(None);
    config
}

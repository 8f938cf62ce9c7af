//! Which recordings belong together: connections to the same switch at the same time.

use super::recording::Recording;

/// Recordings that were made side by side, the first of each group being the oldest, with what its clock was ahead of
/// theirs, in microseconds, where no event tells it.
const TOGETHER: &[&[(&str, Option<u64>)]] = &[
    &[
        ("c_api_bgapi/bgapi_then_disconnect_watcher", None),
        ("c_api_bgapi/bgapi_then_disconnect", Some(1_000)),
    ],
    &[("f_outbound/async_noresume_exit_watch", None), ("f_outbound/async_noresume_exit", None)],
    &[("f_outbound/async_tcp_drop_watch", None), ("f_outbound/async_tcp_drop", None)],
    &[
        ("i_log_sendevent/sendevent_two_clients_b", None),
        ("i_log_sendevent/sendevent_two_clients_a", Some(2_000)),
    ],
    &[("p_shutdown_acl/shutdown_events_plain", None), ("p_shutdown_acl/shutdown_idle_listener", Some(8_000))],
    &[
        ("q_fencing/lua_app_fence", None),
        ("q_fencing/two_controllers_a", None),
        ("q_fencing/two_controllers_b", None),
    ],
];

/// A switch for a while, and everybody who was connected to it.
pub(crate) struct Scenario<'a> {
    /// The recordings, each with the moment on the first one's clock at which it began.
    pub(crate) connections: Vec<(u64, &'a Recording)>,
}

impl<'a> Scenario<'a> {
    fn new(connections: Vec<(&'a Recording, Option<u64>)>) -> Self {
        let first = connections[0].0.began_wall_micros;
        let began = |(recording, offset): (&'a Recording, Option<u64>)| {
            let by_events =
                recording.began_wall_micros.zip(first).map(|(own, first)| own.saturating_sub(first));
            (offset.or(by_events).unwrap_or(0), recording)
        };
        Self { connections: connections.into_iter().map(began).collect() }
    }

    /// The wall clock at its start.
    pub(crate) fn wall_micros(&self) -> Option<u64> {
        self.connections[0].1.began_wall_micros
    }
}

/// Every recording in its scenario.
pub(crate) fn scenarios(recordings: &[Recording]) -> Vec<Scenario<'_>> {
    let find = |name: &str| recordings.iter().find(|recording| recording.name == name).unwrap();
    let together = TOGETHER
        .iter()
        .map(|group| Scenario::new(group.iter().map(|(name, offset)| (find(name), *offset)).collect()));
    let grouped = |recording: &&Recording| {
        TOGETHER.iter().any(|group| group.iter().any(|(name, _)| *name == recording.name))
    };
    let alone = recordings.iter().filter(|recording| !grouped(recording));
    together.chain(alone.map(|recording| Scenario::new(vec![(recording, None)]))).collect()
}

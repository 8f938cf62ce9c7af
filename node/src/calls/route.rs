//! The way of a command from any node to any channel.

use std::collections::BTreeSet;
use std::sync::MutexGuard;
use std::time::Duration;

use fipple_protocol::NodeId;
use fipple_protocol::peer::{
    ChannelCommand, ChannelInfo, IdempotencyKey, OriginateCommand, Refusal, Request, Response,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::attached::accepted;
use super::locations::{Location, Locations};
use super::trace::{Part, What};
use super::{Calls, Running, lock};
use crate::cluster::{Member, MemberState, Members, SwitchLink};
use crate::limits::{
    COMMAND_ATTEMPT_MS, COMMAND_DEADLINE_MS, COMMAND_RETRY_MS, FIND_TIMEOUT_MS, OUT_OF_REACH_MS,
    SWITCH_JOB_TIMEOUT_MS,
};
use crate::switch::Fence;
use crate::switch::attachment::originate_deadline;
use crate::switch::identifiers::random_id;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// The switch's own words.
    pub result: String,
    /// Nothing was done now: the command had run already, under the same key.
    pub repeated: bool,
}

/// A call that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originated {
    /// Its A leg.
    pub uuid: String,
    /// Nothing was done now: the call had been started already, under the same key.
    pub repeated: bool,
}

/// What came of looking for a channel once.
enum Search {
    Found(Box<ChannelInfo>, NodeId),
    /// All switches are attached, all attached nodes have answered, and none knows it.
    Nowhere,
    /// Somebody who may know it did not answer, or is about to attach.
    Unsure(Refusal),
    /// It may be on a switch that no node reaches.
    OutOfReach(Refusal),
}

impl Calls {
    /// One channel, wherever it is.
    ///
    /// # Errors
    /// `UnknownChannel` if no switch has it; otherwise why that cannot be said.
    pub async fn find(&self, channel: &str) -> Result<ChannelInfo, Refusal> {
        let running = self.running()?;
        let deadline = Instant::now() + Duration::from_millis(COMMAND_DEADLINE_MS);
        match self.locate(&running, channel, deadline).await {
            Ok((info, _)) => Ok(info),
            Err(refusal @ Refusal::SwitchUnavailable { .. }) => {
                let remembered = self.list().await.channels;
                remembered.into_iter().find(|info| info.uuid == channel).ok_or(refusal)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// As [`Calls::command_once`], without a key. What the switch said.
    ///
    /// # Errors
    /// Why it was not done; `TimedOut` if it may have been.
    pub async fn command(&self, channel: &str, command: ChannelCommand) -> Result<String, Refusal> {
        self.command_once(channel, command, None).await.map(|commanded| commanded.result)
    }

    /// Runs a command on a channel, wherever it is and whoever owns its call; once for a key.
    ///
    /// It is tried until [`COMMAND_DEADLINE_MS`] has passed where a node on the way has failed, and never run twice:
    /// after an attempt of which nobody knows what came, only commands are tried again that may run twice without
    /// harm, or that the switch itself, or the node attached to it, knows by their ids.
    ///
    /// # Errors
    /// Why it was not done; `TimedOut` if it may have been.
    pub async fn command_once(
        &self,
        channel: &str,
        command: ChannelCommand,
        key: Option<&IdempotencyKey>,
    ) -> Result<Commanded, Refusal> {
        let begun = Instant::now();
        let deadline = begun + Duration::from_millis(COMMAND_DEADLINE_MS);
        let result = self.carry(channel, &command, key, deadline).await;
        let metrics = &self.inner.metrics;
        metrics.commands.inc();
        metrics.command_seconds.observe(begun.elapsed().as_secs_f64());
        if result.is_err() {
            metrics.commands_failed.inc();
        }
        result
    }

    /// As [`Calls::originate_once`], without a key. Its A leg's uuid.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn originate(&self, originate: OriginateCommand) -> Result<String, Refusal> {
        self.originate_once(originate, None).await.map(|originated| originated.uuid)
    }

    /// Starts a call, once for a key; its A leg's uuid, once it is answered. One that was started under the same key
    /// before may still ring.
    ///
    /// # Errors
    /// Why there is none. With a key also if it cannot be said whether there is one already.
    pub async fn originate_once(
        &self,
        originate: OriginateCommand,
        key: Option<&IdempotencyKey>,
    ) -> Result<Originated, Refusal> {
        let running = self.running()?;
        let uuid = key.map(IdempotencyKey::call_uuid);
        let started = match &uuid {
            Some(uuid) => self.started(&running, uuid).await?,
            None => None,
        };
        let (switch, node) = match started {
            Some(there) => there,
            None => running.attached_to(originate.switch.as_deref()).await?,
        };
        let deadline = originate_deadline(&originate);
        let request = Request::Originate { switch, originate, uuid: uuid.clone() };
        match (text(running.peers.request(node, request, deadline).await), uuid) {
            (Err(Refusal::Repeated { .. }), Some(uuid)) => Ok(Originated { uuid, repeated: true }),
            (started, _) => started.map(|uuid| Originated { uuid, repeated: false }),
        }
    }

    /// The switch that has a call under this uuid, and the node attached to it. Any attached switch would do for a new
    /// call, but an earlier request under the same key may have chosen another one.
    async fn started(&self, running: &Running, uuid: &str) -> Result<Option<(String, NodeId)>, Refusal> {
        let deadline = Instant::now() + Duration::from_millis(COMMAND_DEADLINE_MS);
        match self.locate(running, uuid, deadline).await {
            Ok((_, location)) => Ok(Some((location.switch, location.attached))),
            Err(Refusal::UnknownChannel { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Runs any API command of a switch; its whole result.
    ///
    /// # Errors
    /// If it could not be run. What the switch says of it is no error.
    pub async fn switch_api(&self, switch: &str, command: &str) -> Result<String, Refusal> {
        let running = self.running()?;
        let (switch, node) = running.attached_to(Some(switch)).await?;
        let request = Request::SwitchApi { switch, command: command.to_owned() };
        text(running.peers.request(node, request, Duration::from_millis(SWITCH_JOB_TIMEOUT_MS)).await)
    }

    async fn carry(
        &self,
        channel: &str,
        command: &ChannelCommand,
        key: Option<&IdempotencyKey>,
        deadline: Instant,
    ) -> Result<Commanded, Refusal> {
        let running = self.running()?;
        let id = match key {
            Some(key) => key.command_id(channel),
            None => random_id(&self.inner.host)?,
        };
        let mut known = self.locations().get(channel);
        // The attached node of an attempt that may have succeeded, and when that node was started.
        let mut maybe_done_by: Option<(Refusal, _)> = None;
        loop {
            let was_known = known.is_some();
            let location = match known.take() {
                Some(location) => location,
                None => match self.locate(&running, channel, deadline).await {
                    Ok((_, location)) => location,
                    // That it is not to be found now does not say that nothing was done.
                    Err(refusal) => return Err(maybe_done_by.map_or(refusal, |(refusal, _)| refusal)),
                },
            };
            let attached = (location.attached, running.started_at_ms(location.attached));
            if let Some((refusal, node)) = &maybe_done_by
                && *node != attached
                && !may_run_twice(command)
                && !running.is_strict(&location.switch)
            {
                return Err(Refusal::clone(refusal));
            }
            let answer = running.attempt(&location, channel, command, id, deadline).await;
            running.trace.note(&location.call, What::of_command(id, command, Part::Asked, &answer));
            let refusal = match answer {
                Ok(result) => {
                    self.locations().put(channel, location);
                    return Ok(Commanded { result, repeated: false });
                }
                // Where an attempt of ours was lost, it was that one.
                Err(Refusal::Repeated { .. }) => {
                    self.locations().put(channel, location);
                    return Ok(Commanded { result: String::new(), repeated: maybe_done_by.is_none() });
                }
                Err(refusal) => refusal,
            };
            self.locations().forget(channel);
            match &refusal {
                Refusal::InvalidArgument { .. }
                | Refusal::SwitchRefused { .. }
                | Refusal::KeyReused { .. } => return Err(refusal),
                Refusal::UnknownChannel { .. } if !was_known => return Err(refusal),
                Refusal::TimedOut { .. } => maybe_done_by = Some((refusal.clone(), attached)),
                _ => {}
            }
            let pause = Duration::from_millis(COMMAND_RETRY_MS);
            if Instant::now() + pause >= deadline {
                return Err(maybe_done_by.map_or(refusal, |(refusal, _)| refusal));
            }
            sleep(pause).await;
        }
    }

    /// Looks for a channel until it is found, or certainly is nowhere.
    async fn locate(
        &self,
        running: &Running,
        channel: &str,
        deadline: Instant,
    ) -> Result<(ChannelInfo, Location), Refusal> {
        let out_of_reach_at = Instant::now() + Duration::from_millis(OUT_OF_REACH_MS);
        loop {
            let refusal = match running.search(channel).await {
                Search::Found(info, attached) => {
                    let location = Location {
                        call: if info.epoch > 0 { info.uuid.clone() } else { info.call.clone() },
                        switch: info.switch.clone(),
                        owner: info.owner,
                        attached,
                    };
                    return Ok((*info, location));
                }
                Search::Nowhere => return Err(Refusal::UnknownChannel { channel: channel.to_owned() }),
                Search::OutOfReach(refusal) if Instant::now() >= out_of_reach_at => return Err(refusal),
                Search::OutOfReach(refusal) | Search::Unsure(refusal) => refusal,
            };
            let pause = Duration::from_millis(COMMAND_RETRY_MS);
            if Instant::now() + pause >= deadline {
                return Err(refusal);
            }
            sleep(pause).await;
        }
    }

    fn locations(&self) -> MutexGuard<'_, Locations> {
        lock(&self.inner.locations)
    }
}

impl Running {
    /// Sends the command once, to the call's owner or else to the attached node.
    async fn attempt(
        &self,
        location: &Location,
        channel: &str,
        command: &ChannelCommand,
        id: u64,
        deadline: Instant,
    ) -> Result<String, Refusal> {
        let Location { call, switch, owner, attached } = location.clone();
        let (channel, command) = (channel.to_owned(), command.clone());
        let (node, request) = match owner {
            Some(owner) => (owner, Request::CommandCall { call, channel, command, id }),
            None => (attached, Request::CommandChannel { switch, channel, command, id }),
        };
        let remaining = deadline.saturating_duration_since(Instant::now());
        text(self.request(node, request, remaining.min(Duration::from_millis(COMMAND_ATTEMPT_MS))).await)
    }

    /// Asks a node, and waits no longer than it lives.
    pub(super) async fn request(&self, node: NodeId, request: Request, deadline: Duration) -> Response {
        let is_down = |members: &Members| !is_up(members, node) && node != self.peers.local();
        let mut members = self.peers.members();
        if is_down(&members.borrow_and_update()) {
            return Response::Refused(Refusal::Unreachable { node, detail: "it is down".to_owned() });
        }
        let answer = self.peers.request(node, request, deadline);
        let death = async {
            // A cluster that has gone away tells of no death; the deadline ends the wait.
            if members.wait_for(|members| is_down(members)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            response = answer => response,
            () = death => Response::Refused(Refusal::TimedOut { detail: format!("node {node} died meanwhile") }),
        }
    }

    /// Looks at this node's switches, then asks all other attached nodes at once.
    async fn search(&self, channel: &str) -> Search {
        let members = self.peers.members().borrow().clone();
        let local = self.peers.local();
        if let Some(info) = self.find_here(channel).await {
            return Search::Found(Box::new(info), local);
        }
        let mut asked = JoinSet::new();
        for member in
            members.all.values().filter(|member| member.id != local && is_attached_somewhere(member))
        {
            let (peers, node) = (self.peers.clone(), member.id);
            let request = Request::FindChannel { channel: channel.to_owned() };
            asked.spawn(async move {
                (node, peers.request(node, request, Duration::from_millis(FIND_TIMEOUT_MS)).await)
            });
        }
        let mut unsure = None;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((node, Response::Channel(Some(info)))) => return Search::Found(Box::new(info), node),
                Ok((_, Response::Channel(None))) | Err(_) => {}
                Ok((_, Response::Refused(refusal))) => unsure = Some(refusal),
                Ok((node, _)) => unsure = Some(not_understood(node)),
            }
        }
        if let Some(refusal) = unsure {
            return Search::Unsure(refusal);
        }
        self.unattended(&members).unwrap_or(Search::Nowhere)
    }

    /// A channel that is found at the first attempt, wherever it is.
    pub(super) async fn find_now(&self, channel: &str) -> Option<ChannelInfo> {
        match self.search(channel).await {
            Search::Found(info, _) => Some(*info),
            _ => None,
        }
    }

    /// A channel of the switches that this node is attached to. One that no event has told of yet is asked for.
    pub(super) async fn find_here(&self, channel: &str) -> Option<ChannelInfo> {
        for switch in self.attached() {
            let known = switch.table().info(channel);
            if known.is_some() {
                return known;
            }
        }
        for switch in self.attached() {
            switch.learn(channel).await;
            let learnt = switch.table().info(channel);
            if learnt.is_some() {
                return learnt;
            }
        }
        None
    }

    /// A switch that nobody is attached to, which may have the channel.
    fn unattended(&self, members: &Members) -> Option<Search> {
        let mut out_of_reach = None;
        for name in self.switch_names(members) {
            if self.attached_node(members, &name).is_some() {
                continue;
            }
            let unavailable =
                |detail: &str| Refusal::SwitchUnavailable { switch: name.clone(), detail: detail.to_owned() };
            let up = members.all.values().filter(|member| member.state != MemberState::Down);
            let mut facts = up.flat_map(|member| &member.switches).filter(|fact| fact.name == name);
            if facts.any(|fact| fact.link != SwitchLink::Unreachable) {
                return Some(Search::Unsure(unavailable("a node is about to attach to it")));
            }
            out_of_reach =
                Some(Search::OutOfReach(unavailable("no node reaches it, and the channel may be there")));
        }
        out_of_reach
    }

    /// A switch and the node attached to it, which is waited for if there is none yet.
    async fn attached_to(&self, switch: Option<&str>) -> Result<(String, NodeId), Refusal> {
        let deadline = Instant::now() + Duration::from_millis(COMMAND_DEADLINE_MS);
        loop {
            let members = self.peers.members().borrow().clone();
            let names = self.switch_names(&members);
            if let Some(name) = switch
                && !names.contains(name)
            {
                return Err(Refusal::UnknownSwitch { switch: name.to_owned() });
            }
            let wanted = names.iter().filter(|name| switch.is_none_or(|switch| switch == *name));
            for name in wanted {
                if let Some(node) = self.attached_node(&members, name) {
                    return Ok((name.clone(), node));
                }
            }
            if Instant::now() >= deadline {
                let switch = switch.unwrap_or("(any)").to_owned();
                let detail = "no node is attached to it; see GET /v2/cluster/switches".to_owned();
                return Err(Refusal::SwitchUnavailable { switch, detail });
            }
            sleep(Duration::from_millis(COMMAND_RETRY_MS)).await;
        }
    }

    /// Whether a switch itself keeps the ids of the commands that it ran.
    fn is_strict(&self, switch: &str) -> bool {
        let members = self.peers.members().borrow().clone();
        let attached = self.attached_node(&members, switch);
        // While nobody is attached, what the last one said.
        let who = members.all.values().filter(|member| attached.is_none_or(|node| node == member.id));
        let facts = who.flat_map(|member| &member.switches).filter(|fact| fact.name == switch);
        let mut fences = facts.filter_map(|fact| fact.fence).peekable();
        fences.peek().is_some() && fences.all(|fence| fence == Fence::Strict)
    }

    /// All switches that any node is configured for.
    fn switch_names(&self, members: &Members) -> BTreeSet<String> {
        let theirs = members.all.values().flat_map(|member| &member.switches).map(|fact| fact.name.clone());
        theirs.chain(self.switches.keys().cloned()).collect()
    }

    /// The node attached to a switch. This node knows of itself best.
    pub(super) fn attached_node(&self, members: &Members, switch: &str) -> Option<NodeId> {
        if self.switches.get(switch).is_some_and(|switch| switch.is_attached()) {
            return Some(self.peers.local());
        }
        attached_node(members, switch).filter(|node| *node != self.peers.local())
    }

    fn started_at_ms(&self, node: NodeId) -> u64 {
        self.peers.members().borrow().all.get(&node).map_or(0, |member| member.started_at_ms)
    }
}

/// The node that says that it is attached to a switch.
pub(super) fn attached_node(members: &Members, switch: &str) -> Option<NodeId> {
    let is_attached = |member: &&Member| {
        let mut facts = member.switches.iter().filter(|fact| fact.name == switch);
        member.state != MemberState::Down && facts.any(|fact| fact.link == SwitchLink::Attached)
    };
    members.all.values().find(is_attached).map(|member| member.id)
}

/// Whether a node may know channels.
pub(super) fn is_attached_somewhere(member: &Member) -> bool {
    let attached = member.switches.iter().any(|fact| fact.link == SwitchLink::Attached);
    attached && member.state != MemberState::Down
}

fn is_up(members: &Members, node: NodeId) -> bool {
    members.all.get(&node).is_none_or(|member| member.state != MemberState::Down)
}

/// Whether nobody minds if the command runs a second time.
fn may_run_twice(command: &ChannelCommand) -> bool {
    match command {
        ChannelCommand::Answer
        | ChannelCommand::Hangup { .. }
        | ChannelCommand::Park
        | ChannelCommand::Set { .. }
        | ChannelCommand::Break => true,
        ChannelCommand::Play { .. }
        | ChannelCommand::Transfer { .. }
        | ChannelCommand::Bridge { .. }
        | ChannelCommand::Intercept { .. }
        | ChannelCommand::Execute { .. } => false,
    }
}

fn text(response: Response) -> Result<String, Refusal> {
    match accepted(response)? {
        Response::Text(text) => Ok(text),
        _ => Ok(String::new()),
    }
}

fn not_understood(node: NodeId) -> Refusal {
    Refusal::Unreachable { node, detail: "its answer is not understood".to_owned() }
}

//! A channel's thread: what it does next, one small thing at a time, until it has to wait.

use std::mem;

use crate::cause::Cause;
use crate::channel::{CallState, CommandAction, Doing, Frame, Next, PrivateCommand, State, Uuid};
use crate::dialplan::{Action, inline_actions};
use crate::ledger::HungUpBy;
use crate::limits::{APPLICATIONS_PER_TURN_MAX, MAX_FORWARDS, TURN_PAUSE};
use crate::switch::Switch;

/// What a channel's thread finds to do.
enum Turn {
    /// Nothing, until something happens or its timer goes off.
    Wait,
    /// The innermost application has ended, or must end.
    Complete,
    /// The script on top goes on.
    Resume,
    /// A controller's command is next.
    Command(PrivateCommand),
    /// An application of the dialplan, or of an `execute_extension` that is running.
    Execute(Action),
    /// The applications have unwound for this.
    Enter(Next),
    /// The bridge of `uuid_bridge` is over.
    BridgeEnded,
    /// The dialplan has come to its end.
    DialplanEnded,
    /// The applications have unwound, the call is over.
    Finish,
    /// The leg is being dialled.
    Dial,
}

impl Switch {
    /// Lets a channel's thread run until it waits, has ended, or has had its turn.
    pub(crate) fn run_channel(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let turns = if channel.turns.take(self.now) { APPLICATIONS_PER_TURN_MAX } else { 0 };
        for _ in 0..turns {
            match self.next_turn(uuid) {
                Turn::Wait => return,
                Turn::Complete => self.complete_frame(uuid),
                Turn::Resume => self.resume_script(uuid),
                Turn::Command(command) => self.run_command(uuid, command),
                Turn::Execute(action) => self.execute(uuid, action, None),
                Turn::Enter(next) => self.enter(uuid, next),
                Turn::BridgeEnded => self.after_bridge(uuid),
                Turn::DialplanEnded => self.hang_up(uuid, Cause::NORMAL_CLEARING, HungUpBy::Switch),
                Turn::Finish => return self.finish(uuid),
                Turn::Dial => {
                    if !self.dial_on(uuid) {
                        return;
                    }
                }
            }
        }
        // Whoever wakes it before that finds it has no turn left.
        self.modify(uuid, |channel| channel.turns.use_up());
        self.wake_at(uuid, self.now + TURN_PAUSE);
    }

    fn next_turn(&mut self, uuid: &Uuid) -> Turn {
        let now = self.now;
        let Some(channel) = self.channels.get_mut(uuid) else { return Turn::Wait };
        let hung_up = channel.hangup.is_some();
        let locked = channel.is_locked();
        // A real switch goes through the queue to its end once it has begun to, and does not look whether the channel was hung
        // up meanwhile: of what was queued behind a command that the hangup ended, all that may run on a dead channel runs
        // (seen on 1.11.3-dev: a `set`, and a `lua` with the step behind the one that was interrupted).
        let reads_on = mem::take(&mut channel.reads_on) && hung_up && !locked;
        if let Some(command) = reads_on.then(|| channel.queue.pop_front()).flatten() {
            return Turn::Command(command);
        }
        let Some(frame) = channel.stack.last_mut() else {
            if hung_up {
                return if channel.reported { Turn::Wait } else { Turn::Finish };
            }
            if channel.dialling.is_some() {
                return Turn::Dial;
            }
            if let Some(command) = channel.queue.pop_front() {
                return Turn::Command(command);
            }
            if let Some(next) = channel.next.take() {
                return Turn::Enter(next);
            }
            return match channel.actions.pop_front() {
                Some(action) => Turn::Execute(action),
                None if channel.state == State::Execute => Turn::DialplanEnded,
                None if channel.state == State::SoftExecute => Turn::BridgeEnded,
                None => Turn::Wait,
            };
        };
        if let Doing::Script(script) = &frame.doing {
            if script.as_ref().is_some_and(|script| script.waits()) {
                return Turn::Wait;
            }
            // It looks after hangup and transfer itself, and reads no commands between its applications.
            return match frame.until.filter(|until| *until > now) {
                Some(until) => {
                    self.wake_at(uuid, until);
                    Turn::Wait
                }
                None => Turn::Resume,
            };
        }
        let over = frame.interrupted || frame.until.is_some_and(|until| until <= now);
        if hung_up || (over && !matches!(frame.doing, Doing::Extension(_))) {
            return Turn::Complete;
        }
        // A transfer lets the queued commands run first (freeswitch takeover README "Facts that cost time").
        // Between the applications of an `execute_extension` nobody reads them.
        let waits = match &frame.doing {
            Doing::Socket(outbound) => !outbound.runs_commands(),
            Doing::Extension(_) => true,
            _ => false,
        };
        if !locked
            && !waits
            && let Some(command) = channel.queue.pop_front()
        {
            return Turn::Command(command);
        }
        if channel.next.is_some() || over {
            return Turn::Complete;
        }
        if let Doing::Extension(actions) = &mut frame.doing {
            return actions.pop_front().map_or(Turn::Complete, Turn::Execute);
        }
        if let Some(until) = frame.until {
            self.wake_at(uuid, until);
        }
        Turn::Wait
    }

    /// Runs a command of a `sendmsg` in the channel's thread.
    fn run_command(&mut self, uuid: &Uuid, command: PrivateCommand) {
        match command.action.clone() {
            CommandAction::Execute { action, .. } if !self.may_execute(uuid, &action.application) => {
                self.modify(uuid, |channel| channel.reads_on = true);
            }
            CommandAction::Execute { action, loops, .. } => {
                return self.execute(uuid, action, Some((command, loops - 1)));
            }
            CommandAction::Hangup(cause) => {
                self.hang_up(uuid, cause, HungUpBy::Controller(command.connection));
            }
            CommandAction::Extension(actions) => {
                self.modify(uuid, |channel| {
                    channel.actions = actions.into();
                    channel.next = Some(Next::Route { dialplan: String::new() });
                    channel.next_state = State::Routing;
                });
            }
            CommandAction::Nothing => {}
        }
        self.command_done(uuid, &command);
    }

    /// The event by which FreeSWITCH tells that a command has run.
    pub(crate) fn command_done(&mut self, uuid: &Uuid, command: &PrivateCommand) {
        let headers: Vec<(&str, &str)> =
            command.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.fire_channel(uuid, "PRIVATE_COMMAND", &headers, &[]);
        if let Some(connection) = command.connection {
            self.sync_command_done(connection);
        }
    }

    /// A channel that ends forgets the commands that it has not begun.
    pub(crate) fn drop_queue(&mut self, uuid: &Uuid) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        for command in mem::take(&mut channel.queue) {
            self.command_done(uuid, &command);
        }
    }

    fn enter(&mut self, uuid: &Uuid, next: Next) {
        match next {
            Next::Route { dialplan } => {
                // An incoming leg that is routed again rings for that moment (transcript
                // f_outbound/async_uuid_transfer_away).
                let incoming = self.channels.get(uuid).is_some_and(|channel| !channel.outbound);
                if incoming {
                    self.set_call_state(uuid, CallState::Ringing);
                }
                self.enter_state(uuid, State::Routing);
                self.route(uuid, &dialplan);
            }
            Next::Originated => self.enter_state(uuid, State::Execute),
            Next::Park => {
                self.enter_state(uuid, State::Park);
                self.fire_channel(uuid, "CHANNEL_PARK", &[], &[]);
                let until = self.park_ends_at(uuid);
                self.push_state(uuid, Doing::Park);
                self.modify(uuid, |channel| {
                    if let Some(frame) = channel.stack.last_mut() {
                        frame.until = until;
                    }
                });
            }
            Next::BridgeTo(other) => self.enter_bridge(uuid, &other),
            Next::BridgedBy => {
                self.enter_reset(uuid, State::Hibernate);
                self.push_state(uuid, Doing::Exchange);
            }
        }
    }

    /// The A leg of `uuid_bridge` has nothing to go back to: it is hung up, or parked if it is to be.
    fn after_bridge(&mut self, uuid: &Uuid) {
        let parks =
            self.channels.get(uuid).is_some_and(|channel| channel.variables.is_true("park_after_bridge"));
        if parks {
            self.enter(uuid, Next::Park);
        } else {
            self.set_variable(uuid, "call_uuid", &**uuid);
            self.enter_state(uuid, State::Execute);
        }
    }

    /// Puts a state that lasts on the stack: it waits like an application, but is none.
    pub(crate) fn push_state(&mut self, uuid: &Uuid, doing: Doing) {
        let since = self.now;
        self.modify(uuid, |channel| {
            channel.stack.push(Frame {
                since,
                action: Action::new("", ""),
                application_uuid: String::new(),
                doing,
                until: None,
                interrupted: false,
                event_lock: false,
                command: None,
                silent: true,
            });
        });
    }

    /// Finds the actions for a channel's destination. No dialplan name means that it has them already.
    pub(crate) fn route(&mut self, uuid: &Uuid, dialplan: &str) {
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        let destination = channel.destination().to_owned();
        let is_inline = dialplan.eq_ignore_ascii_case("inline");
        if is_inline
            && let Some(profile) = channel.profile.as_mut().filter(|profile| !profile.rdnis.is_empty())
        {
            // The actions were in the place of a number, which comes back (transcript
            // m_transfer/uuid_transfer_inline_broadcast_record_schedhangup).
            profile.destination_number = mem::take(&mut profile.rdnis);
        }
        if channel.outbound && !channel.hit_dialplan {
            // A leg that was called becomes a caller.
            let own = uuid.clone();
            channel.variables.set("call_uuid", &*own);
            channel.call_uuid = own;
            self.flip_caller(uuid);
        }
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.hit_dialplan = true;
        let call_uuid = channel.call_uuid.to_string();
        channel.variables.set("call_uuid", call_uuid);
        let actions = match dialplan {
            // `xferext` without an application: there is nothing to do.
            "" => Some(mem::take(&mut channel.actions).into()),
            _ if is_inline => Some(inline_actions(&destination)).filter(|actions| !actions.is_empty()),
            _ => self.hunt(uuid).filter(|actions| !actions.is_empty()),
        };
        let Some(actions) = actions else {
            return self.hang_up(uuid, Cause::named("NO_ROUTE_DESTINATION"), HungUpBy::Switch);
        };
        self.modify(uuid, |channel| channel.actions = actions.into());
        let state = match self.channels.get(uuid) {
            Some(channel) if channel.is_answered() => Some(CallState::Active),
            Some(channel) if channel.answer_state == "early" => Some(CallState::Early),
            _ => None,
        };
        if let Some(state) = state {
            self.set_call_state(uuid, state);
        }
        self.enter_state(uuid, State::Execute);
    }

    /// Sends a channel to another extension; `false` if there is no such living channel.
    pub(crate) fn transfer(&mut self, uuid: &Uuid, number: &str, dialplan: &str, context: &str) -> bool {
        let wall = self.wall_micros();
        let transfer_uuid = self.random.uuid();
        let Some(channel) = self.channels.get_mut(uuid).filter(|channel| channel.hangup.is_none()) else {
            return false;
        };
        // Where none is named it is that of an extension which is being executed, and not the call's (seen on 1.11.3-dev: a
        // transfer out of a step of fipple_step.xml ended with NO_ROUTE_DESTINATION in the context fipple).
        let present = channel.profile.as_ref().map(|profile| profile.context.clone()).unwrap_or_default();
        channel.leave_extension();
        let forwards = channel.variables.get("max_forwards").and_then(|value| value.parse().ok());
        let forwards = forwards.map_or(MAX_FORWARDS, |left: i64| left - 1);
        let Some(profile) = &mut channel.profile else { return false };
        let context = if context.is_empty() { present } else { context.to_owned() };
        let source = format!("{}:{transfer_uuid}:bl_xfer:{number}/{context}/{dialplan}", wall / 1_000_000);
        profile.logical_direction = "inbound";
        profile.dialplan = dialplan.to_owned();
        profile.rdnis = mem::replace(&mut profile.destination_number, number.to_owned());
        profile.transfer_source.clone_from(&source);
        profile.context = context;
        if profile.index > 1 {
            profile.times.profile_created = wall;
        }
        profile.index += 1;
        profile.times.bridged = 0;
        channel.other_leg = None;
        channel.variables.set("max_forwards", forwards.to_string());
        channel.variables.push("transfer_history", &source);
        channel.variables.set("transfer_source", source);
        channel.actions.clear();
        channel.next = Some(Next::Route { dialplan: dialplan.to_owned() });
        channel.next_state = State::Routing;
        if forwards <= 0 {
            self.hang_up(uuid, Cause::named("EXCHANGE_ROUTING_ERROR"), HungUpBy::Switch);
        }
        self.make_runnable(uuid);
        true
    }
}

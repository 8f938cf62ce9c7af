//! Hold: by the phone, which sofia reports as a call state and counts, or by `uuid_hold`, which only fires the event.

use crate::channel::{CallState, Uuid};
use crate::limits::HOLDS_MAX;
use crate::switch::Switch;

impl Switch {
    /// Marks a leg as held or not, as transcript b_formats_call_life/hold_unhold_plain shows it of a phone's hold;
    /// `by_phone` is what changes the call state (transcript m_transfer/park_sendmsg_uuid_park has none).
    pub(crate) fn mark_hold(&mut self, uuid: &Uuid, holds: bool, by_phone: bool) {
        if by_phone {
            self.set_call_state(uuid, if holds { CallState::Held } else { CallState::Unheld });
        }
        let wall = self.wall_micros();
        let name = if holds { "CHANNEL_HOLD" } else { "CHANNEL_UNHOLD" };
        let Some(channel) = self.channels.get_mut(uuid) else { return };
        channel.on_hold = holds;
        let Some(profile) = &mut channel.profile else { return };
        if !by_phone {
            return self.fire_channel(uuid, name, &[], &[]);
        }
        if holds {
            profile.times.last_hold = wall;
            if channel.holds.len() < HOLDS_MAX {
                channel.holds.push((wall, 0));
            }
            return self.fire_channel(uuid, name, &[], &[]);
        }
        let held_for = wall.saturating_sub(profile.times.last_hold);
        // What it was held for is counted after the event.
        self.fire_channel(uuid, name, &[], &[]);
        self.modify(uuid, |channel| {
            if let Some(profile) = &mut channel.profile {
                profile.times.hold_accum += held_for;
            }
            if let Some((_, until)) = channel.holds.last_mut().filter(|(_, until)| *until == 0) {
                *until = wall;
            }
        });
    }
}

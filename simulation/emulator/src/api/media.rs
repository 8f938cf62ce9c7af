//! `uuid_*` commands about what a leg hears: hold, early media, keys, displacing, and moving both legs.

use crate::applications::media::Tap;
use crate::applications::simple_target;
use crate::channel::{Endpoint, Uuid};
use crate::connection::split_word;
use crate::switch::Switch;

const NO_CHANNEL: &str = "-ERR No such channel!\n";
const SUCCESS: &str = "+OK Success\n";
const FAILED: &str = "-ERR Operation failed\n";

impl Switch {
    /// The reply of a command of this kind; `None` if it is none.
    pub(super) fn api_uuid_media(&mut self, command: &str, argument: &str) -> Option<String> {
        let (first, rest) = split_word(argument);
        let find = |switch: &Self, uuid: &str| {
            let living = switch.channels.get(uuid).filter(|channel| channel.hangup.is_none());
            living.map(|channel| channel.uuid.clone())
        };
        let uuid = find(self, first);
        Some(match (command, uuid) {
            ("uuid_hold", _) => self.api_hold(argument),
            ("uuid_pre_answer" | "uuid_preanswer", None) => "-ERROR\n".into(),
            ("uuid_pre_answer" | "uuid_preanswer", Some(uuid)) => {
                self.progress(&uuid, true);
                "+OK\n".into()
            }
            ("uuid_buglist", None) => String::new(),
            ("uuid_buglist", Some(uuid)) => self.bug_list(&uuid),
            ("uuid_displace", Some(uuid)) => self.api_displace(&uuid, rest),
            ("uuid_displace", None) => "-ERR Cannot locate session!\n".into(),
            ("uuid_send_dtmf", Some(_)) | ("uuid_flush_dtmf" | "uuid_session_heartbeat", Some(_)) => {
                if command == "uuid_flush_dtmf" {
                    self.modify(first, |channel| channel.digits.clear());
                }
                "+OK\n".into()
            }
            ("uuid_media", _) => self.api_uuid_media_path(argument),
            ("uuid_dual_transfer", Some(uuid)) => self.api_dual_transfer(&uuid, rest),
            ("uuid_display", Some(uuid)) => {
                let (name, number) = rest.split_once('|').unwrap_or((rest, ""));
                self.set_variable(&uuid, "last_sent_callee_id_name", name.trim());
                self.set_variable(&uuid, "last_sent_callee_id_number", number.trim());
                SUCCESS.into()
            }
            ("uuid_phone_event" | "uuid_debug_media", Some(_)) => SUCCESS.into(),
            ("uuid_chat", Some(_)) => "-ERR Send failed\n".into(),
            (
                "uuid_send_dtmf"
                | "uuid_flush_dtmf"
                | "uuid_session_heartbeat"
                | "uuid_dual_transfer"
                | "uuid_display"
                | "uuid_phone_event"
                | "uuid_debug_media"
                | "uuid_chat",
                None,
            ) => NO_CHANNEL.into(),
            _ => return None,
        })
    }

    /// `[off|toggle] <uuid>`. Taking a leg without a phone off hold fails (transcript
    /// m_transfer/park_sendmsg_uuid_park).
    fn api_hold(&mut self, argument: &str) -> String {
        let (mode, uuid) = match split_word(argument) {
            (mode @ ("off" | "toggle"), rest) => (mode, split_word(rest).0),
            (uuid, _) => ("on", uuid),
        };
        let Some(channel) = self.channels.get(uuid).filter(|channel| channel.hangup.is_none()) else {
            return FAILED.into();
        };
        let (uuid, held, sofia) =
            (channel.uuid.clone(), channel.is_held(), channel.endpoint == Endpoint::Sofia);
        let holds = mode == "on" || (mode == "toggle" && !held);
        if !holds && !sofia {
            return FAILED.into();
        }
        self.mark_hold(&uuid, holds, false);
        SUCCESS.into()
    }

    /// `[off] <uuid>`: the path of the sound does not matter here; the leg has to be there.
    fn api_uuid_media_path(&self, argument: &str) -> String {
        let uuid = match split_word(argument) {
            ("off", rest) => split_word(rest).0,
            (uuid, _) => uuid,
        };
        if self.channels.contains_key(uuid) { SUCCESS.into() } else { FAILED.into() }
    }

    /// `[start|stop] <path> [<limit>] [mux]`
    fn api_displace(&mut self, uuid: &Uuid, rest: &str) -> String {
        let mut words = rest.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("start"), Some(path)) => {
                self.tap(uuid, Tap::Displace, path);
                SUCCESS.into()
            }
            (Some("stop"), Some(path)) => {
                self.untap(uuid, Tap::Displace, path);
                SUCCESS.into()
            }
            _ => "-USAGE: <uuid> [start|stop] <path> [<limit>] [mux]\n".into(),
        }
    }

    fn bug_list(&self, uuid: &str) -> String {
        let taps = self.channels.get(uuid).map(|channel| channel.taps.as_slice()).unwrap_or_default();
        let list: String = taps
            .iter()
            .map(|(tap, path)| {
                let function = tap.function();
                format!(" <media-bug>\n  <function>{function}</function>\n  <target>{path}</target>\n </media-bug>\n")
            })
            .collect();
        format!("<media-bugs>\n{list}</media-bugs>\n")
    }

    /// `<uuid> <extension>[/<dialplan>][/<context>] <the same for its partner>`
    fn api_dual_transfer(&mut self, uuid: &Uuid, rest: &str) -> String {
        let partner = self.channels.get(uuid).and_then(|channel| channel.bridge_partner().map(Uuid::from));
        let targets = rest.split_ascii_whitespace().map(|target| target.replace('/', " "));
        let legs = [Some(uuid.clone()), partner];
        for (leg, target) in legs.into_iter().zip(targets) {
            let (number, dialplan, context) = simple_target(&target);
            if let Some(leg) = leg {
                self.transfer(&leg, number, dialplan, context);
            }
        }
        "+OK\n".into()
    }
}

//! Places where calls wait for somebody: `fifo` and `valet_park`, as far as transcript g_custom_events/fifo_valet shows
//! them.

use std::time::Duration;

use super::Started;
use crate::channel::{Doing, Uuid};
use crate::custom::{Contents, Origin};
use crate::switch::Switch;
use crate::time::Date;

/// How long valet_park takes to say in which place a call is.
const ANNOUNCEMENT: Duration = Duration::from_secs(3);

/// A call in a place of a valet parking lot.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    lot: String,
    extension: String,
    announced: bool,
}

impl Switch {
    /// `fifo <name> in`: waits for a consumer. `out` finds nobody here: no consumer was recorded.
    pub(super) fn start_fifo(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let mut words = argument.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some(name), Some("in")) => {
                let ahead = self.channels.values().filter(|channel| {
                    channel
                        .stack
                        .iter()
                        .any(|frame| matches!(&frame.doing, Doing::Fifo { name: own } if own == name))
                });
                let position = ahead.count() + 1;
                let slot = (position - 1).to_string();
                let more = [("FIFO-Name", name), ("FIFO-Action", "push"), ("FIFO-Slot", &slot)];
                self.tell_fifo(uuid, "2743", &more);
                self.set_variable(uuid, "fifo_position", position.to_string());
                self.set_variable(uuid, "fifo_priority", "0");
                let pushed = Date::from_unix_micros(self.wall_micros()).local();
                self.set_variable(uuid, "fifo_push_timestamp", pushed.as_str());
                self.set_variable(uuid, "fifo_status", "WAITING");
                self.set_variable(uuid, "fifo_timestamp", pushed);
                Started::Runs(Doing::Fifo { name: name.to_owned() }, None)
            }
            _ => Started::Done(None),
        }
    }

    pub(super) fn leave_fifo(&mut self, uuid: &Uuid, name: &str) {
        let left = Date::from_unix_micros(self.wall_micros()).local();
        self.set_variable(uuid, "fifo_status", "ABORTED");
        self.set_variable(uuid, "fifo_timestamp", left);
        self.tell_fifo(uuid, "2866", &[("FIFO-Name", name), ("FIFO-Action", "abort")]);
    }

    fn tell_fifo(&mut self, uuid: &str, line: &'static str, after: &[(&str, &str)]) {
        let contents = Contents { channel: Some(uuid), variables: true, after, ..Contents::default() };
        self.fire_custom("fifo::info", ("mod_fifo.c", "fifo_function", line), contents);
    }

    /// `valet_park <lot> <extension>` or `valet_park <lot> auto in <least> <most>`
    pub(super) fn start_valet(&mut self, argument: &str) -> Started {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        let (lot, extension) = match words.as_slice() {
            [lot, "auto", "in", least, most] => (*lot, self.free_place(lot, least, most)),
            [lot, extension, ..] => (*lot, Some((*extension).to_owned())),
            _ => return Started::Done(None),
        };
        let Some(extension) = extension else { return Started::Done(None) };
        let place = Place { lot: lot.to_owned(), extension, announced: false };
        Started::Runs(Doing::Valet(place), Some(self.now + ANNOUNCEMENT))
    }

    fn free_place(&self, lot: &str, least: &str, most: &str) -> Option<String> {
        let (least, most) = (least.parse::<u32>().ok()?, most.parse::<u32>().ok()?);
        let taken = |extension: &String| {
            let mut frames = self.channels.values().flat_map(|channel| &channel.stack);
            frames.any(|frame| matches!(&frame.doing, Doing::Valet(place) if place.lot == lot && place.extension == *extension))
        };
        (least..=most).map(|place| place.to_string()).find(|place| !taken(place))
    }

    /// The announcement is over, or the call leaves: gives the place back if the call stays.
    pub(super) fn go_on_valet(&mut self, uuid: &Uuid, mut place: Place) -> Option<Place> {
        if !place.announced {
            place.announced = true;
            self.tell_valet(uuid, "684", &place, "hold");
            self.set_variable(uuid, "valet_lot_extension", place.extension.as_str());
            let leaves =
                |channel: &crate::channel::Channel| channel.hangup.is_some() || channel.next.is_some();
            if !self.channels.get(uuid).is_some_and(leaves) {
                return Some(place);
            }
        }
        self.tell_valet(uuid, "749", &place, "exit");
        None
    }

    fn tell_valet(&mut self, uuid: &str, line: &'static str, place: &Place, action: &str) {
        let before = [
            ("Valet-Lot-Name", place.lot.as_str()),
            ("Valet-Extension", &place.extension),
            ("Action", action),
        ];
        let origin: Origin = ("mod_valet_parking.c", "valet_parking_function", line);
        let contents =
            Contents { before: &before, channel: Some(uuid), variables: true, ..Contents::default() };
        self.fire_custom("valet_parking::info", origin, contents);
    }
}

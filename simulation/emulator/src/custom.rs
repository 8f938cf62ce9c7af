//! CUSTOM events of the switch's own modules, and the few others that carry headers of their own.

use crate::event::{Event, EventName};
use crate::fire::{Extra, add_headers_of};
use crate::switch::Switch;
use fipple_protocol::esl::encode::EventSource;

/// Which part of FreeSWITCH fires an event: file, function and line.
pub(crate) type Origin = (&'static str, &'static str, &'static str);

/// What stands in an event between its core headers and its end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Contents<'a> {
    /// Headers before those of the channel.
    pub(crate) before: Extra<'a>,
    /// The channel that it is about, whose headers (and variables, if these are wanted) come next.
    pub(crate) channel: Option<&'a str>,
    pub(crate) variables: bool,
    /// Headers after those of the channel.
    pub(crate) after: Extra<'a>,
    pub(crate) body: Option<&'a str>,
}

impl Switch {
    /// The headers of every event, for one that is kept and told later.
    pub(crate) fn core_header_list(&mut self, name: EventName, origin: Origin) -> Vec<(String, String)> {
        let sequence = self.next_sequence();
        let stamp = self.stamp(sequence);
        let mut event = Event::new(name);
        add_headers_of(&mut event, name, origin, &stamp);
        let mut headers = Vec::new();
        event.visit_headers(&mut |name, value| headers.push((name.to_owned(), value.to_owned())));
        headers
    }

    /// Fires a CUSTOM event of this subclass.
    pub(crate) fn fire_custom(&mut self, subclass: &str, origin: Origin, contents: Contents<'_>) {
        self.fire_with("CUSTOM", Some(subclass), origin, contents);
    }

    /// Fires an event whose name does not tell where it comes from.
    pub(crate) fn fire_with(
        &mut self,
        name: EventName,
        subclass: Option<&str>,
        origin: Origin,
        contents: Contents<'_>,
    ) {
        let sequence = self.next_sequence();
        self.bus.events_fired += 1;
        if !self.bus.is_wanted(name, subclass) {
            return;
        }
        let stamp = self.stamp(sequence);
        let channel = contents.channel.and_then(|uuid| self.channels.get(uuid));
        let mut event = Event::new(name);
        event.subclass = subclass.map(str::to_owned);
        if let Some(subclass) = subclass {
            event.add("Event-Subclass", subclass);
        }
        add_headers_of(&mut event, name, origin, &stamp);
        contents.before.iter().for_each(|(key, value)| event.add(*key, *value));
        if let Some(channel) = channel {
            channel.add_headers(&mut event);
            if contents.variables {
                channel.add_variables(&mut event);
            }
        }
        contents.after.iter().for_each(|(key, value)| event.add(*key, *value));
        event.body = contents.body.filter(|body| !body.is_empty()).map(str::to_owned);
        let deliveries = self.bus.encode(&event);
        self.dispatch(deliveries);
    }
}

//! CUSTOM events of the switch's own modules, and the few others that carry headers of their own.

use crate::event::{self, Event, EventName};
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

    /// Runs `event` of the dialplan: `Name=value,Name=value`. A subclass goes to the top and the name to its place
    /// among the headers (transcript g_custom_events/fifo_valet).
    pub(crate) fn fire_from_application(&mut self, uuid: &str, argument: &str) {
        let pairs = argument.split(',').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<(String, String)> =
            pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect();
        let value_of =
            |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        if let Some(subclass) = value_of("Event-Subclass") {
            let mut told = pairs.clone();
            told.push(("Unique-ID".into(), uuid.to_owned()));
            self.note_step_verdict(&subclass, &told);
        }
        let origin = ("mod_dptools.c", "event_function", "1902");
        let mut headers = self.core_header_list("CHANNEL_APPLICATION", origin);
        let mut name = "CHANNEL_APPLICATION";
        let subclass = value_of("Event-Subclass");
        for (own, value) in pairs {
            match own.as_str() {
                "Event-Name" => {
                    name = event::known_name(&value).unwrap_or("CUSTOM");
                    headers.retain(|(present, _)| *present != own);
                    headers.push((own, name.to_owned()));
                }
                "Event-Subclass" => headers.insert(0, (own, value)),
                _ => headers.push((own, value)),
            }
        }
        self.bus.events_fired += 1;
        let Some(channel) = self.channels.get(uuid) else { return };
        let mut event = Event::new(name);
        event.subclass = (name == "CUSTOM").then(|| subclass.unwrap_or_default());
        headers.into_iter().for_each(|(name, value)| event.add_composed(&name, value));
        channel.add_headers(&mut event);
        channel.add_variables(&mut event);
        let deliveries = self.bus.encode(&event);
        self.dispatch(deliveries);
    }
}

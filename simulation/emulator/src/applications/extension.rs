//! `execute_extension`: another extension's actions inside an application.

use super::{Started, simple_target};
use crate::channel::{Channel, Doing, Uuid};
use crate::dialplan::inline_actions;
use crate::switch::Switch;

/// What the caller profile says outside of an extension that is executed; inside it names that extension.
#[derive(Debug)]
pub(crate) struct Outside {
    destination_number: String,
    dialplan: String,
    context: String,
    rdnis: String,
}

impl Switch {
    /// `<extension> [<dialplan>] [<context>]`. All conditions are looked at before the first action runs.
    pub(super) fn start_extension(&mut self, uuid: &Uuid, argument: &str) -> Started {
        let (number, dialplan, context) = simple_target(argument);
        self.modify(uuid, |channel| channel.enter_extension(number, dialplan, context));
        let actions = if dialplan.eq_ignore_ascii_case("inline") {
            inline_actions(number)
        } else {
            self.hunt(uuid).unwrap_or_default()
        };
        Started::Runs(Doing::Extension(actions.into()), None)
    }
}

impl Channel {
    fn enter_extension(&mut self, number: &str, dialplan: &str, context: &str) {
        let Some(profile) = &mut self.profile else { return };
        self.before_extension.get_or_insert_with(|| Outside {
            destination_number: profile.destination_number.clone(),
            dialplan: profile.dialplan.clone(),
            context: profile.context.clone(),
            rdnis: profile.rdnis.clone(),
        });
        profile.dialplan = dialplan.to_owned();
        if !context.is_empty() {
            profile.context = context.to_owned();
        }
        if dialplan.eq_ignore_ascii_case("inline") {
            profile.destination_number = std::mem::take(&mut profile.rdnis);
        } else {
            profile.destination_number = number.to_owned();
        }
    }

    /// The profile is that of the call again. FreeSWITCH keeps one such profile: when an extension inside another ends,
    /// the outer one has lost its own, too.
    pub(crate) fn leave_extension(&mut self) {
        let (Some(profile), Some(outside)) = (&mut self.profile, self.before_extension.take()) else {
            return;
        };
        profile.destination_number = outside.destination_number;
        profile.dialplan = outside.dialplan;
        profile.context = outside.context;
        profile.rdnis = outside.rdnis;
    }
}

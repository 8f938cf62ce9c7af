//! `chat`: messages between users (transcript g_custom_events/chat_sms).

use crate::custom::Contents;
use crate::switch::Switch;

impl Switch {
    /// `<proto>|<from>|<to>|<message>|[<content-type>]`: reaches a user who is registered.
    pub(super) fn api_chat(&mut self, argument: &str) -> String {
        let fields: Vec<&str> = argument.splitn(5, '|').collect();
        let [protocol, from, to, message, more @ ..] = fields.as_slice() else { return "Invalid".into() };
        let content_type = more.first().filter(|kind| !kind.is_empty()).unwrap_or(&"text/plain");
        let (user, domain) = to.split_once('@').unwrap_or((to, ""));
        let reaches = *protocol == "sip" && self.registrations.contact(user, domain).is_some();
        let mut before = vec![
            ("proto", "global"),
            ("from", from),
            ("to", to),
            ("type", content_type),
            ("skip_global_process", "true"),
            ("blocking", "true"),
            ("dest_proto", protocol),
        ];
        if !reaches {
            before.push(("Delivery-Failure", "true"));
        }
        let origin = ("switch_loadable_module.c", "switch_core_chat_send_args", "1100");
        let contents = Contents { before: &before, body: Some(message), ..Contents::default() };
        self.fire_with("MESSAGE", None, origin, contents);
        if reaches { "Sent".into() } else { "Error! Message Not Sent".into() }
    }
}

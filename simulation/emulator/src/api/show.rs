//! `show channels` and `show calls`: a table in the switch's database, which lags behind the channels. And
//! `show interfaces`.

use std::collections::VecDeque;

use fipple_protocol::esl::encode::write_json_string;

use crate::channel::{Channel, Endpoint, Uuid};
use crate::profile::Profile;
use crate::switch::Switch;
use crate::time::{Date, Time};

/// Columns of `show channels`.
const CHANNEL_COLUMNS: [&str; 38] = [
    "uuid",
    "direction",
    "created",
    "created_epoch",
    "name",
    "state",
    "cid_name",
    "cid_num",
    "ip_addr",
    "dest",
    "application",
    "application_data",
    "dialplan",
    "context",
    "read_codec",
    "read_rate",
    "read_bit_rate",
    "write_codec",
    "write_rate",
    "write_bit_rate",
    "secure",
    "hostname",
    "presence_id",
    "presence_data",
    "accountcode",
    "callstate",
    "callee_name",
    "callee_num",
    "callee_direction",
    "call_uuid",
    "sent_callee_name",
    "sent_callee_num",
    "initial_cid_name",
    "initial_cid_num",
    "initial_ip_addr",
    "initial_dest",
    "initial_dialplan",
    "initial_context",
];

/// Columns of `show interfaces`.
const INTERFACE_COLUMNS: [&str; 3] = ["type", "name", "ikey"];

/// Columns of `show calls` about one leg; those about its partner begin with `b_`.
const CALL_COLUMNS: [&str; 20] = [
    "uuid",
    "direction",
    "created",
    "created_epoch",
    "name",
    "state",
    "cid_name",
    "cid_num",
    "ip_addr",
    "dest",
    "presence_id",
    "presence_data",
    "accountcode",
    "callstate",
    "callee_name",
    "callee_num",
    "callee_direction",
    "call_uuid",
    "hostname",
    "sent_callee_name",
];

/// Columns that the partner does not have.
const NOT_OF_PARTNER: [&str; 2] = ["call_uuid", "hostname"];

/// Columns of `show tasks`.
const TASK_COLUMNS: [&str; 6] =
    ["task_id", "task_desc", "task_group", "task_runtime", "task_sql_manager", "hostname"];

/// How many of [`CHANNEL_COLUMNS`] `show detailed_calls` has: those before the first profile's.
const DETAILED_COLUMNS: usize = 32;

/// Columns of `show registrations`.
const REGISTRATION_COLUMNS: [&str; 10] = [
    "reg_user",
    "realm",
    "token",
    "url",
    "expires",
    "network_ip",
    "network_port",
    "network_proto",
    "hostname",
    "metadata",
];

/// One channel's values for [`CHANNEL_COLUMNS`].
type Row = Vec<String>;

/// Which channels the table holds, and the rows of those that ended and are still listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    order: VecDeque<Uuid>,
    ended: Vec<(Uuid, Row, Time)>,
}

impl Listing {
    pub(crate) fn created(&mut self, uuid: Uuid) {
        self.order.push_back(uuid);
    }

    /// A channel ended at `now`; its row stays until `until`.
    pub(crate) fn ended(&mut self, uuid: &Uuid, row: Row, now: Time, until: Time) {
        self.forget(now);
        if let Some(index) = self.order.iter().position(|listed| listed == uuid) {
            self.order.remove(index);
        }
        self.ended.push((uuid.clone(), row, until));
    }

    fn forget(&mut self, now: Time) {
        self.ended.retain(|(_, _, until)| *until > now);
    }
}

/// In which form a table is shown.
#[derive(Clone, Copy)]
enum Form {
    Delimited(char),
    Json,
    Xml,
}

impl Switch {
    pub(super) fn api_show(&mut self, argument: &str) -> String {
        let words: Vec<&str> = argument.split_ascii_whitespace().collect();
        let form = match words.iter().position(|word| *word == "as").map(|index| &words[index + 1..]) {
            Some(["json", ..]) => Form::Json,
            Some(["xml", ..]) => Form::Xml,
            Some(["delim", delimiter, ..]) => Form::Delimited(delimiter.chars().next().unwrap_or(',')),
            _ => Form::Delimited(','),
        };
        self.listing.forget(self.now);
        let (columns, mut rows) = match words.first().copied() {
            Some("channels") => (CHANNEL_COLUMNS.map(str::to_owned).to_vec(), self.channel_rows()),
            Some("calls") => self.call_rows(false),
            Some("bridged_calls") => self.call_rows(true),
            Some("detailed_calls") => self.detailed_rows(false),
            Some("detailed_bridged_calls") => self.detailed_rows(true),
            Some("status") => return self.status(),
            Some("interfaces") => (INTERFACE_COLUMNS.map(str::to_owned).to_vec(), interface_rows(self.config.mod_lua)),
            Some("tasks") => (TASK_COLUMNS.map(str::to_owned).to_vec(), self.task_rows()),
            Some("registrations") => (REGISTRATION_COLUMNS.map(str::to_owned).to_vec(), self.registration_rows()),
            _ => return "-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls [count]|channels [count|like <match string>]|calls|...\n".into(),
        };
        match words.get(1..) {
            Some(["count", ..]) => return format!("\n{} total.\n", rows.len()),
            Some(["like", text, ..]) => rows.retain(|row| row.iter().any(|value| value.contains(text))),
            _ => {}
        }
        match form {
            Form::Json => as_json(&columns, &rows),
            Form::Xml => as_xml(&columns, &rows),
            Form::Delimited(delimiter) => as_text(&columns, &rows, delimiter),
        }
    }

    fn channel_rows(&self) -> Vec<Row> {
        let ended = self.listing.ended.iter().map(|(_, row, _)| row.clone());
        let living = self
            .listing
            .order
            .iter()
            .filter(|uuid| self.channels.get(*uuid).is_some_and(|channel| channel.listed_at <= self.now));
        ended.chain(living.filter_map(|uuid| self.channel_row(uuid))).collect()
    }

    /// `show detailed_calls`: all columns of both legs but those of the first profile.
    fn detailed_rows(&self, bridged: bool) -> (Vec<String>, Vec<Row>) {
        let own = &CHANNEL_COLUMNS[..DETAILED_COLUMNS];
        let mut columns: Vec<String> = own.iter().map(|name| (*name).to_owned()).collect();
        columns.extend(own.iter().map(|name| format!("b_{name}")));
        columns.push("call_created_epoch".into());
        let mut rows = Vec::new();
        for mut row in self.channel_rows() {
            let channel = self.channels.get(row[0].as_str());
            let partner =
                channel.and_then(|channel| channel.bridge_partner()).and_then(|uuid| self.channels.get(uuid));
            let is_partner =
                partner.is_some() && channel.is_some_and(|channel| *channel.call_uuid != *channel.uuid);
            if is_partner || (bridged && partner.is_none()) {
                continue;
            }
            let partner = partner.and_then(|partner| self.channel_row(&partner.uuid));
            row.truncate(DETAILED_COLUMNS);
            let created = partner.as_ref().map(|row| row[3].clone()).unwrap_or_default();
            let partner = partner.unwrap_or_else(|| vec![String::new(); DETAILED_COLUMNS]);
            row.extend(partner.into_iter().take(DETAILED_COLUMNS));
            row.push(created);
            rows.push(row);
        }
        (columns, rows)
    }

    fn registration_rows(&self) -> Vec<Row> {
        let standing = self.registrations.iter().filter(|registration| registration.expires_at > self.now);
        standing
            .map(|registration| {
                let phone = &registration.phone;
                vec![
                    phone.user.clone(),
                    phone.domain.clone(),
                    registration.call_id.clone(),
                    format!("sofia/internal/sip:{}@{}:{}", phone.user, phone.ip, phone.port),
                    registration.kept_until_epoch.to_string(),
                    phone.ip.clone(),
                    phone.port.to_string(),
                    "udp".to_owned(),
                    self.config.switch_name.clone(),
                    String::new(),
                ]
            })
            .collect()
    }

    /// Unbridged channels, and bridged ones with their partners in one row. `bridged` leaves out the former.
    fn call_rows(&self, bridged: bool) -> (Vec<String>, Vec<Row>) {
        let own: Vec<String> =
            CALL_COLUMNS.iter().map(|name| (*name).to_owned()).chain(["sent_callee_num".into()]).collect();
        let partners: Vec<&String> =
            own.iter().filter(|name| !NOT_OF_PARTNER.contains(&name.as_str())).collect();
        let mut columns = own.clone();
        columns.extend(partners.iter().map(|name| format!("b_{name}")));
        columns.push("call_created_epoch".into());
        let index = |name: &str| CHANNEL_COLUMNS.iter().position(|column| *column == name).unwrap_or(0);
        let pick = |row: &Row, name: &String| row[index(name)].clone();
        let all = self.channel_rows();
        let mut rows = Vec::new();
        for row in &all {
            let channel = self.channels.get(row[0].as_str());
            let partner =
                channel.and_then(|channel| channel.bridge_partner()).and_then(|uuid| self.channels.get(uuid));
            // The B leg of a bridge is in its A leg's row.
            let is_partner =
                partner.is_some() && channel.is_some_and(|channel| *channel.call_uuid != *channel.uuid);
            if is_partner || (bridged && partner.is_none()) {
                continue;
            }
            let partner_row = partner.and_then(|channel| self.channel_row(&channel.uuid));
            let mut values: Row = own.iter().map(|name| pick(row, name)).collect();
            values.extend(
                partners
                    .iter()
                    .map(|name| partner_row.as_ref().map(|row| pick(row, name)).unwrap_or_default()),
            );
            values.push(partner_row.map(|row| row[3].clone()).unwrap_or_default());
            rows.push(values);
        }
        // The table is ordered by when the calls began, and those of one leg have no such time.
        rows.sort_by(|one, other| one.last().cmp(&other.last()));
        (columns, rows)
    }

    /// A channel's row as it is now.
    pub(crate) fn channel_row(&self, uuid: &str) -> Option<Row> {
        let channel = self.channels.get(uuid)?;
        let profile = channel.profile.clone().unwrap_or_default();
        let created = profile.times.channel_created;
        let codec = channel.endpoint.codec();
        let shown = channel.shown_application.as_ref();
        let running = shown.map_or("", |action| action.application.as_str());
        let data = shown.map_or("", |action| action.argument.as_str());
        let row: [&str; CHANNEL_COLUMNS.len()] = [
            &channel.uuid,
            if channel.outbound { "outbound" } else { "inbound" },
            &Date::from_unix_micros(created).local(),
            &(created / 1_000_000).to_string(),
            &channel.name,
            channel.state.name(),
            &profile.caller_id_name,
            &profile.caller_id_number,
            &profile.network_address,
            &profile.destination_number,
            running,
            data,
            &profile.dialplan,
            &profile.context,
            codec.name,
            codec.rate,
            codec.bit_rate,
            codec.name,
            codec.rate,
            codec.bit_rate,
            "",
            &self.config.switch_name,
            "",
            "",
            channel.variables.get("accountcode").unwrap_or_default(),
            channel.call_state.name(),
            callee_name(channel, &profile),
            &profile.callee_id_number,
            callee_direction(channel),
            call_uuid(channel),
            sent_callee(channel, "last_sent_callee_id_name"),
            sent_callee(channel, "last_sent_callee_id_number"),
            &profile.original_caller_id_name,
            &profile.original_caller_id_number,
            &profile.network_address,
            &profile.destination_number,
            &profile.dialplan,
            &profile.context,
        ];
        Some(row.map(str::to_owned).to_vec())
    }
}

/// What modules bring into the switch; of the emulated one, its dialplan applications.
fn interface_rows(has_lua: bool) -> Vec<Row> {
    let module = |name: &str| match name {
        "lua" => "mod_lua",
        "hash" => "mod_hash",
        _ => "mod_dptools",
    };
    let row = |name: &&str| ["application", name, module(name)].map(str::to_owned).to_vec();
    let present = crate::applications::KNOWN.iter().filter(|name| has_lua || **name != "lua");
    present.map(row).collect()
}

/// Only sofia tells a leg whom it talks to.
/// sofia tells a bridged leg whom it talks to by number alone (transcript l_state_rebuild/state_queries).
fn callee_name<'a>(channel: &Channel, profile: &'a Profile) -> &'a str {
    let is_told =
        channel.endpoint == Endpoint::Sofia && channel.outbound && channel.bridge_partner().is_some();
    if is_told { &profile.callee_id_number } else { &profile.callee_id_name }
}

fn callee_direction(channel: &Channel) -> &'static str {
    match (channel.bridge_partner(), channel.outbound) {
        (Some(_), _) if channel.endpoint == Endpoint::Sofia => "SEND",
        (_, true) => "RECV",
        (_, false) => "",
    }
}

fn sent_callee<'a>(channel: &'a Channel, variable: &str) -> &'a str {
    let sent = Some(channel).filter(|channel| channel.endpoint == Endpoint::Sofia);
    sent.and_then(|channel| channel.variables.get(variable)).unwrap_or_default()
}

/// Only a channel that was dialled or bridged has one in the table.
fn call_uuid(channel: &Channel) -> &str {
    if channel.outbound || channel.bridge_partner().is_some() { &channel.call_uuid } else { "" }
}

fn as_json(columns: &[String], rows: &[Row]) -> String {
    if rows.is_empty() {
        return "{\"row_count\": 0}\n".into();
    }
    let mut json = format!("{{\"row_count\":{},\"rows\":[", rows.len()).into_bytes();
    for (index, row) in rows.iter().enumerate() {
        json.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        for (index, (column, value)) in columns.iter().zip(row).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            write_json_string(&mut json, column);
            json.push(b':');
            write_json_string(&mut json, value);
        }
        json.push(b'}');
    }
    json.extend_from_slice(b"]}");
    String::from_utf8_lossy(&json).into_owned()
}

fn as_xml(columns: &[String], rows: &[Row]) -> String {
    if rows.is_empty() {
        return "<result row_count=\"0\"/>\n".into();
    }
    // Whatever is not ASCII is written as its number (transcript l_state_rebuild/state_queries).
    let numbered = |character: char| match character {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        _ if character.is_ascii() => character.to_string(),
        _ => format!("&#x{:X};", u32::from(character)),
    };
    let escaped = |value: &str| value.chars().map(numbered).collect::<String>();
    let mut xml = format!("<result row_count=\"{}\">\n", rows.len());
    for (index, row) in rows.iter().enumerate() {
        xml += &format!("  <row row_id=\"{}\">\n", index + 1);
        for (column, value) in columns.iter().zip(row) {
            xml += &format!("    <{column}>{}</{column}>\n", escaped(value));
        }
        xml += "  </row>\n";
    }
    xml + "</result>\n"
}

fn as_text(columns: &[String], rows: &[Row], delimiter: char) -> String {
    let delimiter = delimiter.to_string();
    let mut text = String::new();
    if !rows.is_empty() {
        text = columns.join(&delimiter) + "\n";
        rows.iter().for_each(|row| text += &(row.join(&delimiter) + "\n"));
    }
    text + &format!("\n{} total.\n", rows.len())
}

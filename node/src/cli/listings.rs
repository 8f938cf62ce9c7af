//! `fipple members`, `switches`, `calls` and `status`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{print, print_json};
use super::table::{Table, or_dash};
use crate::Error;

/// `fipple members`
pub(super) async fn members(client: &Client, json: bool) -> Result<(), Error> {
    let members = client.get("/v2/cluster/members").await?;
    if json {
        return print_json(&members);
    }
    let mut table =
        Table::new(["NAME", "STATE", "ADDRESS", "REST", "ZONE", "WEIGHT", "VERSION", "ATTACHED TO", "ID"]);
    for member in list(&members) {
        let attached = list(&member["switches"]).filter(|switch| switch["link"] == "attached");
        let attached: Vec<_> = attached.map(|switch| text(&switch["name"])).collect();
        let here = if member["local"] == true { " (this)" } else { "" };
        table.row([
            format!("{}{here}", text(&member["name"])),
            text(&member["state"]),
            text(&member["address"]),
            text(&member["api_address"]),
            text(&member["zone"]),
            text(&member["weight"]),
            text(&member["version"]),
            or_dash((!attached.is_empty()).then(|| attached.join(","))),
            text(&member["id"]),
        ]);
    }
    print(&table.render())
}

/// `fipple switches`
pub(super) async fn switches(client: &Client, json: bool) -> Result<(), Error> {
    let switches = client.get("/v2/cluster/switches").await?;
    if json {
        return print_json(&switches);
    }
    let names = node_names(client).await?;
    let mut table =
        Table::new(["NAME", "STATE", "FENCE", "ADDRESS", "ZONE", "ATTACHED TO", "REACHABLE FROM"]);
    for switch in list(&switches) {
        let reachable: Vec<_> = list(&switch["reachable_from"]).map(|id| node_name(&names, id)).collect();
        table.row([
            text(&switch["name"]),
            text(&switch["state"]),
            text(&switch["fence"]),
            text(&switch["address"]),
            text(&switch["zone"]),
            node_name(&names, &switch["attached_to"]),
            or_dash((!reachable.is_empty()).then(|| reachable.join(","))),
        ]);
    }
    print(&table.render())
}

/// `fipple calls`
pub(super) async fn calls(client: &Client, json: bool) -> Result<(), Error> {
    let envelope = client.get_envelope("/v2/channels").await?;
    let channels = &envelope["data"];
    if json {
        return print_json(&json!({
            "channels": channels,
            "unanswered": envelope["unanswered"],
            "truncated": envelope["truncated"],
        }));
    }
    let names = node_names(client).await?;
    let mut table =
        Table::new(["UUID", "SWITCH", "OWNER", "STATE", "FROM", "TO", "FLOW", "DONE", "EPOCH", "RUNNING"]);
    for channel in list(channels) {
        // Applications that run on a parked channel run inside of its park.
        let running = match channel["application"].as_str() {
            Some(application) if application != "park" => application.to_owned(),
            _ if channel["parked"] == true => "parked".to_owned(),
            _ => "-".to_owned(),
        };
        table.row([
            text(&channel["uuid"]),
            text(&channel["switch"]),
            node_name(&names, &channel["owner"]),
            text(&channel["state"]),
            text(&channel["caller_id_number"]),
            text(&channel["destination_number"]),
            text(&channel["flow"]),
            text(&channel["done"]),
            text(&channel["epoch"]),
            running,
        ]);
    }
    print(&table.render())?;
    for node in list(&envelope["unanswered"]) {
        let name = node["name"].as_str().unwrap_or_default();
        eprintln!(
            "warning: node {name} ({}) did not answer: its switches' channels are missing",
            text(&node["id"])
        );
    }
    if envelope["truncated"] == true {
        eprintln!("warning: there are more channels than a listing holds");
    }
    Ok(())
}

/// `fipple status`
pub(super) async fn status(client: &Client, json: bool) -> Result<(), Error> {
    let readiness = client.request(Method::GET, "/ready", Bytes::new()).await?;
    let ready = readiness.status == 200;
    let members = client.get("/v2/cluster/members").await?;
    let switches = client.get("/v2/cluster/switches").await?;
    let channels = client.get("/v2/channels").await?;
    let local = list(&members).find(|member| member["local"] == true).unwrap_or(&Value::Null);
    if json {
        return print_json(&json!({
            "ready": ready,
            "node": local,
            "members": count(&members, "state", "alive"),
            "members_enrolled": list(&members).count(),
            "switches": list(&switches).count(),
            "switches_attached": count(&switches, "state", "attached"),
            "channels": list(&channels).count(),
        }));
    }
    let reason = serde_json::from_slice::<Value>(&readiness.body).map(|envelope| text(&envelope["message"]));
    let readiness = if ready { "yes".to_owned() } else { format!("no: {}", reason.unwrap_or_default()) };
    print(&format!(
        "node      {} {} (version {}, zone {})\nready     {readiness}\nREST      {}\n\
         members   {} of {} alive\nswitches  {} of {} attached\nchannels  {}",
        text(&local["name"]),
        text(&local["id"]),
        text(&local["version"]),
        text(&local["zone"]),
        text(&local["api_address"]),
        count(&members, "state", "alive"),
        list(&members).count(),
        count(&switches, "state", "attached"),
        list(&switches).count(),
        list(&channels).count(),
    ))
}

pub(super) async fn node_names(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let members = client.get("/v2/cluster/members").await?;
    Ok(list(&members).map(|member| (text(&member["id"]), text(&member["name"]))).collect())
}

/// The node's name, or its id where it has no name here.
pub(super) fn node_name(names: &BTreeMap<String, String>, id: &Value) -> String {
    let id = text(id);
    names.get(&id).cloned().unwrap_or(id)
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn count(value: &Value, field: &str, expected: &str) -> usize {
    list(value).filter(|entry| entry[field] == expected).count()
}

/// A cell's text: nothing and null are a dash.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

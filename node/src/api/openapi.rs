//! `GET /v2/openapi.json`: the same for programs.

use axum::http::header;
use axum::response::IntoResponse;

/// What REST takes and answers, in OpenAPI 3.1.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /v2/openapi.json`, without an envelope: generators of clients read it as it is.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fipple_protocol::peer::{ChannelCommand, ChannelInfo, OriginateCommand, TraceEntry};
    use serde_json::{Value, json};

    use super::super::body::Ask;
    use super::super::{ROUTES, refusal};
    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_described_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, operations)| operations.as_object().unwrap().keys().map(move |one| (one, path)))
            .filter(|(method, _)| *method != "parameters")
            .map(|(method, path)| (method.to_uppercase(), path.clone()))
            .collect();
        let served =
            ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_refusal_is_described_by_its_word_under_its_status() {
        let document = document();
        let responses: Vec<_> = document["paths"]["/v2/channels"]["post"]["responses"]
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(status, response)| {
                let name = response["$ref"].as_str()?.rsplit('/').next()?;
                Some((status, document["components"]["responses"][name]["description"].as_str()?))
            })
            .collect();
        // A command that ran before is answered as a success, so nobody is refused with that word.
        for (refusal, status, code) in
            refusal::tests::refusals().into_iter().filter(|one| one.2 != "repeated")
        {
            let described = |one: &&(&String, &str)| *one.0 == status.to_string() && one.1.contains(code);
            assert!(responses.iter().any(|one| described(&one)), "{refusal:?}: {status} {code}");
        }
    }

    #[test]
    fn what_is_answered_has_the_described_fields() {
        let fields = |schema: &str| -> BTreeSet<String> {
            document()["components"]["schemas"][schema]["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        let answered = |value: Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(fields("Channel"), answered(serde_json::to_value(ChannelInfo::default()).unwrap()));
        let entry = TraceEntry {
            at_ms: 0,
            node: fipple_protocol::NodeId::from_bytes([0; 16]),
            epoch: None,
            kind: String::new(),
            text: String::new(),
        };
        assert_eq!(fields("TraceEntry"), answered(serde_json::to_value(entry).unwrap()));
    }

    #[test]
    fn the_examples_are_understood() {
        let example =
            |schema: &str| json!({ "data": document()["components"]["schemas"][schema]["examples"][0] });
        assert_eq!(
            example("ChannelCommand"),
            serde_json::from_str::<Value>(ChannelCommand::EXAMPLE).unwrap()
        );
        assert_eq!(example("Originate"), serde_json::from_str::<Value>(OriginateCommand::EXAMPLE).unwrap());
    }
}
